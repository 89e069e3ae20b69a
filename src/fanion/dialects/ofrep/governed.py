"""Governance in OFREP's words (docs/apis/ofrep.md: Limits): what an organisation may do now.

What is refused and in which order stands in `fanion.auth.governance`. This API has no plans of its own, so only
what an organisation's record itself says is a limit.
"""

from __future__ import annotations

from typing import Final

from fanion.auth.governance import ALLOWED, Defaults, Governance, Terms, Verdict
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.services import Services

ANONYMOUS: Final = "anon:unidentified"
"""The one user that all requests without a targeting key are."""

FORBIDDEN: Final = {
    Verdict.SUSPENDED: "The organisation is suspended.",
    Verdict.INACTIVE: "The organisation has no active subscription.",
    Verdict.ACTIVE_USERS: "The organisation's monthly active users are used up.",
}
RATE_TEXT: Final = "Too many requests. Retry after a short delay."


class Gate:
    """The checks of one worker."""

    def __init__(self, services: Services) -> None:
        self._governance = Governance(services.limiter.take, services.active_users.admit, Defaults())

    def evaluation(self, terms: Terms, targeting_key: str | None) -> None:
        """Before one flag or all of them. Raises Fault FORBIDDEN, RATE_LIMITED."""
        ruling = self._governance.evaluation(terms, targeting_key or ANONYMOUS)
        if ruling is ALLOWED:
            return
        if ruling.verdict is Verdict.RATE:
            raise Fault(FaultKind.RATE_LIMITED, RATE_TEXT, retry_after_s=ruling.wait_s)
        raise Fault(FaultKind.FORBIDDEN, FORBIDDEN[ruling.verdict])
