"""`fanion publish`: definitions become one new generation of the store, seen by a running server at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fanion import app
from fanion.app.changing import changing
from fanion.cli.changes import Review
from fanion.cli.check import counts, environment_option, load_or_exit, verbose_option
from fanion.cli.common import (
    NamedPath,
    configuration,
    data_option,
    keep_copy,
    open_store,
    print_table,
    progress_bars,
    standing,
    status,
)
from fanion.cli.text import echo
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.definitions import Loaded, load
from fanion.dialects import vocabulary
from fanion.store.layout import Origin
from fanion.store.publication import Publication

COLUMNS = ("environment", "flags", "values", "keys")


@click.command()
@click.argument("paths", nargs=-1, type=NamedPath(path_type=Path))
@data_option
@click.option(
    "--remove", multiple=True, metavar="ENV", help="Serve this environment no longer. Instead of PATHS."
)
@environment_option
@verbose_option
@click.option("--yes", is_flag=True, help="Also when more than a quarter of what is served goes.")
@click.option(
    "--preview", "ask", is_flag=True, help="Show what `fanion diff` shows, and ask before anything is stored."
)
@click.option("--full", is_flag=True, help="Compile environments that didn't change, too: to the same bytes.")
@click.option(
    "--to",
    "to",
    metavar="URL",
    default="",
    help="A place that servers follow (`fanion serve --follow`): nats, tls, s3, gs, az or file://. Is remembered; "
    "without PATHS what the directory has is sent.",
)
def command(
    paths: tuple[Path, ...],
    data: Path,
    remove: tuple[str, ...],
    environment: str | None,
    verbose: bool,
    yes: bool,
    ask: bool,
    full: bool,
    to: str,
) -> None:
    """Validate, compile and store the definitions in PATHS (files and directories).

    Every environment that they name is replaced as a whole, with the API keys that they name; other
    environments, and keys made with `fanion keys create`, stay. All of it is seen at once, or nothing is stored.
    """
    if to and not paths and not remove:
        with changing(data, configuration(data), to=to, whole=True):
            pass
        from fanion.places import shown

        echo(f"{shown(to)} has what {data} has")
        return
    if bool(paths) == bool(remove):
        raise click.UsageError("name either the PATHS to publish or environments to --remove")
    if remove and ask:
        raise click.UsageError(
            "--preview goes with PATHS; there is nothing to show of what --remove takes away"
        )
    if remove and environment is not None:
        raise click.UsageError("--environment goes with PATHS; --remove names what it removes")
    config = configuration(data)
    if to:
        with changing(data, config, to=to):
            pass  # from here on the directory publishes there
    if remove:
        with open_store(data, write=True) as store:
            generation = store.publish(Publication(bundles={}, removed=remove))
            with standing(f"generation {generation}"):
                keep_copy(store, generation)
                echo(f"generation {generation} serves {', '.join(remove)} no longer")
        return
    with changing(data, config):
        _publish(paths, data, config, environment, verbose=verbose, yes=yes, ask=ask, full=full)


def _publish(
    paths: tuple[Path, ...],
    data: Path,
    config: Config,
    environment: str | None,
    *,
    verbose: bool,
    yes: bool,
    ask: bool,
    full: bool,
) -> None:
    overrides, weights = app.standing(data, config)
    as_it_is = not (ask or full or environment or overrides or any(weights.values()))
    made = app.amended(data, paths, config) if as_it_is else None
    if made is not None:
        loaded = made.loaded
    else:
        with status("reading definitions"):
            loaded = load_or_exit(
                paths, environment, "; nothing was stored", overrides, weights, verbose=verbose
            )
    if ask:
        from fanion.cli.diff import show_and_ask

        plain = load(paths, vocabulary(), environment=environment, weights=weights) if overrides else loaded
        show_and_ask(data, plain, config)
    with _progress(loaded, shown=made is None) as advance:
        review = Review(data, paths, loaded, config, confirmed=yes)
        left_out = {} if made is None else made.left_out
        rows = []
        for name, flags, values, keys in counts(loaded):
            more = left_out.get(name, 0)
            rows.append((name, f"{flags + more:,}", f"{values + more:,}", f"{keys:,}"))
        bundles = None if made is None else made.bundles
        generation = app.publish(data, loaded, config, advance, review, full=full, made=bundles, spend=True)
    with standing(f"generation {generation}"):
        _warn_of_keys(data, loaded)
        if overrides:
            from fanion.cli.override import tell_in_force

            tell_in_force({name: overrides[name] for name in loaded.laid if name in overrides}, loaded.unmet)
        print_table(COLUMNS, rows, numbers=COLUMNS[1:], title=f"generation {generation}")


@contextmanager
def _progress(loaded: Loaded, *, shown: bool) -> Iterator[Callable[[str, int], None] | None]:
    """What counts the bars of a publication on; `shown`, and on a terminal, else None: a change of a few flags is
    stored before bars could be drawn."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    with progress_bars() as progress:
        tasks = {
            "environments": progress.add_task("environments", total=len(loaded.environments)),
            "list members": progress.add_task("list members", total=None, visible=bool(loaded.lists)),
            "list rows": progress.add_task("list rows stored", total=None, visible=False),
        }

        def advance(what: str, count: int) -> None:
            if what == "list rows":
                progress.update(tasks[what], total=progress.tasks[1].completed, visible=True)
            progress.advance(tasks[what], count)

        yield advance


def _warn_of_keys(data: Path, loaded: Loaded) -> None:
    """A key that was revoked by command stays so, whatever the files say; and an environment may be without any."""
    with open_store(data) as store:
        stored = store.stored_keys()
    now = look_at(data).expiry
    revoked = {key.hash for key in stored if key.origin == Origin.REVOKED}
    opened = {
        key.record.environment
        for key in stored
        if key.hash not in revoked and (key.record.expires_at is None or key.record.expires_at > now)
    }
    for lowered in loaded.environments:
        if lowered.environment not in opened:
            echo(
                f"warning: environment {lowered.environment} has no key, so nobody can ask it; `fanion keys create "
                f"{lowered.environment}` makes one",
                err=True,
            )
    for key in loaded.keys:
        if key.hash in revoked:
            echo(f"warning: key {key.record.id} was revoked and stays so; take it out of the files", err=True)
