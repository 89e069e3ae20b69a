"""`fanion console token|tokens|revoke`: who may read the console where it isn't on a loopback address
(docs/console.md)."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from fanion.cli.common import configuration, data_option, keep_copy, print_table, standing
from fanion.cli.text import echo
from fanion.cli.times import end_of, moment, until
from fanion.clock.keeper import look_at

PREFIX = "fanion_console_"
NAME_MAX = 200


@click.group()
def command() -> None:
    """Make, list and revoke the console's tokens. They belong to this directory and go to no other machine."""


@command.command()
@data_option
@click.option("--expires", help="When it ends: 30d, 12h, or an ISO 8601 time (UTC). Default: never.")
@click.option("--name", default="", help="For people.")
def token(data: Path, expires: str | None, name: str) -> None:
    """Make a token. Prints it, on standard output: the only time that it is shown."""
    from fanion.store.console import ConsoleToken, add_token, hash_token
    from fanion.store.store import Store

    clock = look_at(data)
    ends = None if expires is None else end_of(expires, clock, "--expires")
    raw = PREFIX + secrets.token_urlsafe(32)
    made = ConsoleToken(secrets.token_hex(4), hash_token(raw), clock.wall, ends, name[:NAME_MAX])
    with Store.open(data, write=True, map_bytes=configuration(data).store.map_bytes) as store:
        add_token(store, made, clock.expiry)
        with standing(f"console token {made.id}, which nobody has seen (revoke it and make another),"):
            echo(raw)
        with standing(f"console token {made.id}"):
            lasts = until(ends, "never expires")
            echo(f"console token {made.id}: {lasts}. Keep it now, it can't be shown again", err=True)
            keep_copy(store, store.generation())


@command.command()
@data_option
def tokens(data: Path) -> None:
    """Show the tokens, not what they are."""
    from fanion.store.console import read_tokens
    from fanion.store.store import Store

    with Store.open(data, map_bytes=configuration(data).store.map_bytes) as store, store.pin() as pinned:
        found = read_tokens(pinned)
    now = look_at(data).expiry
    rows = [
        (
            one.id,
            moment(one.made_at),
            "expired" if one.over(now) else until(one.expires_at, "never expires"),
            one.name,
        )
        for one in found
    ]
    print_table(("id", "made", "state", "name"), rows)


@command.command()
@data_option
@click.argument("token_id")
def revoke(data: Path, token_id: str) -> None:
    """Refuse a token, and whoever came in with it, within seconds. TOKEN_ID is the one that `tokens` shows."""
    from fanion.store.console import revoke_token
    from fanion.store.store import Store

    with Store.open(data, write=True, map_bytes=configuration(data).store.map_bytes) as store:
        revoke_token(store, token_id)
        with standing(f"the revocation of console token {token_id}"):
            echo(f"console token {token_id} is revoked")
            keep_copy(store, store.generation())
