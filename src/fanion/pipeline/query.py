"""SQL over the rows that count, by DuckDB, which is imported when it is needed.

The view is `rows` (docs/rows.md). A query sees the files of the manifest as it was when it began.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from fanion.errors import RowsError
from fanion.journal.columns import Expander
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import load_manifest
from fanion.pipeline.parquet import arrow
from fanion.pipeline.pipeline import DIRECTORY

MEMORY: Final = "2GB"
"""Of a query; beyond it DuckDB spills to the rows' directory."""


def duckdb() -> ModuleType:
    """RowsError where the extra isn't installed."""
    try:
        return import_module("duckdb")
    except ImportError as error:
        raise RowsError(f"SQL over rows needs duckdb ({error}); install fanion[results]") from None


def ask(directory: Path, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and rows of the answer. RowsError for a statement that DuckDB refuses."""
    engine = duckdb()
    rows = directory / DIRECTORY
    files = [str(rows / file.name) for file in load_manifest(Storage(), rows).files]
    with engine.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        if files:
            connection.execute("SET temp_directory = $1", [str(rows / "query.tmp")])
            connection.read_parquet(files).create_view("rows")
        else:
            connection.register("rows", arrow().record_batch(Expander({}).take()))
        try:
            answer = connection.execute(statement)
            names = [column[0] for column in answer.description or ()]
            return names, answer.fetchall()
        except engine.Error as error:
            raise RowsError(str(error)) from None
