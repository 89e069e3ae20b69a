"""Downstream: what a stream has of the journals of many machines, as a pipeline reads it, each record once.

Which records there are rows of stands in the rows' manifest, by (machine, writer, sequence), with how far the
stream was read; both move with the rows in one step. The first is what counts: a stream that was made anew, or
lost its end, is read from its beginning. What a server can't read, and the stream doesn't say is gone, is asked for
again in each run, since another server may have it; what is gone comes again behind, once its machine has found so.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import xxhash

from fanion._core.journal_format import list_records
from fanion._core.record_table import Names, tabulate
from fanion.config.shipping import Shipping
from fanion.errors import RowsError, ShippingError
from fanion.journal.batch import RecordBatch
from fanion.journal.gaps import Gaps
from fanion.journal.lag import Lag
from fanion.journal.reader import RECORD_HEADER_BYTES
from fanion.nats.connection import Access
from fanion.pipeline.manifest import Manifest, StreamPlace
from fanion.pipeline.source import Heard
from fanion.shipping.block import Block, parse_block
from fanion.shipping.stream import Extent, Stream
from fanion.shipping.taken import Taken

AT_ONCE_FIRST: Final = 2
AT_ONCE: Final = 16
"""Messages that are asked for at once, 8 MB at most: twice as many while they come within `QUICK_S`, half as many
beyond `SLOW_S`."""
QUICK_S: Final = 0.5
SLOW_S: Final = 2.0
TRIES: Final = 3
"""Of a message that nobody says is gone: any server may be asked."""
UNREAD_MAX: Final = 100_000
AGAIN_MAX: Final = 1_000
"""Of those, what is asked for again in a run."""
PARTS_MAX: Final = 10_000
"""Records that haven't come whole, of all machines: one of a writer that is being sent, or was when it ended."""
RECORD_BYTES_MAX: Final = 256 << 20
"""Of a record that comes in parts: four times the largest body that is taken."""
PROBLEMS_MAX: Final = 20

_Key = tuple[str, int, int, int]
"""Of a record in parts: machine, writer, sequence, how many."""


class Downstream:
    """A `fanion.pipeline.source.Source`. `manifest`: of the rows. Raises ShippingError, and RowsError where they
    have another source."""

    whole = False

    def __init__(
        self, settings: Shipping, access: Access, manifest: Manifest, turn: Callable[[], None] = lambda: None
    ) -> None:
        place = manifest.stream
        if place is None and (manifest.place.machine or manifest.step):
            raise RowsError("these rows are made of this directory's own journal; name another directory")
        self._turn = turn
        self._names = Names(), Names()
        self._problems: list[str] = []
        self._at_once, self._behind = AT_ONCE_FIRST, 0
        self._read_messages = self._read_records = 0
        self._heard_s = self._whole_s = 0.0
        self._failed: ShippingError | None = None
        self._stream = Stream(settings, access, create=False)
        try:
            if place is not None and place.name != self._stream.name:
                raise RowsError(
                    f"these rows are made of the stream {place.name}; name that, or another directory"
                )
            self._place = place or StreamPlace(self._stream.name)
        except BaseException:
            self._stream.close()
            raise
        self._taken = Taken(self._place.taken)
        self._position, self._unread = self._place.position, list(self._place.unread)
        self._mark, self._digest = self._place.mark, self._place.digest
        self._parts: dict[_Key, dict[int, int]] = {tuple(key): dict(at) for *key, at in self._place.parts}  # type: ignore[misc]
        self._made = self._place.made
        self._heard_s = time.time()

    def close(self) -> None:
        self._stream.close()

    def placed(self, manifest: Manifest) -> Manifest:
        place = StreamPlace(
            self._stream.name,
            self._made,
            self._position,
            self._mark,
            self._digest,
            list(self._unread),
            self._taken.as_held(),
            [(*key, dict(at)) for key, at in self._parts.items()],
        )
        return manifest if place == manifest.stream else msgspec.structs.replace(manifest, stream=place)

    def tell(self) -> None:
        """The stream keeps its messages by age."""

    def problems(self) -> list[str]:
        told = f"{self._taken.closed:,} records are waited for no longer: too many are missing"
        return [*self._problems, *([told] if self._taken.closed else [])]

    def lag(self) -> Lag:
        """In records, by the mean of the messages before."""
        each = self._read_records / self._read_messages if self._read_messages else 1
        return Lag(round(self._behind * each), 0)

    def heard(self) -> Heard:
        behind = self._behind + len(self._unread)
        return Heard(self._heard_s, self._whole_s, behind, self._taken.missing())

    def gaps(self) -> Gaps:
        """What left the stream is told by nobody; see `missing`."""
        return Gaps()

    def missing(self) -> int:
        """Records that lie between others and haven't come: the journal couldn't read them, or the stream has lost
        them and not got them again."""
        return self._taken.missing()

    def read_batches(self) -> Iterator[RecordBatch]:
        """Where it fails behind batches that were handed out it ends, so that their rows count; `check` says so."""
        handed = False
        try:
            for batch in self._read():
                yield batch
                handed = True
        except ShippingError as error:
            if not handed:
                raise
            self._failed = error

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _read(self) -> Iterator[RecordBatch]:
        began_s = time.time()
        extent = self._stream.extent()
        self._settle(extent)
        unread = [place for place in self._unread if not extent.lacks(place)]
        again, later = unread[:AGAIN_MAX], unread[AGAIN_MAX:]
        self._unread = [*later, *again]
        for place, message in self._messages(again):
            if message is not None:
                yield from self._batches_of(place, message)
                self._unread.remove(place)
        for place, message in self._messages(self._places(extent)):
            self._behind = extent.last - place
            if message is None:
                self._put_off(place)
            else:
                yield from self._batches_of(place, message)
                self._mark, self._digest = place, xxhash.xxh64_intdigest(message)
            self._position = place
        self._position, self._behind = extent.last, 0
        self._whole_s = began_s

    def _places(self, extent: Extent) -> Iterator[int]:
        for place in range(max(self._position + 1, extent.first), extent.last + 1):
            if place not in extent.gone:
                yield place

    def _settle(self, extent: Extent) -> None:
        """From the beginning where this is not what was read before."""
        other = self._made not in ("", extent.made) or extent.last < self._position
        if not other and self._mark and not extent.lacks(self._mark):
            ((_, message),) = self._messages([self._mark])
            other = message is not None and xxhash.xxh64_intdigest(message) != self._digest
        if other:
            self._tell(
                "the stream isn't what it was: it is read from its beginning, and what is known passed over"
            )
            self._position = self._mark = self._digest = 0
            self._unread, self._parts = [], {}
        self._made = extent.made
        self._heard_s = time.time()
        self._behind = max(0, extent.last - self._position)

    def _messages(self, places: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
        """In order. None: nobody who was asked could read it."""
        rest = iter(places)
        while True:
            some = list(itertools.islice(rest, self._at_once))
            if not some:
                return
            self._turn()
            began = time.monotonic()
            found = dict(zip(some, self._stream.messages(some), strict=True))
            took_s = time.monotonic() - began
            self._heard_s = time.time()
            for _ in range(TRIES - 1):
                if not (lacking := [place for place in some if found[place] is None]):
                    break
                found.update(zip(lacking, self._stream.messages(lacking), strict=True))
            if took_s > SLOW_S:
                self._at_once = max(1, self._at_once // 2)
            elif took_s < QUICK_S:
                self._at_once = min(AT_ONCE, 2 * self._at_once)
            yield from found.items()

    def _put_off(self, place: int) -> None:
        if len(self._unread) >= UNREAD_MAX:
            raise ShippingError(
                f"{UNREAD_MAX:,} messages of {self._stream.name} can't be read, the last {place}"
            )
        self._unread.append(place)

    def _batches_of(self, place: int, message: bytes) -> Iterator[RecordBatch]:
        try:
            block = parse_block(message)
        except ShippingError as error:
            self._tell(f"message {place} of {self._stream.name}: {error}")
            return
        self._read_messages += 1
        self._read_records += (block.span.next - block.span.first) // block.span.parts
        if block.span.parts == 1:
            yield from self._batches(place, block)
            return
        key = block.machine.hex(), block.span.writer, block.span.first, block.span.parts
        if not self._taken.new_of(*key[:3], block.span.next):
            self._parts.pop(key, None)
        elif (whole := self._joined(key, place, block)) is not None:
            yield from self._batches(place, whole)
            self._parts.pop(key, None)  # not before its rows count: the last part may be read again

    def _joined(self, key: _Key, place: int, part: Block) -> Block | None:
        """The record, with the last of its parts."""
        at = self._parts.setdefault(key, {})
        at[part.span.part] = place
        if len(at) < part.span.parts:
            while len(self._parts) > PARTS_MAX:
                self._parts.pop(next(iter(self._parts)))
                self._tell("records whose parts never came are waited for no longer")
            return None
        data: list[bytes] = []
        size = 0
        numbers = sorted(at)
        for number, (_, message) in zip(numbers, self._messages([at[n] for n in numbers]), strict=False):
            other = None if message is None else _block_of(message)
            span = part.span._replace(part=number)
            if other is None or (other.machine, other.span) != (part.machine, span):
                if message is None:
                    self._put_off(at[number])
                del at[number]  # it comes again behind, or another server has it
                return None
            data.append(other.data)
            size += len(other.data)
            if size > RECORD_BYTES_MAX:
                self._tell(f"a record in {part.span.parts:,} parts is larger than any that is journalled")
                at.clear()
                return None
        span = part.span._replace(part=0, parts=1)
        return Block(part.machine, part.epoch, span, b"".join(data))

    def _batches(self, place: int, block: Block) -> Iterator[RecordBatch]:
        """Of a whole block, what is new."""
        machine, writer, data = block.machine.hex(), block.span.writer, block.data
        new = self._taken.new_of(machine, writer, block.span.first, block.span.next)
        if not new:
            return
        try:
            listed = [
                (sequence, start - RECORD_HEADER_BYTES)
                for _, sequence, _, start, _ in list_records(data, 0, len(data))
            ]
            sequences = [sequence for sequence, _ in listed]
            if sequences != list(range(block.span.first, block.span.next)):
                raise ValueError("its records aren't those that it says")
            for first, behind in new:
                row, end = first - block.span.first, behind - block.span.first
                starts = listed[row][1], listed[end][1] if end < len(listed) else len(data)
                table = tabulate(data, *starts, end - row, 0, 0, *self._names)
                texts = (names.texts for names in self._names)
                if len(table):
                    yield RecordBatch(block.machine, writer, block.epoch, data, table, *texts)
                if len(table) < end - row:
                    raise ValueError("a record of it can't be read")
                self._taken.add(machine, writer, first, behind)
        except ValueError as error:
            self._tell(f"message {place} of {self._stream.name}: {error}")

    def _tell(self, problem: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)


def _block_of(message: bytes) -> Block | None:
    try:
        return parse_block(message)
    except ShippingError:
        return None
