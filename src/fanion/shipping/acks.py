"""What the shipper tells the workers of what the stream has, under `ack = "replicated"`: rows of the board
(`fanion.journal.replicas`).

A row has two ranges of a writer's sequences. Of the epoch that was sent last: what the stream acknowledged since
that epoch's first block, without a gap; a worker trusts no other for the records of its own claim. And of any
epoch: what it acknowledged since the last gap, by the ledger, as soon as one look has found that it still has all
of that, or got it again.

A row is written before the ledger: who is killed between the two has told the truth, and sends again. The next one
goes on from the rows that it left. Where the stream gives a block a place that is no later than the last one, it
may be another stream, made anew: from then on nothing that was acknowledged earlier counts until the next look.
"""

from __future__ import annotations

from collections.abc import Mapping

from fanion.journal.replicas import Board, Taken
from fanion.shipping.block import Block
from fanion.shipping.chain import Chain
from fanion.shipping.ledger import Ledger


class _Known:
    """Of one writer. `floor`: what is before it doesn't count until the next look. `looked`: there was one,
    or nothing from before."""

    def __init__(self, row: Taken, since: int, until: int, *, looked: bool) -> None:
        self.epoch, self.first, self.next = row.epoch, row.first, row.next
        self.since, self.until = since, until
        self.floor = 0
        self.looked = looked


class Acks:
    """`before`: `ranges` as they were kept, which reach back behind what has left journal and ledger."""

    def __init__(
        self, board: Board, machine: bytes, ledger: Ledger, before: Mapping[int, tuple[int, int]]
    ) -> None:
        self._board = board
        self._machine = machine
        self._known: dict[int, _Known] = {}
        self._place = max((max(chain.places[-1:], default=0) for chain in ledger.chains.values()), default=0)
        self.doubts = 0
        """How often `doubt` was called."""
        self._chains = ledger.chains
        for writer in ledger.chains.keys() | before.keys():
            since, until = before.get(writer, (0, 0))
            if (chain := ledger.chains.get(writer)) is not None:
                earlier, until = (since, until), ledger.ends[writer]
                since = unbroken_since(chain, until)
                if since == chain.begins and earlier[0] < since <= earlier[1]:
                    since = earlier[0]
            self._meet(writer, since, until, looked=False)
            self._put(writer)

    def took(self, block: Block, place: int) -> bool:
        """The stream acknowledged a block, and gave it this place; told in the order in which they were sent.
        Whether that puts in doubt what it had there."""
        doubted = place <= self._place
        if doubted:
            self.doubt()
        self._place = place
        if block.span.part == block.span.parts - 1:
            self._take(block)
        return doubted

    def _take(self, block: Block) -> None:
        span = block.span
        known = self._meet(span.writer, span.first, span.first)
        if known.epoch == block.epoch and known.first <= span.first <= known.next:
            known.next = max(known.next, span.next)
        else:
            known.epoch, known.first, known.next = block.epoch, span.first, span.next
        if span.first > known.until:
            known.since = span.first
        known.until = max(known.until, span.next)
        self._put(span.writer)

    def lacks(self, writer: int, until: int) -> None:
        """Something before `until` is in the journal no more, nor in the stream."""
        known = self._meet(writer, until, until)
        known.since = max(known.since, until)
        self._put(writer)

    def doubt(self) -> None:
        """What was acknowledged so far may be gone."""
        self.doubts += 1
        for writer, known in self._known.items():
            known.looked = False
            known.floor = max(known.next, known.until)
            self._put(writer)

    def looked(self, doubts: int, ends: Mapping[int, int], *, another: bool = False) -> None:
        """The stream has all that the ledger says, or got it again, at a look that began after so many doubts.
        `ends`: where each writer's records end, where it is known; the others' count from a later look on. A ledger
        that is ahead of them is of records that the journal lost, whose sequences are given again. `another`: the
        stream is made anew, and has nothing of what has left the journal."""
        if doubts != self.doubts:
            return
        for writer, known in self._known.items():
            chain = self._chains.get(writer)
            if another:
                known.since = max(known.since, chain.begins if chain else known.until)
            if chain and writer not in ends:
                continue
            if known.until > ends.get(writer, known.until):
                known.since = known.until
            known.floor, known.looked = 0, True
            self._put(writer)

    @property
    def ranges(self) -> dict[int, tuple[int, int]]:
        """Writer -> since and until, for the next one; empty before a look."""
        known = self._known.items()
        return {writer: (each.since, each.until) for writer, each in known if each.looked}

    @property
    def doubtful(self) -> bool:
        """Whether a look is due."""
        return not all(known.looked for known in self._known.values())

    def _meet(self, writer: int, since: int, until: int, *, looked: bool = True) -> _Known:
        known = self._known.get(writer)
        if known is None:
            row = self._board.row(writer)
            row = row if row.machine == self._machine else Taken()
            known = self._known[writer] = _Known(row, since, until, looked=looked)
        return known

    def _put(self, writer: int) -> None:
        known = self._known[writer]
        first = min(max(known.first, known.floor), known.next)
        since, until = (known.since, known.until) if known.looked else (0, 0)
        self._board.put(writer, Taken(self._machine, known.epoch, first, known.next, since, until))


def unbroken_since(chain: Chain, until: int) -> int:
    """From where on the stream took all up to `until`: what the journal couldn't read, or lost, is a gap."""
    since = until
    for row in range(chain.find(until) - 1, -1, -1):
        span = chain.span(row)
        if not chain.places[row] or (span.next != since and span.first != since):
            break
        since = span.first
    return since
