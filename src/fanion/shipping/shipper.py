"""The shipper: reads the journal on from what the ledger says, has the stream take it, notes that it did, and
has the reconciler look whether it still has it. Retention may take what is before the reconciler's place."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fanion.config.shipping import Shipping
from fanion.errors import ShippingError
from fanion.journal.gaps import Gaps, load_gaps
from fanion.journal.lag import lag_of
from fanion.journal.proven import ProvenReader
from fanion.journal.reader import Checkpoint, JournalReader, load_checkpoint, segment_limits
from fanion.journal.replicas import TAKES, Board
from fanion.journal.storage import Storage
from fanion.nats.connection import Access
from fanion.shipping import DIRECTORY, READER
from fanion.shipping.acks import Acks
from fanion.shipping.block import Span, cut
from fanion.shipping.chain import Entry
from fanion.shipping.flight import Flight, Pace, Taken
from fanion.shipping.ledger import Ledger
from fanion.shipping.reconciler import Reconciler, blocks_again
from fanion.shipping.state import State, keep_state, load_state
from fanion.shipping.stream import Stream
from fanion.telemetry.shipping import ShippingNumbersNow

log = logging.getLogger("fanion.shipping")

TELL_READER_S: Final = 10.0
"""Between two commits of the journal's reader, which has retention wait for no more than it must."""


class _Taken(NamedTuple):
    """A block that the ledger hasn't yet. Its records' bytes are of no more use."""

    span: Span
    place: int
    digest: int
    size: int


class Shipper:
    """Of one data directory; one at a time. `turn`: called at every step. `board`: where workers wait for what the
    stream has. `drain`: has what killed workers left in their slots written and synced (`journal.proven`), where
    no other worker does. Raises ShippingError, JournalError."""

    def __init__(
        self,
        directory: Path,
        settings: Shipping,
        access: Access,
        *,
        turn: Callable[[], None] = lambda: None,
        board: Board | None = None,
        drain: Callable[[], None] | None = None,
        storage: Storage | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._data = directory
        self._settings = settings
        self._access = access
        self._storage = storage or Storage()
        self._turn = turn
        self._board = board
        self._drain = drain
        self._acks: Acks | None = None
        self._now = now
        self._told_at, self._told = -math.inf, Checkpoint()
        self._checked_at = -math.inf
        self._pace = Pace()
        self._taken: list[_Taken] = []
        self._kept = True
        self._stream: Stream | None = None
        self._ledger: Ledger | None = None
        JournalReader(directory, storage=self._storage)  # without a journal nothing is made
        self._storage.make_directory(directory / DIRECTORY)
        self._lock = self._storage.open(directory / DIRECTORY / "lock", create=True)
        try:
            if not self._storage.lock(self._lock):
                raise ShippingError("another process ships this directory's records; only one does at a time")
            self.state = load_state(self._storage, directory)
            self._meet()
        except BaseException:
            self.close()
            raise

    def _meet(self) -> bool:
        """Whose journal it is: retention waits from here on, also while nothing is reached. False: it has no
        segment yet, and so nothing to ship."""
        first = JournalReader(self._data, storage=self._storage)
        first.chains()
        self._machine = first.checkpoint.machine
        if self._ledger is not None:
            self._ledger.close()
        machine = bytes.fromhex(self._machine)
        self._ledger = Ledger(self._storage, self._data / DIRECTORY / "ledger", machine)
        before = load_checkpoint(self._storage, self._data / "journal", READER)
        verified = before.next_sequence if before.machine == self._machine else {}
        self._reconciler = Reconciler(self._ledger, verified, self._between)
        self._tell(at_once=True)
        self._reader = ProvenReader(
            self._data, storage=self._storage, checkpoint=self.sent(), drain=self._drain
        )
        if self._board is not None and self._machine:
            self._acks = Acks(self._board, machine, self._ledger, self.state.acknowledged)
        return bool(self._machine)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._ledger is not None:
            self._ledger.close()
        self._storage.close(self._lock)

    def __enter__(self) -> Shipper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    @property
    def stream(self) -> Stream:
        """Reached with the first look, so that also a shipper which can't reach it says how it stands."""
        if self._stream is None:
            self._stream = Stream(self._settings, self._access)
            if self._board is not None and self._stream.in_cluster and self._stream.replicas < 2:
                name = self._stream.name
                raise ShippingError(
                    f"the stream {name} is on one server of a cluster, and answers wait for it (journal.ack is "
                    f'"replicated"); it needs two or more: `nats stream edit {name} --replicas 3`'
                )
        return self._stream

    def sent(self) -> Checkpoint:
        """What the stream took so far."""
        return Checkpoint(self._machine, dict(self.ledger.ends))

    def verified(self) -> Checkpoint:
        """What the stream was seen to have, of finished segments."""
        return Checkpoint(self._machine, dict(self._reconciler.verified))

    def run_once(self, ended: Callable[[], bool] = lambda: False) -> int:
        """All that can be read now. How many records the stream took. Raises ShippingError, JournalError."""
        self.stream.check()
        before = self.state.records
        self.ship(ended)
        if self.state.failing or not self._kept:
            known = (self._acks.ranges if self._acks is not None else {}) or self.state.acknowledged
            well = msgspec.structs.replace(
                self.state, failing="", failing_since_unix_s=0.0, acknowledged=known
            )
            self._keep(well)
        checked = self.reconcile(ended)
        self._tell(at_once=bool(checked) or ended())
        return self.state.records - before

    def ship(self, ended: Callable[[], bool] = lambda: False) -> None:
        """What was not sent yet, and nothing else."""
        try:
            with Flight(self.stream, self._pace, self._took) as flight:
                for batch in self._reader.read_batches() if self._machine or self._meet() else ():
                    self._turn()
                    if batch.machine.hex() != self._machine:
                        raise ShippingError("another journal is in the directory now; it is begun anew")
                    for block in cut(batch, self.stream.part_bytes):
                        flight.put(block)
                    if ended():
                        break
        finally:
            self._note()
        if self._board is not None:
            self._board.say(TAKES)

    def _between(self) -> None:
        """At a step of what is looked at: who waits for the stream doesn't wait for that."""
        self._turn()
        if self._board is not None:
            self.ship()

    def failed(self, reason: str) -> None:
        """Says so in the state's file, where it is another reason than before."""
        if self.state.failing != reason:
            since = self.state.failing_since_unix_s or self._now()
            self._keep(msgspec.structs.replace(self.state, failing=reason, failing_since_unix_s=since))

    def problems(self) -> list[str]:
        """What could not be read."""
        return self._reader.problems()

    def gaps(self) -> Gaps:
        """What left the journal before it was shipped."""
        return load_gaps(self._storage, self._data / "journal", READER)

    def stands(self) -> ShippingNumbersNow:
        lag = lag_of(self._reader, self._storage, self.sent())
        held = lag_of(self._reader, self._storage, self.verified())
        state = self.state
        return ShippingNumbersNow(
            blocks=state.blocks,
            records=state.records,
            bytes=state.bytes,
            resent_blocks=state.resent_blocks,
            unrecovered_records=state.unrecovered_records,
            unverified_segments=unverified_segments(self._reader, self.verified()),
            sent_unix_s=state.sent_unix_s,
            lag_records=lag.records,
            held_bytes=held.held_bytes,
            gap_records=self.gaps().records,
        )

    def _took(self, taken: Taken) -> None:
        """The stream has these, in order. Who waits for that is told at once; the ledger, of several at once."""
        for block, place in taken:
            if self._acks is not None and self._acks.took(block, place):
                self._note()  # so that what was given a place before is in doubt, too
                self._reconciler.suspect(place)
            self._taken.append(_Taken(block.span, place, block.digest, len(block.data)))
        if self._board is not None:
            self._board.ring_workers()
            self._board.beat()
        if 2 * len(self._taken) >= self._pace.at_once:
            self._note()

    def reconcile(self, ended: Callable[[], bool]) -> int:
        """How many blocks were verified. What is lacking is sent again once in `check_s`."""
        chains = {segments[0].header.writer: segments for segments, _, _ in self._reader.chains()}
        self.ledger.forget({writer: chain[0].header.first_sequence for writer, chain in chains.items()})
        finished = {writer: chain[-1].header.first_sequence for writer, chain in chains.items()}
        checked = self._reconciler.check(self.stream, finished, self._now(), ended)
        if checked:
            verified = self.state.verified_blocks + checked
            self._keep(msgspec.structs.replace(self.state, verified_blocks=verified))
        doubts = self._acks.doubts if self._acks is not None else 0
        due = self._acks is not None and self._acks.doubtful
        if due or not 0 <= self._now() - self._checked_at < self._settings.check_s:
            made = self._reconciler.look(self.stream, self._now(), self.state.made)
            count = 0
            for span in sorted(self._reconciler.lacking):
                count += self._send_again(span, set(chains))
                self._reconciler.lacking.remove(span)
            if count:
                log.warning("the stream had lost records, which were sent again", extra={"count": count})
            self._reconciler.let_go(self._now(), self.stream.keep_s)
            self._checked_at = self._now()
            another = made != self.state.made != ""
            if made != self.state.made:
                known = {} if another else self.state.acknowledged
                self._keep(msgspec.structs.replace(self.state, made=made, acknowledged=known))
            if self._acks is not None:
                self._acks.looked(doubts, self._reader.ends(), another=another)
                self._ring()
        return checked

    def _send_again(self, span: Span, writers: set[int]) -> int:
        """A block that the stream has lost, as the journal has it now; how many records."""
        self._between()
        part_bytes = self.stream.part_bytes
        blocks = list(blocks_again(self._data, self._storage, self._machine, span, part_bytes, writers))
        taken: Taken = []
        with Flight(self.stream, self._pace, taken.extend, again=True) as flight:
            for block in blocks:
                flight.put(block)
        now, end, entries, lost = self._now(), span.first, [], 0
        for block, place in taken:
            if block.span.first > end:
                entries.append(Entry(Span(span.writer, end, block.span.first), 0, 0, now))
                lost += block.span.first - end
            entries.append(Entry(block.span, place, block.digest, now))
            end = block.span.next
        if end < span.next:
            entries.append(Entry(Span(span.writer, end, span.next), 0, 0, now))
            lost += span.next - end
        if lost and self._acks is not None:
            self._acks.lacks(span.writer, span.next)
        self.ledger.add(entries)
        self._keep(
            msgspec.structs.replace(
                self.state,
                resent_blocks=self.state.resent_blocks + 1,
                unrecovered_records=self.state.unrecovered_records + lost,
            )
        )
        return span.next - span.first - lost

    def _note(self) -> None:
        """What the stream took since the last time."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        now, entries, ends = self._now(), [], dict(self.ledger.ends)
        for span, place, digest, _ in taken:
            writer, first, behind = span[:3]
            if (
                end := ends.get(writer)
            ) is not None and first > end:  # the journal couldn't read what is between
                entries.append(Entry(Span(writer, end, first), 0, 0, now))
            entries.append(Entry(span, place, digest, now))
            if span.part == span.parts - 1:
                ends[writer] = behind
        self.ledger.add(entries)
        whole = [each.span for each in taken if each.span.part == each.span.parts - 1]
        self._keep(
            msgspec.structs.replace(
                self.state,
                blocks=self.state.blocks + len(taken),
                records=self.state.records + sum(span.next - span.first for span in whole),
                bytes=self.state.bytes + sum(each.size for each in taken),
                sent_unix_s=now,
                failing="",
                failing_since_unix_s=0.0,
            ),
            at_once=self._board is None,
        )

    def _ring(self) -> None:
        if self._board is not None:
            self._board.ring_workers()

    def _keep(self, state: State, *, at_once: bool = True) -> None:
        """Else with the next run: who waits for the stream needn't wait for a file's name."""
        if at_once:
            keep_state(self._storage, self._data, state)
        self.state, self._kept = state, at_once

    def _tell(self, *, at_once: bool = False) -> None:
        """That retention may take what was verified."""
        now, place = self._now(), self.verified()
        due = at_once or not 0 <= now - self._told_at < TELL_READER_S
        if due and place != self._told:
            drops = self._settings.when_full == "drop"
            JournalReader(
                self._data, storage=self._storage, name=READER, checkpoint=place, yields=drops
            )  # keeps it, synced
            self._told_at, self._told = now, place


def unverified_segments(reader: JournalReader, place: Checkpoint) -> int:
    """Finished segments that aren't verified to their end."""
    count = 0
    for segments, end, _ in reader.chains():
        verified = place.next_sequence.get(segments[0].header.writer, 0)
        for segment, limit in list(zip(segments, segment_limits(segments, end), strict=True))[:-1]:
            count += limit > max(verified, segment.header.first_sequence)
    return count
