"""Entries of the ledger in memory: one writer's, in sequence, in columns of 45 bytes an entry.

Where little comes there is a block a second and worker, for as long as the journal keeps its segments: millions.
So what is done at every look begins where it is known from, and goes over no entry twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from fanion.shipping.block import Span


class Entry(NamedTuple):
    """A block that the stream took. `place`: its sequence in the stream; 0: nothing was there to be sent. `at`:
    when, Unix seconds."""

    span: Span
    place: int
    digest: int
    at: float


class Chain:
    """`good`: 1 where the stream was seen to have an entry's block, or needn't have it; the reconciler's."""

    def __init__(self, writer: int) -> None:
        self.writer = writer
        self.good = bytearray()
        self.places = array("Q")
        self.times = array("d")
        self._firsts, self._nexts, self._digests = array("Q"), array("Q"), array("Q")
        self._parts, self._of = array("H"), array("H")

    def __len__(self) -> int:
        return len(self.good)

    def __getitem__(self, row: int) -> Entry:
        return Entry(self.span(row), self.places[row], self._digests[row], self.times[row])

    def __iter__(self) -> Iterator[Entry]:
        return map(self.__getitem__, range(len(self)))

    def span(self, row: int) -> Span:
        return Span(self.writer, self._firsts[row], self._nexts[row], self._parts[row], self._of[row])

    def find(self, sequence: int) -> int:
        """The first row of what begins there or later."""
        return bisect_left(self._firsts, sequence)

    def put(self, entry: Entry) -> None:
        """In the place of the same part's; of blocks that were cut otherwise, in that of all that begin within."""
        span = entry.span
        if not self._firsts or span.first > self._firsts[-1]:  # as almost always
            self._insert(len(self), entry)
            return
        begin, end = self.find(span.first), self.find(span.next)
        if begin < end and (self._firsts[begin], self._nexts[begin], self._of[begin]) != (
            span.first,
            span.next,
            span.parts,
        ):
            self._remove(begin, end)
            end = begin
        row = bisect_left(self._parts, span.part, begin, end)
        if row < end and self._parts[row] == span.part:
            self._remove(row, row + 1)
        self._insert(row, entry)

    @property
    def begins(self) -> int:
        """The first sequence."""
        return self._firsts[0] if self._firsts else 0

    def ends_from(self, sequence: int) -> int:
        """How far whole blocks go on from there without a gap."""
        return self._go_on(sequence, good=False)

    def good_from(self, sequence: int) -> int:
        """How far whole blocks that are all good do."""
        return self._go_on(max(sequence, self.begins), good=True)

    def forget(self, sequence: int) -> None:
        """What ends before it."""
        self._remove(0, bisect_right(self._nexts, sequence))

    def not_good(self, since: int, until: int) -> Iterator[int]:
        """Rows that aren't good of what lies between two sequences."""
        row = self.good.find(0, self.find(since))
        while row >= 0 and self._nexts[row] <= until:
            yield row
            row = self.good.find(0, row + 1)

    def _go_on(self, sequence: int, *, good: bool) -> int:
        row = self.find(sequence)
        while row < len(self) and self._firsts[row] == sequence:
            behind = row + self._of[row]
            if behind > len(self) or self._firsts[behind - 1] != sequence:  # parts are missing
                break
            if good and not all(self.good[row:behind]):
                break
            row, sequence = behind, self._nexts[row]
        return sequence

    def _insert(self, row: int, entry: Entry) -> None:
        span = entry.span
        self.good.insert(row, not entry.place)
        self._firsts.insert(row, span.first)
        self._nexts.insert(row, span.next)
        self._parts.insert(row, span.part)
        self._of.insert(row, span.parts)
        self.places.insert(row, entry.place)
        self._digests.insert(row, entry.digest)
        self.times.insert(row, entry.at)

    def _remove(self, begin: int, end: int) -> None:
        if begin < end:
            del self.good[begin:end], self.times[begin:end], self.places[begin:end]
            del self._firsts[begin:end], self._nexts[begin:end], self._digests[begin:end]
            del self._parts[begin:end], self._of[begin:end]
