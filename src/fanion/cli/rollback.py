"""`fanion rollback`: serve again what was served before the last publish."""

from __future__ import annotations

from pathlib import Path

import click

from fanion.cli.common import data_option, keep_copy, open_store, standing
from fanion.cli.text import echo


@click.command()
@data_option
def command(data: Path) -> None:
    """Go back to the previous generation, under a new, higher number.

    Keys that were revoked since stay revoked, and members that `fanion lists` changed stay changed, unless the last
    publish replaced their list. A second rollback returns to where the first one started.
    """
    with open_store(data, write=True) as store:
        before = store.generation()
        generation = store.rollback()
        with standing(f"generation {generation}"):
            keep_copy(store, generation)
            said = f"generation {generation} serves what was served before the last publish; it was {before}"
            echo(said)
