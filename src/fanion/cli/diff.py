"""`fanion diff`: what a publication would change, flag by flag and unit by unit, before it is made
(docs/preview.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from fanion.cli.check import environment_option, load_or_exit
from fanion.cli.common import DATA, NamedPath, configuration, progress_bars
from fanion.cli.override import tell_in_force
from fanion.cli.text import echo

if TYPE_CHECKING:
    from fanion.app.preview import Who
    from fanion.config import Config
    from fanion.definitions import Loaded
    from fanion.preview.report import Preview

UNITS: Final = 1_000_000
UNITS_MAX: Final = 10_000_000


@click.command()
@click.argument("paths", nargs=-1, required=True, type=NamedPath(path_type=Path))
@click.option("--against", "data", required=True, **DATA)
@environment_option
@click.option(
    "--units",
    type=click.IntRange(1, UNITS_MAX),
    default=UNITS,
    show_default=True,
    help="How many units to ask for at most.",
)
@click.option(
    "--contexts",
    "file",
    type=NamedPath(exists=True, dir_okay=False, path_type=Path),
    help="Flat contexts, a JSON object a line (gzip too). Default: made up from what the rules look at.",
)
@click.option(
    "--recent", is_flag=True, help="The units that events named last, with the attributes that they carried."
)
@click.option(
    "--by", "attributes", multiple=True, help="Count by the values of this attribute, too. Repeatable."
)
@click.option("--seed", default=0, help="Other made-up units.")
@click.option("--rules/--no-rules", default=True, show_default=True, help="Show what changes in the rules.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    help="Exit 1 beyond it: unit-changes>1%, flags-lost>0, flags-redrawn>0, experiments-moved>0, keys-lost>0, "
    "shares-off>0.",
)
def command(
    paths: tuple[Path, ...],
    data: Path,
    environment: str | None,
    units: int,
    file: Path | None,
    recent: bool,
    attributes: tuple[str, ...],
    seed: int,
    rules: bool,
    form: str,
    limits: tuple[str, ...],
) -> None:
    """Show what publishing PATHS would change of what the data directory serves. Nothing is stored. Overrides are
    left out on both sides, and named: what they hide comes out when they end.

    \b
    fanion diff world.yaml --against ./data --by country
    fanion diff world.yaml --against ./data --contexts users.ndjson --fail-on 'unit-changes>1%'
    """
    from fanion import app
    from fanion.app.preview import preview
    from fanion.preview.report import beyond, read_limit

    asked = [read_limit(text) for text in limits]
    if file is not None and recent:
        raise click.UsageError("--contexts and --recent both say who is asked for; name one")
    config = configuration(data)
    overrides, weights = app.standing(data, config)
    loaded = load_or_exit(paths, environment, weights=weights)
    who = _who(data, file, recent, units, seed)
    with progress_bars() as progress:
        task = progress.add_task("units", total=units)
        found = preview(data, loaded, config, who, attributes, lambda count: progress.advance(task, count))
    if form == "json":
        echo(msgspec.json.encode({"environments": found}).decode())
    else:
        show(found, rules=rules)
    tell_in_force({name: overrides[name] for name in loaded.laid if name in overrides}, {})
    failed = [text for limit in asked if (text := beyond(found, limit))]
    for text in failed:
        echo(f"beyond {text}", err=True)
    if failed:
        sys.exit(1)


def show_and_ask(data: Path, loaded: Loaded, config: Config) -> None:
    """What publishing would change, and whether it shall be done; who says no ends the command."""
    from fanion.app.preview import preview

    with progress_bars() as progress:
        task = progress.add_task("units", total=UNITS)
        who = _who(data, None, False, UNITS, 0)
        found = preview(data, loaded, config, who, (), lambda count: progress.advance(task, count))
    show(found, rules=True)
    if not click.confirm("Publish this?", err=True):
        echo("nothing was stored", err=True)
        sys.exit(1)


def show(previews: Iterable[Preview], *, rules: bool) -> None:
    """For people; what is alarming in red on a terminal."""
    from fanion.preview.report import lines_of

    for one in previews:
        shown = (
            one if rules else msgspec.structs.replace(one, flags=[_without_rules(flag) for flag in one.flags])
        )
        for line in lines_of(shown):
            echo(line.text, red=line.alarm)


def _without_rules(flag: Any) -> Any:
    return msgspec.structs.replace(flag, difference=[])


def _who(data: Path, file: Path | None, recent: bool, units: int, seed: int) -> Who:
    from fanion.app.preview import Who
    from fanion.preview.contexts import read_contexts

    if file is not None:
        return Who(lambda _: read_contexts(file), f"contexts of {file}", units)
    if recent:
        from fanion.app.preview import recent_units

        return recent_units(data, units)
    return Who(None, "", units, seed)
