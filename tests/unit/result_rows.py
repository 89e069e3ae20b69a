"""Rows for tests of results: written as the pipeline writes them, Parquet files that a manifest names."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow

from fanion.journal.columns import Expander
from fanion.journal.rows import hash_64, unit_key
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import Manifest, commit_manifest
from fanion.pipeline.parquet import Writer
from fanion.pipeline.pipeline import DIRECTORY

Row = dict[str, Any]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
PLAIN: Row = {
    "machine": "0" * 32,
    "writer": 1,
    "epoch": 1,
    "index": 0,
    "part": 0,
    "time_from": "sent",
    "environment": "env_e",
    "dialect": "test",
    "disposition": "kept",
    "counts": True,
    "unit_hashed": False,
}


def write_rows(directory: Path, rows: Iterable[Row], *, keyed: bool = True) -> None:
    """Times are microseconds; members that a row leaves out are those of `PLAIN`, or null. `keyed`: not as versions
    wrote them that knew no keys."""
    whole = []
    for sequence, row in enumerate(rows, 1):
        made = PLAIN | {"sequence": sequence, "received_at": row["event_at"]} | row
        if made.get("unit") is not None:
            made["unit_key"] = unit_key(made["unit"], hashed=made["unit_hashed"])
        if made.get("event_id") is not None:
            made["event_key"] = hash_64(made["event_id"])
        for name in ("received_at", "event_at"):
            made[name] = EPOCH + datetime.timedelta(microseconds=made[name])
        whole.append(made)
    schema = pyarrow.record_batch(Expander({}).take()).schema
    (batch,) = pyarrow.Table.from_pylist(whole, schema=schema).combine_chunks().to_batches()
    if not keyed:
        batch = batch.select([name for name in batch.schema.names if not name.endswith("_key")])
    folder = directory / DIRECTORY
    folder.mkdir(parents=True, exist_ok=True)
    files = Writer(Storage(), folder).write([batch], "0000000001")
    commit_manifest(Storage(), folder, Manifest(step=1, files=files))
