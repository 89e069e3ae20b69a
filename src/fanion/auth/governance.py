"""Governance: what an organisation may do now. It knows no API; the verdicts are each dialect's to put into words.

What doesn't change within a generation stands in `Terms`, made once per bundle. `Governance` asks the sets and
limiters that all workers share. The order is fixed: closed (suspended, inactive), active users, rate, batch size,
so an answer never depends on which limit happens to be hit first. Whoever is refused for a later reason has been
counted for the earlier ones. A batch costs the rate one. Events count no users.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from fanion.auth.limiter import burst_of, scope_hash
from fanion.model.organisation import FREE_PLAN, Organisation


class Verdict(enum.Enum):
    """Why a request is refused, or that it isn't."""

    ALLOWED = enum.auto()
    SUSPENDED = enum.auto()
    INACTIVE = enum.auto()
    ACTIVE_USERS = enum.auto()
    RATE = enum.auto()
    BATCH_KEYS = enum.auto()
    BATCH_EVENTS = enum.auto()


class Ruling(NamedTuple):
    """`wait_s`: with RATE, when the same request would pass. `most`: with BATCH_*, what is allowed."""

    verdict: Verdict
    wait_s: float = 0.0
    most: int = 0


ALLOWED: Final = Ruling(Verdict.ALLOWED)
SUSPENDED: Final = Ruling(Verdict.SUSPENDED)
INACTIVE: Final = Ruling(Verdict.INACTIVE)
ACTIVE_USERS: Final = Ruling(Verdict.ACTIVE_USERS)


class Defaults(NamedTuple):
    """What holds where an organisation says nothing. `rate_per_s` 0: no limit; `burst` 0: a second's worth."""

    rate_per_s: float = 0.0
    burst: int = 0
    batch_keys: int = 100
    batch_events: int = 1_000


class Terms:
    """One organisation under one API's plans; None: the server's defaults."""

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

    def __init__(self, organisation: Organisation, caps: Mapping[str, int | None], scope: str) -> None:
        """`caps`: monthly active users by plan; None, or no such plan: no cap, so no set. `scope`: whose rate it
        is; requests through equal scopes share an organisation's rate."""
        limits = organisation.limits
        self.organisation = organisation.id
        self.closed: Ruling | None = None
        if organisation.suspended:
            self.closed = SUSPENDED
        elif organisation.plan != FREE_PLAN and not organisation.subscription_active:
            self.closed = INACTIVE
        self.cap = caps.get(organisation.plan)
        if limits.monthly_active_users is not None:
            self.cap = limits.monthly_active_users
        self.rate_per_s, self.burst = limits.rate_per_s, limits.burst
        self.batch_keys, self.batch_events = limits.batch_keys, limits.batch_events
        self.scope = scope_hash(scope, organisation.id)


class Governance:
    """The checks of one worker and API. `take`: `Limiter.take`; `admit`: `ActiveUsers.admit`."""

    def __init__(
        self,
        take: Callable[[int, float, int], float],
        admit: Callable[[str, str, int], bool],
        defaults: Defaults,
    ) -> None:
        self._take = take
        self._admit = admit
        self._defaults = defaults

    def evaluation(self, terms: Terms, user: str) -> Ruling:
        """Before one evaluation; counts the user. All anonymous traffic is one user, named by the API.
        StoreError when users can't be counted."""
        if terms.closed is not None:
            return terms.closed
        if terms.cap is not None and not self._admit(terms.organisation, user, terms.cap):
            return ACTIVE_USERS
        return self._rate(terms)

    def batch(self, terms: Terms, user: str, keys: int) -> Ruling:
        """Before an evaluation of many keys."""
        ruling, most = self.evaluation(terms, user), terms.batch_keys or self._defaults.batch_keys
        return ruling if ruling is not ALLOWED or keys <= most else Ruling(Verdict.BATCH_KEYS, most=most)

    def events(self, terms: Terms, events: int) -> Ruling:
        """Before a batch of events is kept."""
        ruling, most = terms.closed or self._rate(terms), terms.batch_events or self._defaults.batch_events
        return ruling if ruling is not ALLOWED or events <= most else Ruling(Verdict.BATCH_EVENTS, most=most)

    def _rate(self, terms: Terms) -> Ruling:
        rate_per_s = self._defaults.rate_per_s if terms.rate_per_s is None else terms.rate_per_s
        if not rate_per_s:
            return ALLOWED
        burst = terms.burst or self._defaults.burst or burst_of(rate_per_s)
        wait_s = self._take(terms.scope, rate_per_s, burst)
        return Ruling(Verdict.RATE, wait_s=wait_s) if wait_s > 0 else ALLOWED
