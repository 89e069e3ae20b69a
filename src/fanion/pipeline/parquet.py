"""Columns to Parquet files and small files to larger ones, by pyarrow, which is imported when it is needed.

A file holds rows of one environment and day of receipt. It is synced when it is handed back; that it counts is the
manifest's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from msgspec.structs import replace

from fanion._core.columns import Columns
from fanion.errors import RowsError
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import File
from fanion.pipeline.pace import Pace, PacedFile

DAY_US: Final = 86_400_000_000
ROW_GROUP_ROWS: Final = 131_072
"""Small enough that a merge holds little, large enough for a reader's columns to be long."""
LEVEL: Final = 1
"""zstd's: higher ones gain a few per cent of the size and cost a third of the rows a second."""
PLAIN_COLUMNS: Final = (
    "event_id",
    "unit",
    "value",
    "value_text",
    "sequence",
    "index",
    "received_at",
    "event_at",
    "sent_at",
    "unit_key",
    "event_key",
)
"""Those without a dictionary: nearly every value is another."""
BATCH_VALUES: Final = 16_384
"""Values that Arrow encodes at a time; with its 1,024 each column costs a sixth more."""
EVENTS: Final = "metric"
"""The kind whose rows have row groups of their own: who asks for exposures passes over those, and the other way."""
APART_MIN: Final = 16_384
"""Rows of a file from which on they have."""
DIFFERENCES: Final = ("sequence", "received_at", "event_at", "sent_at")
"""Written as differences to the value before, which takes a reader a third of the time that zstd over them does."""
RAW: Final = (
    "unit_key",
    "event_key",
    "machine",
    "writer",
    "epoch",
    "part",
    "time_from",
    "environment",
    "dialect",
    "kind",
    "disposition",
    "generation",
)
"""Not compressed: keys, of which nothing is won, and what the server has few values for, which is short as runs of
numbers in a dictionary. Each page that is compressed costs some microseconds, whatever is in it."""


def arrow() -> ModuleType:
    """RowsError where the extra isn't installed."""
    try:
        for name in ("pyarrow.compute", "pyarrow.parquet"):
            import_module(name)
        return import_module("pyarrow")
    except ImportError as error:
        raise RowsError(f"rows need pyarrow ({error}); install fanion[results]") from None


class Writer:
    """Writes files of the rows' directory."""

    def __init__(self, storage: Storage, directory: Path, pace: Pace | None = None) -> None:
        self._storage = storage
        self._directory = directory
        self._pace = pace or Pace()
        self._arrow = arrow()

    def write(self, parts: Sequence[Columns], prefix: str) -> list[File]:
        """The rows as one file for each environment and day. `parts`: as `journal.columns.Expander` collects events
        (`EVENTS`) apart, or all together."""
        found: dict[tuple[str, int], list[Any]] = {}
        for columns in parts:
            for environment, day, part in parts_of(self._arrow.record_batch(columns)):
                found.setdefault((environment, day), []).append(part)
        files: list[File] = []
        for (environment, day), batches in found.items():
            if len(batches) > 1 and sum(batch.num_rows for batch in batches) < APART_MIN:
                batches = [self._arrow.concat_batches(batches)]
            schema = batches[0].schema
            name = f"{prefix}-{len(files)}.parquet"
            whole = File(name, environment, day, 0, 0, keyed="unit_key" in schema.names)
            files.append(self.write_batches(whole, iter(batches), schema))
        return files

    def merge(self, files: Sequence[File], name: str) -> File:
        """Files of one environment and day as one; a row group of each is in memory at a time. Columns that a file
        of an older version doesn't have are null of its rows."""
        schemas = []
        for file in files:
            with self._arrow.parquet.ParquetFile(self._directory / file.name) as source:
                schemas.append(source.schema_arrow)
        schema = self._arrow.unify_schemas(schemas)

        def batches() -> Iterator[Any]:
            for file in files:
                with self._arrow.parquet.ParquetFile(self._directory / file.name) as source:
                    for batch in source.iter_batches(ROW_GROUP_ROWS, use_threads=False):
                        self._pace.turn()
                        yield self._widened(batch, schema)

        whole = replace(files[0], name=name, keyed=all(file.keyed for file in files))
        return self.write_batches(whole, batches(), schema)

    def _widened(self, batch: Any, schema: Any) -> Any:
        held = set(batch.schema.names)
        columns = [
            batch.column(field.name) if field.name in held else self._arrow.nulls(batch.num_rows, field.type)
            for field in schema
        ]
        return self._arrow.record_batch(columns, schema=schema)

    def write_batches(self, whole: File, batches: Iterator[Any], schema: Any) -> File:
        """Rows of one environment and day as one file. `whole`: what it is, but for its numbers."""
        path = self._directory / whole.name
        draft = path.with_name(f"{whole.name}.tmp")
        rows = 0
        with PacedFile(self._storage, draft, self._pace) as file:
            with open_writer(self._arrow.PythonFile(file, mode="w"), schema, own=True) as writer:
                for batch in batches:
                    for part in _apart(batch):
                        writer.write_batch(part, row_group_size=ROW_GROUP_ROWS)
                    rows += batch.num_rows
            file.sync()
            size = file.size
        self._storage.rename(draft, path)
        return replace(whole, rows=rows, bytes=size)


def parts_of(batch: Any) -> Iterator[tuple[str, int, Any]]:
    """(environment, day of receipt, rows) of an Arrow batch of rows."""
    compute = arrow().compute
    micros = batch.column("received_at").cast(arrow().int64())
    environments = batch.column("environment")
    first, last = (compute.divide(one, DAY_US) for one in compute.min_max(micros).values())
    if batch.num_rows and first == last and len(environments.dictionary) == 1:
        yield environments.dictionary[0].as_py(), first.as_py(), batch
        return
    days = compute.divide(micros, DAY_US)
    for environment in compute.unique(environments.dictionary_decode()).to_pylist():
        own = compute.equal(environments, environment)
        for day in compute.unique(days.filter(own)).to_pylist():
            chosen = compute.and_(own, compute.equal(days, day))
            yield environment, day, batch if compute.all(chosen).as_py() else batch.filter(chosen)


def _apart(batch: Any) -> Iterator[Any]:
    """The events of a batch, then its other rows."""
    compute = arrow().compute
    own = compute.equal(batch.column("kind"), EVENTS)
    if batch.num_rows < APART_MIN or compute.all(own).as_py() or not compute.any(own).as_py():
        yield batch
        return
    yield batch.filter(own)
    yield batch.filter(compute.invert(own))


def open_writer(file: Any, schema: Any, *, own: bool = False) -> Any:
    """A Parquet writer of rows. `own`: with an encoding that readers of old (Spark before 3.3) don't take.

    Only whole numbers, times and the kind have statistics: those of texts are dear, and let a reader skip nothing,
    since files and their row groups hold all else of an environment's day mixed.
    """
    types = arrow().types
    plain = {*PLAIN_COLUMNS, *DIFFERENCES}
    compressed = [name for name in schema.names if name not in RAW]
    return arrow().parquet.ParquetWriter(
        file,
        schema,
        compression={name: "zstd" if name in compressed else "none" for name in schema.names},
        compression_level=dict.fromkeys(compressed, LEVEL),
        use_dictionary=[field.name for field in schema if field.name not in plain],
        column_encoding=dict.fromkeys(DIFFERENCES, "DELTA_BINARY_PACKED") if own else None,
        write_statistics=[
            field.name
            for field in schema
            if types.is_integer(field.type) or types.is_timestamp(field.type) or field.name == "kind"
        ],
        write_batch_size=BATCH_VALUES,
    )
