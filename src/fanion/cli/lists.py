"""`fanion lists show|add|remove|replace`: members of list segments, without publishing the definitions again.

A list is named by its environment and segment; a segment of several context types, and its exclusions, by an
option each. A running server follows at its next request. What a publish finds in its files replaces what was
changed here; a list without members in the definitions is left to these commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from fanion.cli.check import warn_of_cut
from fanion.cli.common import (
    NamedPath,
    data_option,
    keep_copy,
    open_store,
    print_table,
    progress_bars,
    standing,
)
from fanion.cli.text import echo
from fanion.definitions.reading.members import MemberList, list_type, read_members
from fanion.definitions.sources import NAMES
from fanion.errors import StoreError
from fanion.store.generation import PinnedGeneration
from fanion.store.layout import EnvironmentEntry
from fanion.store.list_writer import ListWriter
from fanion.store.store import Store

COPY_ROWS_MAX = 1_000_000
"""Up to this many rows in the store, its copy is renewed after every change; beyond, by the next publish."""

type_option = click.option("--type", "context_type", help="The context type, where the segment has several.")
exclude_option = click.option("--exclude", is_flag=True, help="The exclusions instead of the inclusions.")
parameters = (
    data_option,
    click.argument("environment"),
    click.argument("segment"),
    click.argument("members", nargs=-1),
    click.option(
        "--file",
        type=NamedPath(exists=True, dir_okay=False, path_type=Path),
        help="One member per line, or gzip.",
    ),
    type_option,
    exclude_option,
)
"""Of every verb that changes a list."""

Change = Callable[[ListWriter, str, str, Iterable[bytes]], tuple[int, str]]


@click.group()
def command() -> None:
    """Show and change the members of list segments. A running server follows at its next request."""


@command.command()
@data_option
@click.argument("environment", required=False)
@click.argument("segment", required=False)
@type_option
@exclude_option
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="0: all of them.")
def show(
    data: Path,
    environment: str | None,
    segment: str | None,
    context_type: str | None,
    exclude: bool,
    limit: int,
) -> None:
    """Show the lists, of ENVIRONMENT or all. With SEGMENT: its members, one per line."""
    with open_store(data) as store, store.pin() as pinned:
        if environment is not None and segment is not None:
            name = _find(pinned, environment, segment, context_type, exclude)
            found = pinned.members(environment, name)
            for member in islice(found, limit or None):
                sys.stdout.buffer.write(member + b"\n")
            return
        if environment is not None:
            _entry(pinned, environment)
        cells = [
            (id, name.removeprefix(f"{id}/"), f"{rows.count:,}")
            for id in pinned.environments()
            if environment in (None, id)
            for name, rows in sorted(pinned.manifest.environments[id].lists.items())
        ]
    print_table(("environment", "list", "members"), cells, numbers=("members",))


def changes_a_list(change: Change, *, says_before: bool = False) -> Callable[..., None]:
    """What the verbs that change a list have in common: how the list and the members are named, and that the
    store's copy follows. `change` gets the writer, the environment, the list's name and the members, and returns
    the generation and what is printed of it. `says_before`: how many members it had is printed too."""

    def verb(
        data: Path,
        environment: str,
        segment: str,
        members: tuple[str, ...],
        file: Path | None,
        context_type: str | None,
        exclude: bool,
    ) -> None:
        if not members and file is None:
            raise click.UsageError("name MEMBERS, or a --file of them (an empty file: none)")
        with open_store(data, write=True) as store:
            name = _name(store, environment, segment, context_type, exclude)
            had = ""
            if says_before:
                with store.pin() as pinned:
                    had = f"; it had {pinned.manifest.environments[environment].lists[name].count:,}"
            generation, said = change(
                ListWriter(store.transactions), environment, name, _given(members, file)
            )
            with standing(f"generation {generation}"):
                _keep_copy(store, generation)
                echo(f"generation {generation}: {said}{had}")

    verb.__name__, verb.__doc__ = change.__name__, change.__doc__
    for parameter in reversed(parameters):
        verb = parameter(verb)
    return verb


@command.command()
@changes_a_list
def add(writer: ListWriter, environment: str, name: str, members: Iterable[bytes]) -> tuple[int, str]:
    """Add MEMBERS, and those in a file, to a list of SEGMENT."""
    generation, added = writer.add(environment, name, members)
    return generation, f"{added:,} added to {name}"


@command.command()
@changes_a_list
def remove(writer: ListWriter, environment: str, name: str, members: Iterable[bytes]) -> tuple[int, str]:
    """Take MEMBERS, and those in a file, out of a list of SEGMENT."""
    generation, removed = writer.remove(environment, name, members)
    return generation, f"{removed:,} removed from {name}"


@command.command()
@partial(changes_a_list, says_before=True)
def replace(writer: ListWriter, environment: str, name: str, members: Iterable[bytes]) -> tuple[int, str]:
    """Replace all members of a list of SEGMENT.

    MEMBERS, and those in a file, are seen all at once.
    """
    with progress_bars() as progress:
        tasks: dict[str, Any] = {
            "list members": progress.add_task("members read", total=None),
            "list rows": progress.add_task("rows stored", total=None),
        }

        def advance(what: str, count: int) -> None:
            if what == "list rows":
                progress.update(tasks[what], total=progress.tasks[0].completed)
            progress.advance(tasks[what], count)

        generation, count = writer.replace(environment, name, members, advance)
    return generation, f"{name} has {count:,} members"


def _given(members: tuple[str, ...], file: Path | None) -> Iterable[bytes]:
    """Members of the command line, then those of the file, streamed."""
    warn_of_cut(None if file is None else str(file))
    return read_members(MemberList("", members, None if file is None else str(file)))


def _keep_copy(store: Store, generation: int) -> None:
    """The copy of a store with long lists takes longer than a change should."""
    with store.pin() as pinned:
        environments = pinned.manifest.environments.values()
        rows = sum(entry.count for environment in environments for entry in environment.lists.values())
    if rows <= COPY_ROWS_MAX:
        keep_copy(store, generation)


def _name(store: Store, environment: str, segment: str, context_type: str | None, exclude: bool) -> str:
    with store.pin() as pinned:
        return _find(pinned, environment, segment, context_type, exclude)


def _entry(pinned: PinnedGeneration, environment: str) -> EnvironmentEntry:
    entry = pinned.manifest.environments.get(environment)
    if entry is None:
        known = ", ".join(pinned.environments()) or "none yet"
        raise StoreError(f"there is no environment {environment}; there are: {known}")
    return entry


def _find(
    pinned: PinnedGeneration, environment: str, segment: str, context_type: str | None, exclude: bool
) -> str:
    """The one list that is meant. Raises StoreError where there is none, or more than one."""
    entry = _entry(pinned, environment)
    if segment in entry.lists:
        return segment
    side = "exclude" if exclude else "include"
    found = sorted(name for name in entry.lists if _fits(name, environment, segment, context_type, side))
    if len(found) == 1:
        return found[0]
    if found:
        types = ", ".join(
            list_type(name, environment, NAMES, segment, side) or name.removesuffix(f"/{side}")
            for name in found
        )
        raise StoreError(f"segment {segment} has lists of several types ({types}); say --type")
    known = _known(entry, environment) or "none"
    raise StoreError(f"environment {environment} has no such list of {segment}; it has: {known}")


def _fits(name: str, environment: str, segment: str, context_type: str | None, side: str) -> bool:
    """Names are a source's (`list_name`) or, for native ones, ORGANISATION/PROJECT/SEGMENT/SIDE."""
    found = list_type(name, environment, NAMES, segment, side)
    if found is not None:
        return context_type in (None, found)
    native = name.split("/")
    return context_type is None and len(native) == 4 and native[2:] == [segment, side]


def _type_of(name: str, environment: str, segment: str, side: str) -> str:
    return list_type(name, environment, NAMES, segment, side) or name.removesuffix(f"/{side}")


def _known(entry: EnvironmentEntry, environment: str) -> str:
    return ", ".join(name.removeprefix(f"{environment}/") for name in sorted(entry.lists))
