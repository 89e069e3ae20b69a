"""Columns leave by the Arrow C data interface: pyarrow reads what the rows say, polars and DuckDB too."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime

import pytest

from fanion._core.columns import Columns
from fanion.dialects import canonical_forms
from fanion.journal.columns import Expander
from fanion.journal.rows import Row
from tests.property.test_row_columns import batch_of, payload_of

BODY = (
    b'[{"flagKey":"checkout","value":true,"userIdHash":"aa","evaluatedAt":"2026-01-01T00:00:00.5Z","reason":"ROLLOUT"},'
    b'{"flagKey":"\xc3\xa9","value":2.5},{"value":"a\\"b"},{}]'
)


def columns(payloads: int = 1) -> Columns:
    expander = Expander(canonical_forms())
    expander.add(batch_of([payload_of("feather", BODY, b"\0\1\2\0", False)] * payloads))
    return expander.take()


def plain(value: object) -> object:
    """A time as its microseconds."""
    if isinstance(value, datetime):
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    return value


def test_pyarrow_reads_the_rows() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    made = columns(500)
    for batch in (
        pyarrow.record_batch(made),
        pyarrow.RecordBatchReader.from_stream(made).read_all(),
        pyarrow.RecordBatchReader.from_stream(made).read_next_batch(),
    ):
        batch.validate(full=True)
        assert batch.schema.names == list(Row.__struct_fields__)
        found = [tuple(map(plain, row.values())) for row in batch.to_pylist()]
        assert found == made.tuples()


def test_no_rows_are_an_array_too() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    batch = pyarrow.record_batch(Expander(canonical_forms()).take())
    batch.validate(full=True)
    assert batch.num_rows == 0


def test_an_array_outlives_the_columns_and_lets_go_of_them() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    made = columns()
    before = sys.getrefcount(made)
    batch = pyarrow.record_batch(made)
    column = batch.column("flag")
    stream = pyarrow.RecordBatchReader.from_stream(made)
    assert sys.getrefcount(made) > before
    del batch, stream
    gc.collect()
    assert column.to_pylist() == ["checkout", "é", None, None]
    del column
    gc.collect()
    assert sys.getrefcount(made) == before


def test_capsules_that_nobody_takes_let_go_too() -> None:
    made = columns()
    before = sys.getrefcount(made)
    for _ in range(3):
        made.__arrow_c_array__()
        made.__arrow_c_stream__()
        made.__arrow_c_schema__()
    assert sys.getrefcount(made) == before


def test_polars_and_duckdb_take_columns() -> None:
    made = columns(3)
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(made)["flag"].to_list() == ["checkout", "é", None, None] * 3
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql("SELECT count(*), count(flag), sum(value) FROM made").fetchall() == [(12, 6, 10.5)]
