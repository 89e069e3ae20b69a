"""`fanion pipeline`: the journal's events as rows in Parquet files, once or as long as it runs."""

from __future__ import annotations

from pathlib import Path

import click

from fanion.cli.common import configuration, data_option
from fanion.cli.text import echo


@click.command()
@data_option
@click.option("--once", is_flag=True, help="End when all that is there now has been read.")
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    help="Remove rows that were received before so many days; 0: keep all [default: pipeline.keep_days].",
)
def command(data: Path, once: bool, keep_days: int | None) -> None:
    """Make rows (docs/rows.md) of the journal's events, in DATA/rows, until SIGTERM or Ctrl-C.

    A server does the same beside its workers where the setting pipeline.enabled says so; this may run beside a
    server that doesn't. Each event is there once, whatever is killed when. Needs fanion[results].

    From the first run on the journal keeps what was not read, as long as the disk has room: remove
    DATA/journal/readers/rows.json when rows are not to be made any more.
    """
    from fanion.app import make_pipeline
    from fanion.pipeline.pace import BYTES_PER_S, Pace, give_way
    from fanion.pipeline.service import Ending, follow

    def tell(problems: list[str]) -> None:
        for problem in problems:
            echo(f"fanion: {problem}", err=True)

    ending = Ending()
    config = configuration(data, flags={"pipeline.keep_days": keep_days})
    if not once:
        give_way()
    with make_pipeline(data, config, Pace(0 if once else BYTES_PER_S)) as pipeline:
        if once:
            pipeline.run_once(ending)
            tell(pipeline.take_problems())
        else:
            follow(pipeline, ending, tell)
        manifest = pipeline.manifest
        echo(f"{manifest.rows:,} rows in {len(manifest.files):,} files")
