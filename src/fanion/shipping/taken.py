"""Which records of which machines have come: for each writer its sequences as ranges, so that what comes twice, or
late, or cut otherwise is told from what is new."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

RANGES_MAX: Final = 1_000
"""Of one writer, which has one where nothing is missing. Beyond, its oldest gap is closed."""


class Taken:
    """`held`: as `as_held` gave it."""

    def __init__(self, held: dict[str, dict[int, list[int]]] | None = None) -> None:
        self._edges = {
            machine: {writer: list(edges) for writer, edges in writers.items()}
            for machine, writers in (held or {}).items()
        }
        self.closed = 0
        """Records of gaps that were closed: they won't be taken if they come."""

    def as_held(self) -> dict[str, dict[int, list[int]]]:
        """machine -> writer -> begins and ends in turn, ascending."""
        return {
            machine: {writer: list(edges) for writer, edges in writers.items()}
            for machine, writers in self._edges.items()
        }

    def new_of(self, machine: str, writer: int, first: int, behind: int) -> list[tuple[int, int]]:
        """What hasn't come of `first` to `behind` - 1, as ranges."""
        edges = self._edges.get(machine, {}).get(writer, [])
        at = bisect_right(edges, first)
        begin = edges[at] if at % 2 else first  # within a range: from its end on
        if at % 2:
            at += 1
        found = []
        while begin < behind:
            end = min(behind, edges[at]) if at < len(edges) else behind
            if begin < end:
                found.append((begin, end))
            begin = edges[at + 1] if at < len(edges) else behind
            at += 2
        return found

    def add(self, machine: str, writer: int, first: int, behind: int) -> None:
        edges = self._edges.setdefault(machine, {}).setdefault(writer, [])
        if edges and edges[-1] == first:  # as almost always
            edges[-1] = behind
            return
        low, high = bisect_left(edges, first), bisect_right(edges, behind)
        edges[low:high] = [*([] if low % 2 else [first]), *([] if high % 2 else [behind])]
        if len(edges) > 2 * RANGES_MAX:
            self.closed += edges[2] - edges[1]
            del edges[1:3]

    def missing(self) -> int:
        """Records between others that haven't come."""
        return sum(
            behind - end
            for writers in self._edges.values()
            for edges in writers.values()
            for end, behind in zip(edges[1:-1:2], edges[2::2], strict=True)
        )
