"""`fanion override set|clear|list`: an answer in a flag's place, at once and for a while, without the definitions
(docs/overrides.md). It is laid over every publish until it is cleared or its time is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from fanion.cli.common import data_option, keep_copy, open_store, print_table, standing, user_name
from fanion.cli.text import echo
from fanion.cli.times import end_of, moment, until
from fanion.clock.keeper import look_at
from fanion.definitions.sources import NAMES
from fanion.errors import DefinitionError, Problem, StoreError
from fanion.model.override import IN_FORCE_MAX, Override, Overrides
from fanion.model.shape import NATIVE

if TYPE_CHECKING:
    from fanion.definitions.lowering.overriding import Unmet

WORDS_MAX = 500
"""Characters of `--why` and `--by`."""

source_option = click.option(
    "--source",
    type=click.Choice([NATIVE, *NAMES]),
    help="Only the flag of this format, where several have the key.",
)
why_option = click.option("--why", default="", help="For people, kept in the list and the log.")
by_option = click.option("--by", default="", help="Who. Default: the user's name on this machine.")


@click.group()
def command() -> None:
    """Put an answer in a flag's place for now. A running server follows at once, in every API."""


@command.command(name="set")
@data_option
@click.argument("environment")
@click.argument("flag")
@click.argument("answer")
@click.option(
    "--for", "duration", help="When it ends: 2h, 30m, or an ISO 8601 time (UTC). Default: when cleared."
)
@why_option
@by_option
@source_option
def set_(
    data: Path,
    environment: str,
    flag: str,
    answer: str,
    duration: str | None,
    why: str,
    by: str,
    source: str | None,
) -> None:
    """Everyone in ENVIRONMENT gets ANSWER of FLAG: a variant's name, else a value as JSON (or plain text).

    FLAG is a flag, feature, parameter or policy by its key. Publishing and rolling back leave it in force.

    \b
    fanion override set env_prod new-checkout false --for 2h --why "payments time out" --data ./data
    """
    from fanion.app import lay_overrides

    clock = look_at(data)
    ends = None if duration is None else end_of(duration, clock, "--for")
    override = Override(
        flag, answer, clock.wall, ends, source or "", (by or user_name())[:WORDS_MAX], why[:WORDS_MAX]
    )

    def change(overrides: Overrides, _: float) -> Overrides:
        if len(overrides.in_force.get(environment, ())) >= IN_FORCE_MAX:
            raise StoreError(f"environment {environment} has {IN_FORCE_MAX} overrides; clear some")
        return overrides.with_one(environment, override)

    def check(unmet: dict[str, list[Unmet]]) -> None:
        for one in unmet.get(environment, ()):
            if one.override == override:
                problem = Problem(
                    "override", f"environment {environment}", one.found, f"allowed: {one.allowed}"
                )
                raise DefinitionError([problem])

    with open_store(data, write=True) as store:
        _known(store.manifest_environments(), environment)
        generation = lay_overrides(store, change, check).generation
        with standing(f"generation {generation}"):
            lasts = until(ends, "until it is cleared")
            echo(
                f"{flag} of environment {environment} is {answer} for everyone, {lasts}; generation {generation}"
            )
            keep_copy(store, generation or store.generation())


@command.command()
@data_option
@click.argument("environment")
@click.argument("flag")
@why_option
@by_option
@source_option
def clear(data: Path, environment: str, flag: str, why: str, by: str, source: str | None) -> None:
    """FLAG answers again as the definitions say."""
    from fanion.app import lay_overrides

    cleared: list[Override] = []

    def change(overrides: Overrides, now: float) -> Overrides:
        cleared[:] = [
            one for one in overrides.of(environment, now) if one.flag == flag and source in (None, one.source)
        ]
        if not cleared:
            others = ", ".join(one.flag for one in overrides.of(environment, now)) or "none"
            raise StoreError(f"environment {environment} has no override of {flag}; there are: {others}")
        return overrides.without(
            environment, cleared, look_at(data).wall, by=(by or user_name())[:WORDS_MAX], why=why[:WORDS_MAX]
        )

    with open_store(data, write=True) as store:
        generation = lay_overrides(store, change).generation
        with standing(f"generation {generation}"):
            echo(f"{flag} of environment {environment} answers as defined again; generation {generation}")
            keep_copy(store, generation or store.generation())


@command.command(name="list")
@data_option
@click.option("--environment", help="Only this environment's.")
@click.option("--log", "log", is_flag=True, help="What was set, cleared and ended, and by whom.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_(data: Path, environment: str | None, log: bool, form: str) -> None:
    """Show the overrides in force, or with --log all changes that are kept."""
    with open_store(data) as store:
        if environment is not None:
            _known(store.manifest_environments(), environment)
        with store.pin() as pinned:
            overrides = pinned.overrides()
    now = look_at(data).cautious
    if log:
        told = [one for one in overrides.told if environment in (None, one.environment)]
        if form == "json":
            echo(msgspec.json.encode({"log": told}).decode())
            return
        columns = ("at", "environment", "change", "flag", "answer", "by", "why")
        print_table(
            columns,
            (
                (
                    *(moment(one.at), one.environment, one.change, _named(one.override)),
                    *(one.override.answer, one.by or one.override.by, one.why or one.override.why),
                )
                for one in told
            ),
        )
        return
    names = [name for name in sorted(overrides.in_force) if environment in (None, name)]
    found = [(name, one) for name in names for one in overrides.of(name, now)]
    if form == "json":
        rows = [{"environment": name, **msgspec.to_builtins(one)} for name, one in found]
        echo(msgspec.json.encode({"overrides": rows}).decode())
        return
    columns = ("environment", "flag", "answer", "since", "ends", "by", "why")
    print_table(
        columns,
        (
            (
                *(name, _named(one), one.answer, moment(one.since)),
                *(until(one.until, "when cleared"), one.by, one.why),
            )
            for name, one in found
        ),
    )


def tell_in_force(environments: dict[str, tuple[Override, ...]], unmet: dict[str, list[Unmet]]) -> None:
    """For commands that change what is served: what lies over it, on standard error."""
    for environment, overrides in environments.items():
        odd = {one.override: one for one in unmet.get(environment, ())}
        for override in overrides:
            said = f"{environment}: {_named(override)} is overridden: {override.answer}"
            lasts = until(override.until, "until it is cleared")
            if override in odd:
                one = odd[override]
                echo(f"warning: {said}, {lasts}, which changes nothing: {one.found}; {one.allowed}", err=True)
            else:
                echo(f"{said}, {lasts}" + (f" ({override.why})" if override.why else ""), err=True)


def _named(override: Override) -> str:
    return f"{override.source}:{override.flag}" if override.source else override.flag


def _known(environments: tuple[str, ...], environment: str) -> None:
    if environment not in environments:
        raise StoreError(
            f"there is no environment {environment}; there are: {', '.join(environments) or 'none yet'}"
        )
