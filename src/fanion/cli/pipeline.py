"""`fanion pipeline`: the journal's events as rows in Parquet files, or many machines', once or for good."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fanion.cli.common import configuration, data_option
from fanion.cli.text import echo
from fanion.config import Config
from fanion.errors import ShippingError
from fanion.model.text import counted

if TYPE_CHECKING:
    from fanion.pipeline.manifest import Manifest
    from fanion.pipeline.service import Ending


@click.command()
@data_option
@click.option(
    "--from",
    "url",
    metavar="URL",
    help="Of what all machines ship to this stream (docs/machines.md), and not of DATA's own journal "
    "[default: pipeline.url].",
)
@click.option("--once", is_flag=True, help="End when all that is there now has been read.")
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    help="Remove rows that were received before so many days; 0: keep all [default: pipeline.keep_days].",
)
@click.option(
    "--operations-port",
    "port",
    type=click.IntRange(min=0, max=65_535),
    help="With --from, answer /healthz, /readyz and /metrics on this port of server.operations_host; 0: any.",
)
def command(data: Path, url: str | None, once: bool, keep_days: int | None, port: int | None) -> None:
    """Make rows (docs/rows.md) of the journal's events, in DATA/rows, until SIGTERM or Ctrl-C.

    A server does the same beside its workers where the setting pipeline.enabled says so; this may run beside a
    server that doesn't. Each event is there once, whatever is killed when. What killed workers left is written to
    the journal's segments and synced first, where no other worker did. Needs fanion[results].

    From the first run on the journal keeps what was not read, as long as the disk has room: remove
    DATA/journal/readers/rows.json when rows are not to be made any more. With --from, DATA needs a store: the
    definitions that the machines serve.
    """
    from fanion.app import draining, make_pipeline
    from fanion.pipeline.pace import BYTES_PER_S, Pace, give_way
    from fanion.pipeline.service import Ending, follow

    config = configuration(data, flags={"pipeline.keep_days": keep_days})
    ending = Ending()
    url = config.pipeline.url if url is None else url
    if port is not None and (once or not url):
        raise click.UsageError("--operations-port is for rows of a stream (--from) that are made on and on")
    if url:
        _make_from(url, data, config, ending, once, port)
        return
    if not once:
        give_way()
    pace, drain = Pace(0 if once else BYTES_PER_S), draining(data, config)
    with make_pipeline(data, config, pace, drain=drain) as pipeline:
        if once:
            pipeline.run_once(ending)
            _tell(pipeline.take_problems())
        else:
            echo("making rows until Ctrl-C; --once ends when all that is there has been read", err=True)
            follow(pipeline, ending, _tell)
        echo(_made(pipeline.manifest))


def _make_from(url: str, data: Path, config: Config, ending: Ending, once: bool, port: int | None) -> None:
    from logging.config import dictConfig

    from fanion.app import make_rows_of
    from fanion.app.rows import make_alone
    from fanion.journal.storage import Storage
    from fanion.nats.address import ALLOWED, parse_address
    from fanion.pipeline.manifest import load_manifest
    from fanion.pipeline.pace import Pace
    from fanion.pipeline.pipeline import DIRECTORY
    from fanion.shipping import missing_library
    from fanion.shipping.taken import Taken
    from fanion.telemetry.logs import logging_config

    if parse_address(url) is None:
        raise click.UsageError(f"--from names no stream; allowed: {ALLOWED}")
    if missing := missing_library():
        raise click.UsageError(f"{missing} is not installed; pip install 'fanion[machines]'")
    if once:
        with make_rows_of(url, data, config, Pace()) as pipeline:
            try:
                pipeline.run_once(ending)
            finally:
                _tell(pipeline.take_problems())
    else:
        dictConfig(logging_config(config.log.level))  # as the server's, or what fails has no reason
        with contextlib.suppress(ShippingError):  # which is tried again; what else is wrong here stays so
            make_rows_of(url, data, config, Pace()).close()
        make_alone(url, data, config, ending, port)
    manifest = load_manifest(Storage(), data / DIRECTORY)
    told = _made(manifest)
    if manifest.stream is not None and (missed := Taken(manifest.stream.taken).missing()):
        told += f"; {missed:,} requests between those that came have not come"
    echo(told)


def _made(manifest: Manifest) -> str:
    return f"{counted(manifest.rows, 'row')} in {counted(len(manifest.files), 'file')}"


def _tell(problems: list[str]) -> None:
    for problem in problems:
        echo(f"fanion: {problem}", err=True)
