"""`fanion check`: validate definitions without storing anything."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fanion.definitions import Loaded, load
from fanion.errors import DefinitionError


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Check definition files and directories. Prints every problem with its file and path, and exits 1 if
    there is one; warnings alone don't."""
    try:
        loaded = load(paths)
    except DefinitionError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        count = len(error.problems)
        click.echo(f"{count} problem{'s' if count != 1 else ''}", err=True)
        sys.exit(1)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in summary(loaded):
        click.echo(line)


def summary(loaded: Loaded) -> list[str]:
    """What a publication holds, a line for each environment."""
    lines = []
    for lowered in loaded.environments:
        groups = len({(parameter.source, parameter.group) for parameter in lowered.parameters})
        keys = sum(key.record.environment == lowered.environment for key in loaded.keys)
        lines.append(
            f"{lowered.environment}: {_count(groups, 'flag')}, {_count(len(lowered.parameters), 'value')}, "
            f"{_count(keys, 'key')}"
        )
    return [*lines, f"{_count(len(lines), 'environment')}, {_count(len(loaded.warnings), 'warning')}"]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
