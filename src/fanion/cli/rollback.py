"""`fanion rollback`: serve again what was served before the last publish."""

from __future__ import annotations

from pathlib import Path

import click

from fanion.cli.common import data_option
from fanion.config import find_file, load_config
from fanion.store.store import Store


@click.command()
@data_option
def command(data: Path) -> None:
    """Go back to the previous generation, under a new, higher number.

    Keys that were revoked since stay revoked, and members that `fanion lists` changed stay changed, unless the last
    publish replaced their list. A second rollback returns to where the first one started.
    """
    config = load_config(file=find_file(data))
    with Store.open(data, write=True, map_bytes=config.store.map_bytes) as store:
        before = store.generation()
        generation = store.rollback()
        store.keep_copy()
    click.echo(f"generation {generation} serves what was served before the last publish; it was {before}")
