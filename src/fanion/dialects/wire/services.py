"""What a worker's parts offer to a request, gathered once at its start (`fanion.process.worker`).

The protocols say what the server asks of each part and nothing more, so tests can hand in plain stand-ins.
Everything here belongs to one worker process and its event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fanion._core.list_block import ListReader
from fanion._core.stamps import RequestIds, UtcClock
from fanion._core.window import Reservation
from fanion.config import Config
from fanion.errors import JournalFullError, RowsError, StoreError
from fanion.model.api_key import KeyRecord
from fanion.model.signing import SigningKeys


class Environment(Protocol):
    """One environment of one generation, as mapped: the bundle, and what each dialect keeps at hand of it."""

    @property
    def bound(self) -> Mapping[str, object]:
        """Dialect -> what its `bind` made of the bundle; None where it doesn't serve the environment."""


class Snapshot(Protocol):
    """One generation of the store, as this worker sees it."""

    @property
    def number(self) -> int: ...

    @property
    def confirmed_at(self) -> float:
        """Monotonic seconds when this worker last confirmed that the generation is the current one."""

    def known_key(self, raw_key: bytes, /) -> KeyRecord | None:
        """As `key`, but of what this process knows; the store isn't asked for others."""

    def key(self, raw_key: bytes, /) -> KeyRecord | None:
        """The record of a key that opens something now."""

    def holder(self, key_hash: bytes, /) -> KeyRecord | None:
        """As `key`, by the key's SHA-256."""

    @property
    def signing_keys(self) -> SigningKeys | None:
        """What trace tokens and addresses of streams are signed with; None before a store has any."""

    def view(self, environment: str, /) -> Environment | None:
        """The environment, or None when the generation doesn't hold it."""

    def content(self, environment: str, /) -> bytes:
        """Says what the environment is answered from: equal bytes in two generations mean equal answers."""

    @property
    def member(self) -> Callable[[str, str, bytes], bool]:
        """(environment, list name, member) -> whether the list segment holds it."""

    @property
    def list_reader(self) -> Callable[[str, str], ListReader | None]:
        """(environment, list name) -> its reader, for many look-ups at once; None: empty or unknown."""


class Snapshots(Protocol):
    """Where snapshots come from."""

    def current(self) -> Snapshot:
        """The generation that counts now; the last good one where the store can't be read."""


class Journal(Protocol):
    """Where events go; see `fanion.journal`."""

    def append(
        self,
        *,
        dialect: str,
        environment: str,
        received_ns: int,
        body: bytes,
        whole: bool,
        dispositions: bytes = b"",
        ids: bytes = b"",
    ) -> int: ...

    def durable(self, sequence: int, /) -> asyncio.Future[None]: ...


class EventWindow(Protocol):
    """Tells a new id from a repeated one over all workers; see `fanion.journal.window`."""

    @property
    def ready(self) -> bool:
        """Whether repeats can be told now."""

    def reserve(self, scope: bytes, ids: list[str | bytes | None], /) -> Reservation:
        """Reserves the ids for the record that is appended next; JournalFullError when repeats can't be told
        now."""

    async def settle(self, reservation: Reservation, /) -> None:
        """Returns once every record that the reservation repeats is as safe as promised; JournalError."""


class ClosedWindow:
    """Where no window was opened: nothing that needs one can be kept."""

    ready = True

    def reserve(self, scope: bytes, ids: list[str | bytes | None], /) -> Reservation:
        raise JournalFullError("the event-id window is not open")

    async def settle(self, reservation: Reservation, /) -> None:
        raise JournalFullError("the event-id window is not open")


class ActiveUsers(Protocol):
    """Who was let in this month, over all workers; see `fanion.auth.active_users`."""

    def admit(self, organisation: str, user: str, cap: int, /) -> bool:
        """Whether the user is known this month or fits under the cap; counts a new one."""


class NoActiveUsers:
    """Where no sets were opened: whoever needs to be counted can't be let in."""

    def admit(self, organisation: str, user: str, cap: int, /) -> bool:
        raise StoreError("the active-user sets are not open")


class Results(Protocol):
    """What experiments came to; see `fanion.process.results`."""

    async def ask(
        self, environment: str, experiment: str, /, *, attribute: str | None, complete: bool, daily: bool
    ) -> bytes | None:
        """The answer as JSON; None where the environment has no such experiment. RowsError where none can be given
        now."""

    async def usage(self, environment: str, flag: str, /, *, by: Literal["day", "hour"], days: int) -> bytes:
        """How often a flag was asked for, as JSON. RowsError as above."""


class NoResults:
    """Where nobody computes any."""

    async def ask(
        self, environment: str, experiment: str, /, *, attribute: str | None, complete: bool, daily: bool
    ) -> bytes | None:
        raise RowsError("results are not computed here")

    async def usage(self, environment: str, flag: str, /, *, by: Literal["day", "hour"], days: int) -> bytes:
        raise RowsError("usage is not computed here")


class Limiter(Protocol):
    """Rates counted over all workers; see `fanion.auth.limiter`."""

    def take(self, scope_hash: int, rate_per_s: float, burst: int, cost: int = 1) -> float: ...


class Counters(Protocol):
    """What the server counts of each answer."""

    def answered(self, dialect: str, endpoint: str, status: int, /) -> None: ...


@dataclass(slots=True)
class Services:
    """The parts of one worker. `draining` is set once at SIGTERM. `event_ids` remembers the ids of events,
    `replays` tokens that were used. `token_ns`: Unix time by which tokens begin and end; `token_s`: its seconds at
    the worker's last look, ten a second, for what can't pay for a look of its own."""

    config: Config
    snapshots: Snapshots
    journal: Journal
    limiter: Limiter
    counters: Counters
    event_ids: EventWindow = field(default_factory=ClosedWindow)
    replays: EventWindow = field(default_factory=ClosedWindow)
    active_users: ActiveUsers = field(default_factory=NoActiveUsers)
    results: Results = field(default_factory=NoResults)
    ids: RequestIds = field(default_factory=RequestIds)
    clock: UtcClock = field(default_factory=UtcClock)
    token_ns: Callable[[], int] = time.time_ns
    token_s: float = 0.0
    draining: bool = False
