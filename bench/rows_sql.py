"""`python -m bench.rows_sql`: SQL over many rows by `fanion sql`: time and memory, of the process that answers.

Rows are made directly as Parquet, by the pipeline's own writer: those of a small journal of all APIs, again and
again, moved through the days and with units of their own. Two questions: how many a day, which only counts, and the
first event of each unit, whose table is larger than the memory that a query may take, so that it spills. Goal: 2 GB
at most over 100 M rows. A regression of the first is paid by every look at the rows, of the second by every
experiment's results.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import say
from bench.rows import fill
from fanion.dialects import canonical_forms
from fanion.journal.columns import Expander
from fanion.journal.reader import JournalReader
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import File, Manifest, commit_manifest
from fanion.pipeline.parquet import DAY_US, Writer, arrow
from fanion.pipeline.pipeline import DIRECTORY

FILE_ROWS = 1_000_000
FIRST_DAY = 20_000
QUESTIONS = {
    "a day": "SELECT received_at::DATE AS day, count(*) AS n FROM rows WHERE counts GROUP BY day ORDER BY day",
    "first of a unit": "SELECT count(*) AS n FROM (SELECT unit_kind, unit, min(event_at) FROM rows GROUP BY ALL)",
}


def sample(directory: Path) -> Any:
    """A file's rows, as a table of Arrow's."""
    fill(directory, FILE_ROWS)
    expander = Expander(canonical_forms())
    for batch in JournalReader(directory).read_batches():
        expander.add(batch)
    return arrow().record_batch(expander.take())


def moved(batch: Any, day: int, number: int) -> Any:
    """These rows on another day, spread over it, with units and ids of their own."""
    library = arrow()
    compute = library.compute
    rows = batch.num_rows
    micros = library.array(range(day * DAY_US, (day + 1) * DAY_US, DAY_US // rows)[:rows], library.int64())
    for name in ("received_at", "event_at"):
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, batch.schema.field(at), micros.cast(batch.schema.field(at).type))
    numbers = library.array(range(number * rows, (number + 1) * rows), library.int64()).cast(library.string())
    for name in ("unit", "event_id"):
        at = batch.schema.get_field_index(name)
        own = compute.binary_join_element_wise(batch.column(at), numbers, "-")
        batch = batch.set_column(at, batch.schema.field(at), own.cast(batch.schema.field(at).type))
    return batch


def make(directory: Path, rows: int, days: int) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as name:
        batch = sample(Path(name))
    target = directory / DIRECTORY
    target.mkdir()
    writer, files = Writer(Storage(), target), list[File]()
    for number in range(rows // FILE_ROWS):
        part = moved(batch, FIRST_DAY + number * days // (rows // FILE_ROWS), number)
        files += writer.write([part], f"{number:010}")
        print(f"\r{sum(file.rows for file in files):,} rows", end="", file=sys.stderr)
    commit_manifest(Storage(), target, Manifest(step=1, files=files))
    size = sum(file.bytes for file in files)
    print(f"{sum(file.rows for file in files):,} rows in {len(files)} files, {size / 1e9:.2f} GB", flush=True)


def question(directory: Path, name: str) -> None:
    """In a process of its own, so that its memory is its own."""
    script = (
        "import resource, runpy, sys\n"
        "sys.argv = ['fanion', 'sql', '--json', '--data', sys.argv[1], sys.argv[2]]\n"
        "try:\n    runpy.run_module('fanion', run_name='__main__')\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", script, str(directory), QUESTIONS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer = done.stdout.strip().splitlines()
    peak = int(done.stderr.split()[-1]) / 1024
    say(f"sql/{name}/time", took, "s")
    say(f"sql/{name}/memory", peak, "MB")
    print(
        f"{name:16}{took:7.1f} s {cpu:7.1f} s of CPU {peak:7.0f} MB  {len(answer)} rows, the last {answer[-1]}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000, help="millions")
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--directory", type=Path, help="parent of the temporary directory; 5 GB a 100 M rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        make(Path(name), given.rows, given.days)
        for each in QUESTIONS:
            question(Path(name), each)


if __name__ == "__main__":
    main()
