"""What the neutral API keeps at hand of one mapped environment: who its organisation is, how its
experiments are called, and no flags."""

from __future__ import annotations

from typing import Final

from fanion._core.evaluate import Bundle
from fanion.auth.governance import ALLOWED, Defaults, Governance, Terms, Verdict
from fanion.dialects.neutral.words import NAME
from fanion.dialects.wire.bound import finder
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.services import Services
from fanion.model.experiment import DERIVED, plan_keys
from fanion.model.experiment import DOCUMENT as EXPERIMENTS
from fanion.model.organisation import DOCUMENT, parse_organisation


class Served:
    """One environment. `scope`: whose event ids are told apart."""

    __slots__ = ("experiments", "scope", "terms")

    def __init__(self, bundle: Bundle) -> None:
        self.scope = f"{NAME}/{bundle.environment}".encode()
        self.terms = Terms(parse_organisation(bundle.document(DOCUMENT)), {}, NAME)
        self.experiments = plan_keys(bundle.document(EXPERIMENTS), bundle.document(DERIVED))


def bind(bundle: Bundle) -> Served | None:
    """No table says whether it is served, as it has no flags: its ids do."""
    return Served(bundle) if NAME in bundle.identifiers else None


def _unserved() -> Fault:
    return Fault(FaultKind.OVERLOADED, "The environment is not served now.", retry_after_s=1)


served = finder(NAME, Served, _unserved)

FORBIDDEN: Final = {
    Verdict.SUSPENDED: "The organisation is suspended.",
    Verdict.INACTIVE: "The organisation has no active subscription.",
}


class Gate:
    """What an organisation may do now (docs/apis/neutral.md: Limits); the checks of one worker."""

    def __init__(self, services: Services) -> None:
        self._governance = Governance(services.limiter.take, services.active_users.admit, Defaults())

    def reads(self, terms: Terms) -> None:
        """Before results are read; it costs what a batch does. Raises Fault FORBIDDEN, RATE_LIMITED."""
        ruling = self._governance.events(terms, 0)
        if ruling is ALLOWED:
            return
        if ruling.verdict is Verdict.RATE:
            text = "Too many requests. Ask again after a short delay."
            raise Fault(FaultKind.RATE_LIMITED, text, retry_after_s=ruling.wait_s)
        raise Fault(FaultKind.FORBIDDEN, FORBIDDEN[ruling.verdict])

    def events(self, terms: Terms, count: int) -> None:
        """Before a batch is kept. Raises Fault FORBIDDEN, RATE_LIMITED, TOO_LARGE."""
        ruling = self._governance.events(terms, count)
        if ruling is ALLOWED:
            return
        if ruling.verdict is Verdict.RATE:
            text = "Too many requests. Send the same batch again after a short delay."
            raise Fault(FaultKind.RATE_LIMITED, text, retry_after_s=ruling.wait_s)
        if ruling.verdict is Verdict.BATCH_EVENTS:
            text = f"The organisation may send {ruling.most} events in one batch."
            raise Fault(FaultKind.TOO_LARGE, text)
        raise Fault(FaultKind.FORBIDDEN, FORBIDDEN[ruling.verdict])
