"""`fanion pipeline`: the journal's events as rows in Parquet files, once or as long as it runs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from fanion.cli.common import configuration, data_option
from fanion.dialects import canonical_forms
from fanion.journal.settings import JournalSettings

PAUSE_S = 2.0
"""Between two runs that had less than a step to read: each is synced, and makes a file for each environment."""


@click.command()
@data_option
@click.option("--once", is_flag=True, help="End when all that is there now has been read.")
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=0,
    help="Remove rows that were received before so many days; 0: keep all [default: 0].",
)
def command(data: Path, once: bool, keep_days: int) -> None:
    """Make rows (docs/rows.md) of the journal's events, in DATA/rows, until SIGTERM or Ctrl-C.

    May run beside a server. Each event is there once, whatever is killed when. Needs fanion[results].

    From the first run on the journal keeps what this command has not read: remove DATA/journal/readers/rows.json
    when it is not to run any more.
    """
    from fanion.pipeline.pipeline import STEP_ROWS, Pipeline

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    config = configuration(data)
    settings = JournalSettings.taken_from(config.journal)
    with Pipeline(
        data,
        canonical_forms(),
        map_bytes=config.store.map_bytes,
        settings=settings,
        keep_days=keep_days,
    ) as pipeline:
        while True:
            rows = pipeline.run_once(ending.is_set)
            for problem in pipeline.take_problems():
                click.echo(f"fanion: {problem}", err=True)
            if once or ending.wait(0 if rows >= STEP_ROWS else PAUSE_S):
                break
        manifest = pipeline.manifest
        click.echo(f"{manifest.rows:,} rows in {len(manifest.files):,} files")
