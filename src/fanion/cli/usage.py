"""`fanion usage`: how often flags were asked for, by variant and reason, over time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import msgspec

from fanion.cli.common import data_option, print_table
from fanion.cli.text import echo

COLUMNS = ("environment", "flag", "period", "kind", "variant", "reason", "events", "units")


@click.command()
@data_option
@click.argument("flag", required=False)
@click.option("--environment", metavar="ID", help="Of this environment only.")
@click.option("--by", type=click.Choice(["day", "hour"]), default="day", help="[default: day]")
@click.option(
    "--days",
    type=click.IntRange(1, 400),
    default=30,
    help="How many days, to that of the newest event.  [default: 30]",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="[default: table]"
)
def command(
    data: Path, flag: str | None, environment: str | None, by: Literal["day", "hour"], days: int, form: str
) -> None:
    """Count what was asked of FLAG (of every flag, when left out) by variant and reason, over time.

    From the rows that `fanion pipeline` made: evaluations, exposures and decisions that SDKs sent, and exposures
    that the server recorded. Needs fanion[results]; docs/results.md says what is counted.
    """
    from fanion.results.usage import COUNTS_MAX, csv_text, usage

    found = usage(data, environment=environment, flag=flag, by=by, days=days)
    if len(found) == COUNTS_MAX:
        echo(f"only the first {COUNTS_MAX:,} counts are shown; ask for one flag, or fewer days", err=True)
    if form == "json":
        echo(msgspec.json.encode({"usage": found}).decode())
    elif form == "csv":
        echo(csv_text(found).removesuffix("\n"))
    else:
        rows = [
            [
                *(one.environment, one.flag, one.period[: 10 if by == "day" else 16], one.kind),
                *(one.variant or "", one.reason or "", f"{one.events:,}", f"{one.units:,}"),
            ]
            for one in found
        ]
        print_table(COLUMNS, rows, numbers=("events", "units"))
