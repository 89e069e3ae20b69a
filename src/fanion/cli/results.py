"""`fanion results`: what the rows say of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from fanion.cli.common import NamedPath, configuration, data_option, print_table
from fanion.cli.text import echo
from fanion.plain_files import open_to_write

if TYPE_CHECKING:
    from fanion.results.report import Result


NAMED_MAX = 20


@click.command()
@data_option
@click.argument("experiment", required=False)
@click.option("--environment", metavar="ID", help="Of this environment only.")
@click.option(
    "--by", "attribute", metavar="ATTRIBUTE", help="Divide units by an attribute of their exposure."
)
@click.option("--complete", is_flag=True, help="Leave out units whose window is still open.")
@click.option("--daily", is_flag=True, help="Also as it was at the end of each day.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="[default: table]"
)
@click.option(
    "--plot", type=NamedPath(path_type=Path, dir_okay=False), help="Draw the days, as SVG, into this file."
)
def command(
    data: Path,
    experiment: str | None,
    environment: str | None,
    attribute: str | None,
    complete: bool,
    daily: bool,
    form: str,
    plot: Path | None,
) -> None:
    """Say whether EXPERIMENT's variants (every experiment's, when left out) made a difference.

    Experiments stand in the definitions, or are derived from features and policies of other systems' formats
    (without EXPERIMENT, those that somebody met); rows are made by `fanion pipeline`. A finding rests on an
    interval that is right however often it is looked at. Needs fanion[results]; docs/results.md explains every
    number.
    """
    from fanion.results.compute import Asked, choose, compute, read_plans

    config = configuration(data)
    asked = Asked(round(config.results.lead_s * 1e6), complete, attribute, daily or plot is not None)
    chosen = choose(read_plans(data, config.store.map_bytes), experiment, environment)
    every = experiment is None
    found = [
        one for name, plans in chosen.items() for one in compute(data, name, plans, asked, met_only=every)
    ]
    if plot is not None:
        from fanion.results.plot import svg

        with open_to_write(plot) as drawn:
            drawn.write(svg(found).encode())
    if form == "json":
        echo(msgspec.json.encode({"results": found}).decode())
    elif form == "csv":
        from fanion.results.shown import csv_text

        echo(csv_text(found).removesuffix("\n"))
    else:
        for result in found:
            _show(result, daily)
        shown = {(one.environment, one.experiment) for one in found}
        for name, plans in chosen.items():
            unmet = [plan.key for plan in plans if (name, plan.key) not in shown]
            if unmet:
                more = f", and {len(unmet) - NAMED_MAX} more" if len(unmet) > NAMED_MAX else ""
                echo(f"nobody met yet in {name}: {', '.join(unmet[:NAMED_MAX])}{more} (derived)")


def _show(result: Result, daily: bool) -> None:
    from fanion.results import shown

    numbers = ("units", "mean", "difference", "lift")
    print_table(shown.METRICS, shown.metric_rows(result), numbers=numbers, title=shown.title(result))
    if daily:
        print_table(shown.DAYS, shown.day_rows(result), numbers=numbers)
    for line in shown.remarks(result):
        echo(f"  {line}")
