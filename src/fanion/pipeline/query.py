"""SQL over the rows that count, by DuckDB, which is imported when it is needed.

The view is `rows` (docs/rows.md). A query sees the files of the manifest as it was when it began.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from fanion.errors import RowsError
from fanion.journal.columns import Expander
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import File, load_manifest
from fanion.pipeline.pipeline import DIRECTORY, SPILLED

MEMORY: Final = "1750MB"
"""Of a query, so that its process takes 2 GB at most; beyond it DuckDB spills to a directory of the query's own,
beside the rows."""
SMALL_MEMORY: Final = "512MB"
SMALL_THREADS: Final = 2
"""Of a query in a process that has little memory and writes nothing."""

UNIT_KEY: Final = (
    "CASE WHEN unit IS NOT NULL THEN hash(CASE WHEN unit_hashed THEN unit ELSE sha256(unit) END) END"
)
EVENT_KEY: Final = "CASE WHEN event_id IS NOT NULL THEN hash(event_id) END"
"""Where files have none: other numbers, and so for all rows of the query."""


def duckdb() -> ModuleType:
    """RowsError where the extra isn't installed."""
    try:
        return import_module("duckdb")
    except ImportError as error:
        raise RowsError(f"SQL over rows needs duckdb ({error}); install fanion[results]") from None


def ask(directory: Path, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and rows of the answer. RowsError for a statement that DuckDB refuses or that is empty."""
    with open_rows(directory) as connection:
        answer = connection.execute(statement)
        if answer is None:  # blanks and comments
            raise RowsError("the statement asks for nothing")
        names = [column[0] for column in answer.description or ()]
        return names, answer.fetchall()


@contextmanager
def open_rows(
    directory: Path, chosen: Callable[[File], bool] = lambda _: True, *, small: bool = False
) -> Iterator[Any]:
    """A connection with the view `rows` over the files that are `chosen`. `small`: within `SMALL_MEMORY`, refused
    beyond it instead of spilled. RowsError for what DuckDB refuses."""
    engine = duckdb()
    rows = directory / DIRECTORY
    files = [file for file in load_manifest(Storage(), rows).files if chosen(file)]
    spilled = rows / f"{SPILLED}{os.getpid()}-{os.urandom(4).hex()}"  # made by DuckDB, when it needs it
    try:
        with engine.connect() as connection:
            connection.execute(f"SET memory_limit = '{SMALL_MEMORY if small else MEMORY}'")
            connection.execute("SET temp_directory = $1", ["" if small else str(spilled)])
            if small:
                connection.execute(f"SET threads = {SMALL_THREADS}")
            connection.execute("SET autoinstall_known_extensions = false")  # nothing is fetched from anywhere
            connection.execute("SET enable_progress_bar = false")  # it went to standard output
            none = connection.from_arrow(Expander({}).take())
            rows_of = none
            if files:
                names = [str(rows / file.name) for file in files]
                rows_of = _with_all(connection.read_parquet(names, union_by_name=True), none)
            if not all(file.keyed for file in files):
                rows_of = rows_of.project(f"* REPLACE ({UNIT_KEY} AS unit_key, {EVENT_KEY} AS event_key)")
            rows_of.create_view("rows")
            yield connection
    except engine.Error as error:
        if small and isinstance(error, engine.OutOfMemoryException):
            raise RowsError(
                f"the rows take more than {SMALL_MEMORY} of memory, the most allowed here"
            ) from None
        raise RowsError(str(error)) from None
    finally:
        shutil.rmtree(spilled, ignore_errors=True)


def _with_all(rows: Any, none: Any) -> Any:
    """With the columns that files of an older version don't have, as null."""
    missing = [
        f"NULL::{type} AS {name}"
        for name, type in zip(none.columns, none.types, strict=True)
        if name not in rows.columns
    ]
    return rows.project(", ".join(["*", *missing])) if missing else rows
