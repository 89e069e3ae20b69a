"""Request rates, counted over all workers: GCRA (a token bucket in one word) in a mapped file.

A scope is a 64-bit hash (`scope_hash`) of whatever a dialect limits by: a key, an organisation, a source.
The table is bounded; when a neighbourhood is full, the scope that recovers first is forgotten, so that a
flood of scopes costs the limiter precision, never memory. It is empty after a reboot.
"""

from __future__ import annotations

import math
from pathlib import Path

import xxhash

from fanion._core.shared import LimiterTable
from fanion.errors import ServeError

FILE_NAME = "limiter"


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


class Limiter:
    """The table of one data directory; any number of processes may hold it."""

    def __init__(self, table: LimiterTable) -> None:
        self._table = table
        self.take = table.take
        """take(scope, rate_per_s, burst, cost=1) -> seconds to wait; 0.0: allowed and counted.

        A refused request is not counted. `rate_per_s` 0.000001 to 1e9, `burst` at least 1, else ValueError; a
        cost above the burst counts as the burst."""

    @classmethod
    def open(cls, directory: Path, slots: int = 65_536) -> Limiter:
        """Opens or makes DIR/shared/limiter. Raises ServeError, also for a table of another size."""
        return cls(_open_table(directory, slots, replace=False))

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
