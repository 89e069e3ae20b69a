"""The reconciler: whether the stream has what it took, block by block, and from where on it isn't known.

A block counts as verified once it was read back out of the stream, of a segment that is finished, and has the
records' count and digest that the ledger has. The others are looked for without being read: a message that is
no more leaves a hole that the stream knows of. What is lacking is read out of the journal and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fanion.journal.log_segment import SEQUENCE_END
from fanion.journal.reader import Checkpoint, JournalReader
from fanion.journal.storage import Storage
from fanion.shipping.block import Block, Span, cut
from fanion.shipping.chain import Chain
from fanion.shipping.ledger import Ledger
from fanion.shipping.stream import Stream

FETCHED_AT_ONCE: Final = 16
KEPT_SHARE: Final = 0.9
"""Of the time that the stream keeps a message, after which its being gone is no loss."""


class Reconciler:
    """`verified`: writer -> the sequence before which all was verified earlier."""

    def __init__(self, ledger: Ledger, verified: dict[int, int], turn: Callable[[], None]) -> None:
        self._ledger = ledger
        self._turn = turn
        self.lacking: set[Span] = set()
        """Blocks that are to be sent again, by their first part."""
        self.verified: dict[int, int] = {}
        for writer, chain in ledger.chains.items():
            for row in chain.not_good(0, verified.get(writer, 0)):
                chain.good[row] = True
        self.move_on()

    def check(self, stream: Stream, finished: dict[int, int], now: float, ended: Callable[[], bool]) -> int:
        """Reads back what isn't verified yet of each writer's records before `finished`. How many blocks were
        as they should be; the others are `lacking` from then on. Raises ShippingError."""
        checked = 0
        waiting = [
            (chain, row, entry)
            for writer, chain in sorted(self._ledger.chains.items())
            for row in chain.not_good(self.verified.get(writer, 0), finished.get(writer, 0))
            if _whole((entry := chain[row]).span) not in self.lacking and _kept(entry.at, stream.keep_s, now)
        ]
        for at in range(0, len(waiting), FETCHED_AT_ONCE):
            self._turn()
            if ended():
                break
            some = waiting[at : at + FETCHED_AT_ONCE]
            found = stream.fetch([entry.place for _, _, entry in some])
            for (chain, row, entry), block in zip(some, found, strict=True):
                if block is not None and (block.span, block.digest) == (entry.span, entry.digest):
                    chain.good[row] = True
                    checked += 1
                else:
                    self.lacking.add(_whole(entry.span))
        self.move_on()
        return checked

    def look(self, stream: Stream, now: float, made: str) -> str:
        """What the stream has no more, of all that it took and the journal has, is `lacking` from then on: all of
        it where the stream isn't the one that was `made` then (empty: nobody knows). When it was. Raises
        ShippingError."""
        chains = [(writer, chain, len(chain)) for writer, chain in self._ledger.chains.items()]
        extent = stream.extent()  # of what was sent before; `turn` may send more
        another = made not in ("", extent.made)
        for writer, chain, rows in chains:
            self._turn()
            for row, place in enumerate(chain.places[:rows]):
                gone = place and (another or extent.lacks(place))
                if gone and _kept(chain.times[row], stream.keep_s, now):
                    self._lose(writer, chain, row)
        return extent.made

    def suspect(self, since: int) -> None:
        """The stream gave this place again: what it had there and behind may be gone, and is `lacking`."""
        for writer, chain in self._ledger.chains.items():
            for row, place in enumerate(chain.places):
                if place >= since:
                    self._lose(writer, chain, row)

    def _lose(self, writer: int, chain: Chain, row: int) -> None:
        chain.good[row] = False
        span = chain.span(row)
        self.lacking.add(_whole(span))
        if writer in self.verified:
            self.verified[writer] = min(self.verified[writer], span.first)

    def move_on(self) -> None:
        """Over what is verified."""
        for writer, chain in self._ledger.chains.items():
            if len(chain):
                self.verified[writer] = chain.good_from(self.verified.get(writer, 0))

    def let_go(self, now: float, keep_s: float) -> None:
        """What the stream keeps no longer counts as verified: nothing more can be done for it."""
        for writer, chain in self._ledger.chains.items():
            for row in chain.not_good(self.verified.get(writer, 0), SEQUENCE_END):
                if not _kept(chain.times[row], keep_s, now):
                    chain.good[row] = True
        self.move_on()


def blocks_again(
    data: Path, storage: Storage, machine: str, span: Span, part_bytes: int, writers: set[int]
) -> Iterator[Block]:
    """A block's records as the journal has them now, in one block or more."""
    alone = dict.fromkeys(writers, SEQUENCE_END)  # the others have nothing behind the end of all sequences
    alone[span.writer] = span.first
    reader = JournalReader(data, storage=storage, checkpoint=Checkpoint(machine, alone))
    for batch in reader.read_batches():
        if batch.writer != span.writer:
            continue
        yield from cut(batch, part_bytes, until=span.next)
        if len(batch.table) and batch.table.sequence[-1] + 1 >= span.next:
            return


def _kept(at: float, keep_s: float, now: float) -> bool:
    """Whether the stream has to have still what it took then."""
    return not keep_s or now - at < keep_s * KEPT_SHARE


def _whole(part: Span) -> Span:
    return part._replace(part=0)
