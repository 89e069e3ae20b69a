"""`fanion rollback`: serve again what was served before the last publish."""

from __future__ import annotations

from pathlib import Path

import click

from fanion.app.overriding import Laid, lay_locked
from fanion.cli.common import data_option, keep_copy, open_store, standing
from fanion.cli.override import tell_in_force
from fanion.cli.text import echo
from fanion.clock.keeper import look_at


@click.command()
@data_option
def command(data: Path) -> None:
    """Go back to the previous generation, under a new, higher number.

    Keys that were revoked since stay revoked, overrides stay in force, and members that `fanion lists` changed stay
    changed, unless the last publish replaced their list. A second rollback returns to where the first one started.
    """
    with open_store(data, write=True) as store:
        before = store.generation()
        found: list[Laid] = []
        generation = store.rollback(lambda: found.append(lay_locked(store)))
        with standing(f"generation {generation}"):
            keep_copy(store, generation)
            said = f"generation {generation} serves what was served before {before}; a second rollback undoes this"
            echo(said)
            with store.pin() as pinned:
                overrides, now = pinned.overrides(), look_at(data).cautious
            tell_in_force({name: overrides.of(name, now) for name in overrides.in_force}, found[0].unmet)
