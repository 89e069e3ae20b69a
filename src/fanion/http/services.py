"""What a worker's parts offer to a request, gathered once at start-up by the composition root.

The protocols say what the server asks of each part and nothing more, so tests can hand in plain stand-ins.
Everything here belongs to one worker process and its event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from fanion.config import Config
from fanion.http.stamps import RequestIds, UtcClock
from fanion.model.api_key import KeyRecord
from fanion.model.signing import SigningKeys


class Environment(Protocol):
    """One environment of one generation, as mapped: the bundle, and what each dialect keeps at hand of it."""

    bound: dict[str, Any]


class Snapshot(Protocol):
    """One generation of the store, as this worker sees it."""

    @property
    def number(self) -> int: ...

    @property
    def confirmed_at(self) -> float:
        """Monotonic seconds when this worker last confirmed that the generation is the current one."""

    def key(self, raw_key: bytes, /) -> KeyRecord | None:
        """The record of a key that opens something now."""

    @property
    def signing_keys(self) -> SigningKeys | None:
        """What trace tokens are signed with; None before a store has any."""

    def view(self, environment: str, /) -> Any | None:
        """The environment, or None when the generation doesn't hold it."""


class Snapshots(Protocol):
    """Where snapshots come from."""

    def current(self) -> Snapshot:
        """The generation that counts now; raises StoreError when the store can't be read."""


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


class Limiter(Protocol):
    """Rates counted over all workers; see `fanion.auth.limiter`."""

    def take(self, scope_hash: int, rate_per_s: float, burst: int, cost: int = 1) -> float: ...


class Counters(Protocol):
    """What the server counts of each answer."""

    def answered(self, dialect: str, endpoint: str, status: int, /) -> None: ...


@dataclass(slots=True)
class Services:
    """The parts of one worker. `draining` is set once at SIGTERM."""

    config: Config
    snapshots: Snapshots
    journal: Journal
    limiter: Limiter
    counters: Counters
    ids: RequestIds = field(default_factory=RequestIds)
    clock: UtcClock = field(default_factory=UtcClock)
    draining: bool = False
