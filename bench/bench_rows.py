"""Rows of a journal with events of all APIs: as columns, and one by one, in the small.

A regression of the columns is paid by the pipeline for every event that was ever taken; `python -m bench.rows` is
the same at length, with Parquet and memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.rows import PLAIN_SHARE, columns, fill, plain

EVENTS = 30_000


def test_columns(benchmark: Any, tmp_path: Path) -> None:
    fill(tmp_path, EVENTS)
    assert benchmark(lambda: columns(tmp_path)) == EVENTS


def test_plain_rows(benchmark: Any, tmp_path: Path) -> None:
    fill(tmp_path, EVENTS)
    assert benchmark(lambda: plain(tmp_path)) == EVENTS // PLAIN_SHARE
