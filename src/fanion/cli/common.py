"""What several verbs take and show, said once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fanion.model.canonical import Canonical
from fanion.model.dialects import DIALECTS

UNBROKEN_WIDTH = 10_000
"""Columns when no one looks: a script needs every cell in one piece."""

DATA: Final[dict[str, Any]] = {
    "type": click.Path(path_type=Path, file_okay=False, readable=False),
    "envvar": "FANION_DATA",
    "show_envvar": True,
    "help": "The data directory.",
}
data_option = click.option("--data", required=True, **DATA)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = (), title: str = ""
) -> None:
    """A table on standard output whose cells are whole: folded on a terminal that is narrower, elsewhere one line
    a row, whatever COLUMNS says. `numbers`: the columns that are set to the right."""
    table = Table(title=escape(title) or None)
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else UNBROKEN_WIDTH).print(table)


def progress_bars() -> Progress:
    """On standard error: bars on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def canonical_forms() -> dict[str, Canonical]:
    """Dialect -> how its events read, for the journal's readers. Nothing else of a dialect is loaded."""
    return {name: importlib.import_module(f"fanion.dialects.{name}.canonical").CANONICAL for name in DIALECTS}
