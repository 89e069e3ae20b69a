"""Governance in Red Pennon's words: the six codes, in the order of docs/apis/redpennon.md: Governance.

What is refused and in which order stands in `fanion.auth.governance`; here are the plans' caps, the texts, and the
name of the one anonymous user.

Decisions, 2026-11. The user is counted before the rate is looked at, as the table has it, so that an answer never
depends on which limit is hit first. The cap counts users let in: known ones are served past it, events count
none. A batch costs the rate one.
"""

from __future__ import annotations

from typing import Final

from fanion.auth.governance import ALLOWED, Defaults, Governance, Ruling, Terms, Verdict
from fanion.dialects.redpennon.envelope import rate_limited, refusal
from fanion.dialects.redpennon.settings import RedPennonSettings
from fanion.dialects.redpennon.words import NAME
from fanion.dialects.wire.reply import Reply
from fanion.dialects.wire.services import Services
from fanion.model.organisation import parse_organisation

CAPS: Final = {"free": 1_000, "basic": 10_000, "pro": 100_000, "business": 100_000, "enterprise": None}
"""Monthly active users by plan (docs/apis/redpennon.md: Governance); `pro` is the native format's own and has
Business's."""

ANONYMOUS: Final = "anon:unidentified"
"""The one user that all anonymous traffic is."""

CLOSED: Final = {
    Verdict.SUSPENDED: refusal(403, "organisation_suspended", "This organisation is suspended."),
    Verdict.INACTIVE: refusal(403, "organisation_inactive", "This organisation has no active subscription."),
    Verdict.ACTIVE_USERS: refusal(
        403, "monthly_active_users_exceeded", "The plan's monthly active users are used up."
    ),
}


class Gate:
    """The checks of one worker. None: go on."""

    def __init__(self, services: Services) -> None:
        own = services.config.of(RedPennonSettings)
        defaults = Defaults(own.rate_per_s, own.burst, own.batch_keys_max, own.batch_events_max)
        self._governance = Governance(services.limiter.take, services.active_users.admit, defaults)

    def evaluation(self, governed: Terms, user: str | None) -> Reply | None:
        """Before one evaluation; counts the user."""
        ruling = self._governance.evaluation(governed, user or ANONYMOUS)
        return None if ruling is ALLOWED else worded(ruling)

    def batch(self, governed: Terms, user: str | None, count: int) -> Reply | None:
        """Before an evaluation of many keys; counts the user."""
        ruling = self._governance.batch(governed, user or ANONYMOUS, count)
        return None if ruling is ALLOWED else worded(ruling)

    def events(self, governed: Terms, count: int) -> Reply | None:
        """Before a batch of events is kept; all of them have passed validation."""
        ruling = self._governance.events(governed, count)
        return None if ruling is ALLOWED else worded(ruling)


def worded(ruling: Ruling) -> Reply:
    """A refusal's answer."""
    verdict, most = ruling.verdict, ruling.most
    if verdict is Verdict.RATE:
        return rate_limited(ruling.wait_s)
    if verdict is Verdict.BATCH_KEYS:
        return refusal(400, "batch_too_large", f"At most {most} keys are evaluated in one request.")
    if verdict is Verdict.BATCH_EVENTS:
        return refusal(400, "events_batch_too_large", f"At most {most} events are taken in one request.")
    return CLOSED[verdict]


def govern(document: bytes | None) -> Terms:
    """The terms of the organisation whose record a bundle carries."""
    return Terms(parse_organisation(document), CAPS, NAME)
