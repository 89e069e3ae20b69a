"""What several verbs take and show, said once."""

from __future__ import annotations

import getpass
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fanion.cli import drop_output
from fanion.cli.text import echo, is_text
from fanion.config import Config
from fanion.config.loading import find_file, load_config
from fanion.dialects import vocabulary
from fanion.errors import StoreError
from fanion.model.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text

    from fanion.store.store import Store

UNTOLD_STATUS = 3

UNBROKEN_WIDTH = 10_000
"""Columns when no one looks: a script needs every cell in one piece."""


class NamedPath(click.Path):
    """A path that is text and says something: an empty one, of a variable that nobody set, would be the current
    directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path; name a file or a directory, '.' for the current one", param, ctx)
        if isinstance(value, str) and not is_text(value):
            self.fail(f"{value!r} is not UTF-8", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number within bounds: no bound refuses NaN, which compares with nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a number that can be reckoned with", param, ctx)
        return found


DATA: Final[dict[str, Any]] = {
    "type": NamedPath(path_type=Path, file_okay=False, readable=False),
    "envvar": "FANION_DATA",
    "show_envvar": True,
    "help": "The data directory.",
}
data_option = click.option("--data", required=True, **DATA)


@contextmanager
def open_store(data: Path, *, write: bool = False) -> Iterator[Store]:
    """The store of a data directory under the settings in force; one that is opened for a change sends it to the
    place that the directory publishes to. Raises ConfigError, StoreError, PlaceError."""
    from fanion.store.store import Store  # `serve --settings` and `journal` need none

    config = configuration(data)
    with ExitStack() as around:
        if write:
            from fanion.app.changing import changing

            around.enter_context(changing(data, config))
        yield around.enter_context(Store.open(data, write=write, map_bytes=config.store.map_bytes))


def keep_copy(store: Store, generation: int) -> None:
    """The copy is a second line of defence: failing to make it does not undo a generation that stands."""
    try:
        store.keep_copy()
    except StoreError as error:
        echo(f"warning: generation {generation} stands, but the store's copy is older: {error}", err=True)


def user_name() -> str:
    """Who gives the command, by this machine; "" where it doesn't know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


@contextmanager
def standing(change: str) -> Iterator[None]:
    """Around what is said of a change that stands. Where that can't be written, the command must not end as one
    that was refused: it exits with `UNTOLD_STATUS`."""
    try:
        yield
    except OSError as error:
        drop_output()
        with suppress(OSError):
            echo(f"fanion: {change} stands; its output can't be written: {error.strerror}", err=True)
        sys.exit(UNTOLD_STATUS)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = (), title: str = ""
) -> None:
    """A table on standard output whose cells are whole: folded on a terminal that is narrower, elsewhere one line
    a row, whatever COLUMNS says. `numbers`: the columns that are set to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=_cell(title) if title else None)
    for name in columns:
        table.add_column(_cell(name), overflow="fold", justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    console = Console(width=None if sys.stdout.isatty() else UNBROKEN_WIDTH)
    with console.capture() as drawn:
        console.print(table)
    click.echo(drawn.get(), nl=False)  # a pipe that nobody reads would end the process in `console.print`


def _cell(text: str) -> Text:
    """As it is, in one line: without markup, emoji codes and what a terminal obeys."""
    from rich.text import Text

    return Text(printable(text).replace("\n", "\\n"))


@contextmanager
def status(text: str) -> Iterator[None]:
    """On standard error, on a terminal, while something lasts."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def progress_bars() -> Progress:
    """On standard error: bars on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def configuration(
    data: Path | None, *, file: Path | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The settings in force for a data directory; `file` in place of the one that would be found. ConfigError."""
    return load_config(vocabulary(), file=file or find_file(data), flags=flags)
