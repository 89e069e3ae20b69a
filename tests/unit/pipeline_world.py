"""A journal that grows, the pipeline over it and the rows of its files; storage that ends the process at a call."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion._core import journal_format
from fanion.dialects import canonical_forms
from fanion.journal.log_segment import KIND_EVENTS, PAGE, SegmentHeader
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.pipeline.pipeline import Pipeline
from tests.property.test_row_columns import payload_of

pyarrow = pytest.importorskip("pyarrow")

SALT = 0x1111111122223333
MACHINE = bytes(range(16))
DAY_NS = 86_400_000_000_000
START_NS = 20_000 * DAY_NS
SETTINGS = JournalSettings(clock_trust_hours=0.0)
Durable = tuple[bytes, int]


class Journal:
    """A journal of one segment that grows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "journal").mkdir(parents=True)
        self._path = directory / "journal" / "000-1.log"
        header = SegmentHeader(MACHINE, SALT, 1, 1, 1, 1, 0, 0)
        self._path.write_bytes(header.page() + bytes(PAGE))
        self.sequence = 0

    def append(self, environment: str = "prod", day: int = 0, events: int = 2) -> None:
        sent = [{"flagKey": f"f{n}", "ruleId": str(self.sequence + 1)} for n in range(events)]
        self.append_events(sent, environment, day)

    def append_events(self, sent: list[dict[str, str]], environment: str = "prod", day: int = 0) -> None:
        self.sequence += 1
        payload = payload_of("feather", json.dumps(sent).encode(), b"", False)
        payload = payload[:2] + len(environment.encode()).to_bytes(2, "little") + payload[4:]
        payload = payload.replace(b"prod", environment.encode(), 1)
        record = journal_format.make_record(
            payload, KIND_EVENTS, self.sequence, START_NS + day * DAY_NS + self.sequence, SALT
        )
        with self._path.open("ab") as file:
            file.write(record)

    def durable(self) -> Durable:
        """What a power cut would leave, were nothing synced from here on."""
        return self._path.read_bytes(), self.sequence

    def cut_to(self, left: Durable) -> None:
        whole, self.sequence = left
        self._path.write_bytes(whole)

    def rows(self) -> list[tuple[Any, ...]]:
        """What the plain expansion makes of all of it."""
        return [
            msgspec.structs.astuple(row)
            for record in JournalReader(self.directory).read()
            for row in expand_rows(record, MACHINE.hex(), canonical_forms())
        ]


def pipeline(directory: Path, **members: Any) -> Pipeline:
    given = {"map_bytes": 1 << 20, "settings": SETTINGS, "step_rows": 20, **members}
    return Pipeline(directory, canonical_forms(), **given)


def kept(made: Pipeline, directory: Path) -> list[tuple[Any, ...]]:
    """The rows of the files that count, by identity."""
    times = ("received_at", "event_at", "sent_at")
    rows = []
    for file in made.manifest.files:
        table = pyarrow.parquet.read_table(directory / "rows" / file.name)
        assert table.num_rows == file.rows
        for name in times:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(name).cast("int64"))
        found = [tuple(row.values()) for row in table.to_pylist()]
        assert {row[10] for row in found} == {file.environment}
        assert {row[6] // 86_400_000_000 for row in found} == {file.day}
        rows += found
    return sorted(rows, key=lambda row: row[:6])


class Killed(BaseException):
    """The process ends here."""


def bury() -> None:
    """Lets what a killed step left half done end here: a Parquet writer that is collected while Python compiles
    something has the compiler lose count of its depth (gh-106905, CPython 3.11)."""
    gc.collect()


class Dying(Storage):
    """Ends at the nth call that changes something, before or after it was done."""

    def __init__(self, calls: int, after: bool) -> None:
        self._left = calls
        self._after = after

    def _change(self, name: str, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        try:
            return getattr(super(), name)(*arguments)
        finally:
            if self._left == 0:
                raise Killed

    def pwrite(self, *arguments: Any) -> int:
        return self._change("pwrite", *arguments)

    def rename(self, *arguments: Any) -> None:
        self._change("rename", *arguments)

    def unlink(self, *arguments: Any) -> None:
        self._change("unlink", *arguments)

    def fdatasync(self, *arguments: Any) -> None:
        self._change("fdatasync", *arguments)

    def sync_directory(self, *arguments: Any) -> None:
        self._change("sync_directory", *arguments)
