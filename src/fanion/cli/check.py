"""`fanion check`: validate definitions without storing anything."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from fanion.cli.common import DATA, NamedPath, configuration, open_store
from fanion.cli.text import echo
from fanion.definitions import Loaded, load
from fanion.definitions.reading.members import survey
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError, Problem
from fanion.model.override import Override
from fanion.model.text import counted
from fanion.model.weights import Applied

SHOWN_MAX: Final = 3
"""Warnings of a kind."""
NAMED: Final = re.compile(r"'[^']*'|\b\d[\d.,]*")

environment_option = click.option(
    "--environment",
    metavar="ENV",
    help="Where files belong that don't say their environment, as those of other systems.",
)


verbose_option = click.option(
    "--verbose", is_flag=True, help="Every warning; else three of each kind, and how many more there are."
)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=NamedPath(path_type=Path))
@environment_option
@click.option(
    "--against",
    "data",
    metavar="DIRECTORY",
    type=DATA["type"],
    help="A data directory: say what publishing there would say, too.",
)
@verbose_option
def command(paths: tuple[Path, ...], environment: str | None, data: Path | None, verbose: bool) -> None:
    """Check definition files and directories. Prints every problem with its file and path, and exits 1 if
    there is one; warnings alone don't.

    With --against also the overrides that are in force there, and what publishing would take away of what is
    served: exits 1 where that would need --yes. Nothing is stored; `fanion diff` shows who would notice."""
    if data is not None:
        _check_against(data, paths, environment, verbose=verbose)
        return
    loaded = load_or_exit(paths, environment, verbose=verbose)
    for line in summary(loaded):
        echo(line)


def _check_against(data: Path, paths: Sequence[Path], environment: str | None, *, verbose: bool) -> None:
    from fanion import app
    from fanion.app.compiling import compile_environment, renderers
    from fanion.cli.changes import Review
    from fanion.cli.override import tell_in_force

    config = configuration(data)
    with open_store(data):
        pass  # it is there
    overrides, weights = app.standing(data, config)
    loaded = load_or_exit(paths, environment, "", overrides, weights, verbose=verbose)
    for line in summary(loaded):
        echo(line)
    tell_in_force({name: overrides[name] for name in loaded.laid if name in overrides}, loaded.unmet)
    compilers = renderers()
    bundles = {one.environment: compile_environment(one, compilers) for one in loaded.environments}
    Review(data, paths, loaded, config, confirmed=False)(bundles)


def load_or_exit(
    paths: Sequence[Path],
    environment: str | None,
    consequence: str = "",
    overrides: Mapping[str, Sequence[Override]] | None = None,
    weights: Mapping[str, Applied] | None = None,
    *,
    verbose: bool = False,
) -> Loaded:
    """The definitions, with their warnings printed, `verbose`ly all of them; prints every problem and
    ends the command when there is one."""
    try:
        loaded = load(paths, vocabulary(), environment=environment, overrides=overrides, weights=weights)
    except DefinitionError as error:
        for problem in error.problems:
            echo(str(problem), err=True)
        legend = ", each with what was found; and what is allowed"
        echo(counted(len(error.problems), "problem") + legend + consequence, err=True)
        sys.exit(1)
    for line in warnings_of(loaded, verbose=verbose):
        echo(f"warning: {line}", err=True)
    for entry in loaded.lists:
        warn_of_cut(entry.file)
    return loaded


def warnings_of(loaded: Loaded, *, verbose: bool) -> Iterator[str]:
    """In their order; of each kind, which is what a warning means, `SHOWN_MAX` and how many more there are."""
    kinds = Counter(_kind(warning) for warning in loaded.warnings)
    shown: Counter[str] = Counter()
    for warning in loaded.warnings:
        kind = _kind(warning)
        shown[kind] += 1
        if verbose or shown[kind] <= SHOWN_MAX:
            yield str(warning)
        elif shown[kind] == kinds[kind]:
            yield f"{kinds[kind] - SHOWN_MAX:,} more like it: {warning.allowed} (--verbose shows all)"


def _kind(warning: Problem) -> str:
    """What it means, whatever name or number it means it of."""
    return NAMED.sub("…", warning.allowed)


def warn_of_cut(file: str | None) -> None:
    """Names a file of members whose last line has no end while all others have one. Raises DefinitionError."""
    if file is not None and not survey(Path(file)).whole:
        echo(f"warning: {file}: the last line has no line end; was the file cut off?", err=True)


def counts(loaded: Loaded) -> Iterator[tuple[str, int, int, int]]:
    """(environment, flags, values, keys) of each environment."""
    keys = Counter(key.record.environment for key in loaded.keys)
    for lowered in loaded.environments:
        flags = len({(parameter.source, parameter.group) for parameter in lowered.parameters})
        yield lowered.environment, flags, len(lowered.parameters), keys[lowered.environment]


def summary(loaded: Loaded) -> list[str]:
    """What a publication holds, a line for each environment."""
    lines = [
        f"{environment}: {counted(flags, 'flag')}, {counted(values, 'value')}, {counted(keys, 'key')}"
        for environment, flags, values, keys in counts(loaded)
    ]
    closed = [environment for environment, _, _, keys in counts(loaded) if not keys]
    if closed:
        lines.append(f"without a key in the files, to be made by `fanion keys create`: {', '.join(closed)}")
    return [
        *lines,
        f"{counted(len(loaded.environments), 'environment')}, {counted(len(loaded.warnings), 'warning')}",
    ]
