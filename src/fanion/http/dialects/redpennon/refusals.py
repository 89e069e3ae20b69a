"""Governance in Red Pennon's words: the six codes, in the order of the contract's table (section 7).

What doesn't change within a generation is decided when a bundle is bound: `Governed` knows whether the
organisation is closed, its cap and its rate. `Gate` asks the sets and limiters that all workers share.

Decisions, 2026-11. The user is counted before the rate is looked at, as the table has it, so that an answer never
depends on which limit is hit first. The cap counts users let in: known ones are served past it, events count
none. A batch costs the rate one.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from fanion.auth.limiter import scope_hash
from fanion.config import RedPennon
from fanion.http.dialect import HeaderList, Reply
from fanion.http.services import Services

NAME: Final = "redpennon"
CAPS: Final = {"free": 1_000, "basic": 10_000, "pro": 100_000, "business": 100_000, "enterprise": None}
"""Monthly active users by plan (contract section 7); `pro` is the native format's own and has Business's."""

ANONYMOUS: Final = "anon:unidentified"
"""The one user that all anonymous traffic is."""

COMMON: Final[HeaderList] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
RATE_TEXT: Final = "Rate limit exceeded. Retry after a short delay."


class Limits(msgspec.Struct, frozen=True):
    """As in the organisation's definition."""

    rate_per_s: float | None = None
    burst: int | None = None
    monthly_active_users: int | None = None
    batch_keys: int | None = None
    batch_events: int | None = None


class Organisation(msgspec.Struct, frozen=True):
    """The record that a bundle carries of its organisation."""

    id: str = ""
    plan: str = "enterprise"
    subscription_active: bool = True
    suspended: bool = False
    limits: Limits = Limits()


def refusal(status: int, code: str, text: str, *extra: tuple[bytes, bytes]) -> Reply:
    start = {"type": "http.response.start", "status": status, "headers": [*COMMON, *extra]}
    return start, msgspec.json.encode({"error": text, "code": code})


def rate_limited(wait_s: float) -> Reply:
    retry_after = b"%d" % max(1, math.ceil(wait_s))
    return refusal(429, "rate_limit_exceeded", RATE_TEXT, (b"retry-after", retry_after))


SUSPENDED: Final = refusal(403, "organisation_suspended", "This organisation is suspended.")
INACTIVE: Final = refusal(403, "organisation_inactive", "This organisation has no active subscription.")
USERS_EXCEEDED: Final = refusal(
    403, "monthly_active_users_exceeded", "The plan's monthly active users are used up."
)


class Governed:
    """One organisation, as one bundle has it."""

    __slots__ = (
        "batch_events",
        "batch_keys",
        "burst",
        "cap",
        "closed",
        "organisation",
        "rate_per_s",
        "scope",
    )

    def __init__(self, document: bytes | None) -> None:
        known = Organisation() if document is None else msgspec.json.decode(document, type=Organisation)
        limits = known.limits
        self.organisation = known.id
        self.closed: Reply | None = None
        if known.suspended:
            self.closed = SUSPENDED
        elif known.plan != "free" and not known.subscription_active:
            self.closed = INACTIVE
        self.cap: int | None = CAPS.get(known.plan)
        if limits.monthly_active_users is not None:
            self.cap = limits.monthly_active_users
        self.rate_per_s, self.burst = limits.rate_per_s, limits.burst
        self.batch_keys, self.batch_events = limits.batch_keys, limits.batch_events
        self.scope = scope_hash(NAME, known.id)


class Gate:
    """The checks of one worker. None: go on."""

    def __init__(self, services: Services) -> None:
        self._settings: RedPennon = services.config.redpennon
        self._take = services.limiter.take
        self._admit = services.active_users.admit

    def evaluation(self, governed: Governed, user: str | None) -> Reply | None:
        """Before an evaluation; counts the user."""
        if governed.closed is not None:
            return governed.closed
        cap = governed.cap
        if cap is not None and not self._admit(governed.organisation, user or ANONYMOUS, cap):
            return USERS_EXCEEDED
        return self.rate(governed)

    def events(self, governed: Governed, count: int) -> Reply | None:
        """Before a batch of events is kept; all of them have passed validation."""
        if governed.closed is not None:
            return governed.closed
        refused = self.rate(governed)
        if refused is not None:
            return refused
        most = governed.batch_events or self._settings.batch_events_max
        if count <= most:
            return None
        return refusal(400, "events_batch_too_large", f"At most {most} events are taken in one request.")

    def batch(self, governed: Governed, count: int) -> Reply | None:
        """After `evaluation`, for many keys."""
        most = governed.batch_keys or self._settings.batch_keys_max
        if count <= most:
            return None
        return refusal(400, "batch_too_large", f"At most {most} keys are evaluated in one request.")

    def rate(self, governed: Governed) -> Reply | None:
        rate_per_s = governed.rate_per_s
        burst = governed.burst or self._settings.burst
        if rate_per_s is None:
            rate_per_s = self._settings.rate_per_s
            if not rate_per_s:
                return None
        wait_s = self._take(governed.scope, rate_per_s, burst)
        return rate_limited(wait_s) if wait_s > 0 else None
