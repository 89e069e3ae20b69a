"""Request rates, counted over all workers: GCRA (a token bucket in one word) in a mapped file.

A scope is a 64-bit hash (`scope_hash`) of whatever a dialect limits by: a key, an organisation, a source.
The table is bounded; when a neighbourhood is full, the scope that recovers first is forgotten, so that a
flood of scopes costs the limiter precision, never memory. It is empty after a reboot.

Decision, 2026-11: machines behind one address each let through a share of every rate (`limiter.machines`), which
needs no other machine: a rate is the whole one as long as requests are spread evenly, and never more. Rejected: a
table that machines share over the network, for which requests would wait, and which is away when the network is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import xxhash

from fanion._core.shared import LimiterTable
from fanion.errors import ServeError

FILE_NAME = "limiter"
RATE_PER_S_MIN = 0.000_001

Take = Callable[..., float]


def scope_hash(*parts: str | bytes) -> int:
    """The scope made of `parts`, e.g. ("feather", key id). 64 bits; equal scopes share a limit."""
    digest = xxhash.xxh3_64()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(4, "little"))
        digest.update(raw)
    return digest.intdigest()


def burst_of(rate_per_s: float) -> int:
    """What may come at once where only a rate is given: a second's worth, one at least."""
    return max(1, math.ceil(rate_per_s))


def take_share(take: Take, machines: int) -> Take:
    """`Limiter.take` of one of so many machines: of its rate the share, of what may come at once the share, rounded
    up, so at least one."""

    def taking(scope: int, rate_per_s: float, burst: int, cost: int = 1) -> float:
        return take(scope, max(rate_per_s / machines, RATE_PER_S_MIN), -(-burst // machines), cost)

    return taking


class Limiter:
    """The table of one data directory; any number of processes may hold it. `machines`: that share a rate."""

    def __init__(self, table: LimiterTable, machines: int = 1) -> None:
        self._table = table
        self.take: Take = table.take if machines == 1 else take_share(table.take, machines)
        """take(scope, rate_per_s, burst, cost=1) -> seconds to wait; 0.0: allowed and counted.

        A refused request is not counted. `rate_per_s` 0.000001 to 1e9, `burst` at least 1, else ValueError; a
        cost above the burst counts as the burst."""

    @classmethod
    def open(cls, directory: Path, slots: int = 65_536, machines: int = 1) -> Limiter:
        """Opens or makes DIR/shared/limiter. Raises ServeError, also for a table of another size."""
        return cls(_open_table(directory, slots, replace=False), machines)

    @classmethod
    def prepare(cls, directory: Path, slots: int = 65_536) -> None:
        """Makes a table of another size anew. Only before any worker. Raises ServeError."""
        _open_table(directory, slots, replace=True).close()

    def close(self) -> None:
        """Unmaps the table; `take` raises ValueError from here on."""
        self._table.close()


def _open_table(directory: Path, slots: int, *, replace: bool) -> LimiterTable:
    folder = directory / "shared"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return LimiterTable(str(folder / FILE_NAME), slots, replace=replace)
    except (OSError, ValueError) as error:
        raise ServeError(f"the rate limiter can't be used: {error}") from error
