"""One sink: reads the journal on from its place, has the receiver take a step, keeps the place.

A step that was planned and not kept is made again first, of the same records and under the same name; of records
that left the journal meanwhile there are no rows then, and the gap is written down like any other.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.journal.batch import RecordBatch
from fanion.journal.columns import Expander
from fanion.journal.gaps import Gaps, load_gaps
from fanion.journal.lag import lag_of
from fanion.journal.log_segment import SEQUENCE_END
from fanion.journal.proven import ProvenReader
from fanion.journal.reader import Checkpoint, JournalReader
from fanion.journal.storage import Storage
from fanion.model.canonical import Canonical
from fanion.pipeline.parquet import arrow
from fanion.pipeline.published import Published
from fanion.sinks import kind_of, missing_libraries
from fanion.sinks.lines import Lines
from fanion.sinks.receiver import Receiver, Turn
from fanion.sinks.state import DIRECTORY, State, keep_state, load_state
from fanion.telemetry.sinks import SinkState

STEP_ROWS: Final = 20_000
"""Rows of a step of lines, but for those of one more batch: what a step holds in memory."""
STEP_COLUMN_ROWS: Final = 200_000
STEP_TEXT_BYTES: Final = 64 << 20
TELL_READER_S: Final = 10.0
"""Between two commits of the journal's reader, which has retention wait for no more than it must."""


class Collected(Protocol):
    """Rows until they are taken: `Lines`, or an `Expander`, whose are columns."""

    @property
    def rows(self) -> int: ...

    @property
    def text_bytes(self) -> int: ...

    def add(self, batch: RecordBatch) -> None: ...

    def take(self) -> Any: ...


class Sink:
    """`name`: one of `fanion.sinks.KINDS`. Raises SinkError, and JournalError where there is no journal.
    `drain`: as `journal.proven` has it. `step_rows`: 0: as large as the kind's are."""

    def __init__(
        self,
        directory: Path,
        name: str,
        settings: Sinks,
        canonical: Mapping[str, Canonical],
        *,
        map_bytes: int,
        turn: Turn = lambda: None,
        drain: Callable[[], None] | None = None,
        storage: Storage | None = None,
        step_rows: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._data = directory
        self._storage = storage or Storage()
        self._turn = turn
        self._drain = drain
        self._now = now
        self._kind = kind_of(name)
        self._settings = settings
        self._told_reader_s = -math.inf
        self._told_reader: Checkpoint | None = None
        self._receiver: Receiver | None = None
        if missing := missing_libraries(name):
            raise SinkError(f"{' and '.join(missing)} not installed; pip install 'fanion[sinks]'")
        if self._kind.file is not None:
            check_apart(directory, self._kind.file(settings))
        JournalReader(directory, storage=self._storage)  # without a journal nothing is made
        self._storage.make_directory(directory / DIRECTORY)
        self._lock = self._storage.open(directory / DIRECTORY / f"{name}.lock", create=True)
        try:
            if not self._storage.lock(self._lock):
                raise SinkError(f"another process has the sink {name}; only one runs at a time")
            self.state = load_state(self._storage, directory, name)
            self._reader = self._open_reader()
            self._published = Published(directory, map_bytes, canonical)
            self._expander = Expander(canonical, self._published.flag_of, self._published.key_of)
            planned = self._kind.planned
            self._collected: Collected = self._expander if planned else Lines(self._expander)
            self._step_rows = step_rows or (STEP_COLUMN_ROWS if planned else STEP_ROWS)
            self._receiver = self._kind.open(settings, turn)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        self._storage.close(self._lock)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_reader(self) -> ProvenReader:
        """At the state's place, which may be before or behind what the reader committed."""
        reader = ProvenReader(
            self._data,
            storage=self._storage,
            name=reader_name(self.name),
            checkpoint=self.state.place,
            yields=True,
            hold_hours=self._settings.hold_hours,
            hold_share=self._settings.hold_share,
            drain=self._drain,
        )
        reader.chains()  # a place of another journal begins anew from here on
        return reader

    def problems(self) -> list[str]:
        """What could not be read, some of it."""
        return self._expander.problems + self._reader.problems()

    def gaps(self) -> Gaps:
        """What left the journal before it was taken."""
        return load_gaps(self._storage, self._data / "journal", reader_name(self.name))

    def stands(self) -> SinkState:
        """As it is now, also within a step."""
        same = self.state.place.machine == self._reader.checkpoint.machine
        lag = lag_of(self._reader, self._storage, self.state.place if same else Checkpoint())
        since_s = self.state.fresh_us / 1e6
        return SinkState(
            rows=self.state.rows,
            steps=self.state.steps,
            unreadable=self.state.unreadable,
            left_out=self.state.left_out,
            taken_unix_s=self.state.taken_unix_s,
            lag_s=self._now() - since_s if since_s and lag.records else 0.0,
            lag_records=lag.records,
            held_bytes=lag.held_bytes,
            gap_records=self.gaps().records,
        )

    def run_once(self, ended: Callable[[], bool] = lambda: False) -> int:
        """All that can be read now, in as many steps as it takes. How many rows were taken. Raises SinkError."""
        began_us = int(self._now() * 1e6)
        self._published.refresh()
        rows = self._finish_planned()
        for batch in self._reader.read_batches():
            self._turn()
            # Here all batches before this one are counted as handed out, and this one is not.
            if self._collected.rows >= self._step_rows or self._collected.text_bytes >= STEP_TEXT_BYTES:
                rows += self._hand_over(self._reader.checkpoint)
            if ended():
                began_us = self.state.fresh_us
                break
            self._collected.add(batch)
        rows += self._hand_over(self._reader.checkpoint)
        fresh = msgspec.structs.replace(self.state, fresh_us=began_us, failing="", failing_since_unix_s=0.0)
        if self.state.failing or self._reader.checkpoint != self.state.place:
            fresh.place = self._reader.checkpoint
            self._keep(fresh)
        self.state = fresh
        self._tell_reader(at_once=ended())
        return rows

    def failed(self, reason: str) -> None:
        """Says so in the place's file, where it is another reason than before."""
        if self.state.failing != reason:
            since_s = self.state.failing_since_unix_s or self._now()
            before = load_state(self._storage, self._data, self.name)
            self._keep(msgspec.structs.replace(before, failing=reason, failing_since_unix_s=since_s))

    def _finish_planned(self) -> int:
        """The step that may have been taken in part."""
        planned, place = self.state.planned, self.state.place
        if planned is None:
            return 0
        if planned.machine != self._reader.checkpoint.machine:  # of a journal that is no more
            self._keep(msgspec.structs.replace(self.state, planned=None))
            return 0
        same = place.machine == planned.machine  # else the step is the first of a journal that took its place
        begins = place.next_sequence if same else {}
        known = {
            segments[0].header.writer for segments, _, _ in self._reader.chains()
        } | planned.next_sequence.keys()
        for writer, end in planned.next_sequence.items():
            # The others have nothing behind the end of all sequences, so that this one's records come alone.
            alone = dict.fromkeys(known, SEQUENCE_END)
            alone[writer] = begins.get(writer, 0)
            reader = JournalReader(
                self._data,
                storage=self._storage,
                checkpoint=Checkpoint(planned.machine, alone),
            )
            for batch in reader.read_batches():
                self._turn()
                if batch.writer == writer and batch.table.sequence[0] < end:
                    self._collected.add(batch)
                elif batch.writer == writer:
                    break
        rows = self._hand_over(planned)
        if self.state.planned is not None:  # none of its records is there any more
            self._keep(msgspec.structs.replace(self.state, place=planned, planned=None))
        self._reader = self._open_reader()
        return rows

    def _hand_over(self, place: Checkpoint) -> int:
        """The collected rows before this place."""
        receiver = self._receiver
        assert receiver is not None
        if not self._collected.rows:
            return 0
        if self._kind.planned and self.state.planned is None:
            self._keep(msgspec.structs.replace(self.state, planned=place))
        name = step_name(self.state.steps + 1, self.state.place, place)
        left_out = receiver.left_out
        taken = self._collected.take()
        rows = rows_before(taken, place) if self._kind.planned else taken
        count = len(rows)
        receiver.take(rows, name)
        unreadable, self._expander.unreadable = self._expander.unreadable, 0
        self._keep(
            msgspec.structs.replace(
                self.state,
                place=place,
                planned=None,
                steps=self.state.steps + 1,
                rows=self.state.rows + count,
                unreadable=self.state.unreadable + unreadable,
                left_out=self.state.left_out + receiver.left_out - left_out,
                taken_unix_s=self._now(),
                failing="",
                failing_since_unix_s=0.0,
            )
        )
        self._tell_reader()
        return count

    def _keep(self, state: State) -> None:
        keep_state(self._storage, self._data, self.name, state)
        self.state = state

    def _tell_reader(self, *, at_once: bool = False) -> None:
        """That retention may take what the place covers."""
        now = self._now()
        due = at_once or not 0 <= now - self._told_reader_s < TELL_READER_S
        if due and self._reader.checkpoint != self._told_reader:
            self._reader.commit()
            self._told_reader_s, self._told_reader = now, self._reader.checkpoint


def reader_name(name: str) -> str:
    """By which the journal knows the sink."""
    return f"sink-{name}"


def step_name(number: int, place: Checkpoint, end: Checkpoint) -> str:
    """Of the step from one place to the other: another step has another name, also after the state was lost."""
    ends = sorted(place.next_sequence.items()), sorted(end.next_sequence.items())
    span = msgspec.json.encode((end.machine, *ends))
    return f"{number:010}-{hashlib.sha256(span).hexdigest()[:24]}"


def rows_before(columns: Any, place: Checkpoint) -> Any:
    """An Arrow batch of the rows before the place: a step that is made again ends where it ended the first time."""
    compute = arrow().compute
    batch = arrow().record_batch(columns)
    chosen = [
        compute.and_(
            compute.equal(batch.column("writer"), writer), compute.less(batch.column("sequence"), end)
        )
        for writer, end in place.next_sequence.items()
    ]
    return batch.filter(functools.reduce(compute.or_, chosen)) if chosen else batch


def check_apart(data: Path, file: Path) -> None:
    """Lines that are appended to a file of the server's own damage it. Raises SinkError."""
    place = file.parent.resolve() / file.name
    if data.resolve() in (*place.parents, *place.resolve().parents):
        raise SinkError(
            f"{file}: it lies in the data directory, whose files are the server's own; name another"
        )
