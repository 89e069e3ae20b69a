"""`fanion keys create|list|revoke|rotate-signing`: API keys beside those that the definitions name, and the
keys that traces are signed with.

A raw key is printed once, on standard output and alone, so that a script can take it; everything else about
it goes to standard error. Afterwards only its first characters are shown.
"""

from __future__ import annotations

import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from fanion.auth.key_use import HOUR_S, read_key_use
from fanion.auth.keys import KeyKind, create_key, hash_key
from fanion.bundle.reader import BundleReader
from fanion.cli.common import data_option, keep_copy, open_store, print_table, standing
from fanion.cli.text import echo
from fanion.cli.times import END_S, FIRST_S, end_of, until
from fanion.clock.keeper import look_at
from fanion.definitions.reading.keys import RAW_KEY_ALLOWED, fits_a_header, folded
from fanion.definitions.reading.limits import RAW_KEY_CHARS
from fanion.dialects import vocabulary
from fanion.errors import BundleError, StoreError
from fanion.store.layout import Origin, StoredKey
from fanion.store.store import Store

NEVER = "never expires"


@click.group()
def command() -> None:
    """Create, list and revoke API keys, rotate the signing key. A running server follows at its next request."""


@command.command()
@data_option
@click.argument("environment")
@click.option("--kind", type=click.Choice(["server", "client", "edge"]), default="server", show_default=True)
@click.option(
    "--dialect",
    "dialects",
    multiple=True,
    type=click.Choice(vocabulary().dialects),
    help="Repeatable. Default: every one.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(vocabulary().scopes_of(())),
    help=f"Open these endpoints only: {vocabulary().scopes_in_words('or', 'of')}. Repeatable.",
)
@click.option("--expires", help="When it ends: 30d, 12h, or an ISO 8601 time (UTC). Default: never.")
@click.option("--name", default="", help="For people.")
@click.option(
    "--raw",
    "source",
    type=click.Choice(["-"]),
    help="Take the key from standard input instead of making one, so that its users keep it.",
)
def create(
    data: Path,
    environment: str,
    kind: KeyKind,
    dialects: tuple[str, ...],
    scopes: tuple[str, ...],
    expires: str | None,
    name: str,
    source: str | None,
) -> None:
    """Make a key for ENVIRONMENT. Prints it, on standard output: the only time that it is shown.

    \b
    fanion keys create env_prod --data ./data --kind client --dialect feather --expires 90d
    printf %s "$OLD_KEY" | fanion keys create env_prod --data ./data --raw -
    """
    allowed = vocabulary().scopes_of(dialects)
    for scope in scopes:
        if scope not in allowed:
            raise click.BadParameter(
                f"{scope!r} is no scope of {', '.join(dialects)}; allowed: {', '.join(allowed)}",
                param_hint="--scope",
            )
    given = None if source is None else _given_key()
    with open_store(data, write=True) as store:
        raw, record = create_key(
            environment=environment,
            organisation=_organisation(store, environment),
            kind=kind,
            dialects=dialects,
            scopes=scopes,
            expires_at=None if expires is None else end_of(expires, look_at(data), "--expires"),
            name=name,
            make_raw=vocabulary().key_maker(dialects) if given is None else lambda _: given,
        )
        generation = store.add_key(hash_key(raw.encode()), record)
        if given is None:
            with standing(f"key {record.id}, which nobody has seen (revoke it and create another),"):
                echo(raw)
        with standing(f"key {record.id}"):
            echo(
                f"key {record.id}: {kind}, environment {environment}, {until(record.expires_at, NEVER)}; "
                f"generation {generation}"
                + (". Keep it now, it can't be shown again" if given is None else ""),
                err=True,
            )
            keep_copy(store, generation)


@command.command(name="list")
@data_option
@click.option("--environment", help="Only this environment's.")
def list_(data: Path, environment: str | None) -> None:
    """Show all keys by their first characters: what keys of a kind begin with, and some of what follows.

    "last use" is the hour (UTC) in which a server of this directory was last asked with the key, noted within
    seconds; empty: none is known of.
    """
    with open_store(data) as store:
        keys = [key for key in store.stored_keys() if environment in (None, key.record.environment)]
        if environment is not None and not keys:
            _organisation(store, environment)
    now = look_at(data).expiry
    used = read_key_use(data)
    columns = ("id", "environment", "kind", "begins", "opens", "state", "last use", "name")
    print_table(columns, (_cells(key, now, used.get(key.record.id)) for key in keys))


@command.command()
@data_option
@click.argument("key_id")
def revoke(data: Path, key_id: str) -> None:
    """Refuse a key from now on, for good.

    No publish and no rollback brings it back. KEY_ID is the one that `fanion keys list` shows.
    """
    with open_store(data, write=True) as store:
        generation, record = store.revoke_key(key_id)
        with standing(f"generation {generation}, with key {record.id} revoked,"):
            echo(f"key {record.id} of environment {record.environment} is revoked; generation {generation}")


@command.command(name="rotate-signing")
@data_option
def rotate_signing(data: Path) -> None:
    """Sign evaluation traces with a new key from now on.

    Traces already issued stay valid until they expire. A second rotation within their time ends those that the
    key before last signed.
    """
    with open_store(data, write=True) as store:
        generation = store.rotate_signing_key()
        with standing(f"generation {generation}"):
            echo(f"evaluation traces are signed with a new key; generation {generation}")
            keep_copy(store, generation)


def _given_key() -> str:
    """The raw key on standard input, without its line end. It is never on the command line, where others see it."""
    text = sys.stdin.buffer.read(RAW_KEY_CHARS[1] + 3).decode(errors="replace")
    raw = text.removesuffix("\n").removesuffix("\r")
    if not fits_a_header(raw):
        fits = RAW_KEY_CHARS[0] <= len(raw) <= RAW_KEY_CHARS[1]
        size = (
            "others than those"
            if fits
            else f"more than {RAW_KEY_CHARS[1]}"
            if len(raw) > RAW_KEY_CHARS[1]
            else len(raw)
        )
        found = f"characters on standard input: {size}" if raw else "no key on standard input"
        raise click.BadParameter(f"{found}; allowed: {RAW_KEY_ALLOWED}", param_hint="--raw")
    return folded(raw)


def _organisation(store: Store, environment: str) -> str:
    """The organisation's id, as the environment's bundle has it. Raises StoreError for an unknown environment."""
    with store.pin() as pinned:
        bundle = pinned.bundle(environment)
        if bundle is None:
            known = ", ".join(pinned.environments()) or "none"
            raise StoreError(f"there is no environment {environment}; there are: {known}")
        try:
            document = dict(BundleReader(bytes(bundle)).documents()).get("organisation", b"{}")
            return str(msgspec.json.decode(document).get("id", ""))
        except (BundleError, msgspec.MsgspecError, struct.error) as error:
            raise StoreError(f"the bundle of environment {environment} can't be read: {error}") from error


def _cells(key: StoredKey, now: float, used_hour: int | None) -> tuple[str, ...]:
    record = key.record
    opens = ", ".join((*record.dialects, *record.scopes)) or "all"
    shown = (record.id, record.environment, record.kind, record.prefix, opens, _state(key, now))
    return (*shown, _hour(used_hour), record.name)


def _hour(hour: int | None) -> str:
    """In words, as far as a time can be shown: a wall clock may have said anything."""
    if hour is None or not FIRST_S <= hour * HOUR_S < END_S:
        return ""
    return datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m-%dT%H:00Z")


def _state(key: StoredKey, now: float) -> str:
    if key.origin == Origin.REVOKED:
        return "revoked"
    if key.record.expires_at is not None and key.record.expires_at <= now:
        return "expired"
    return until(key.record.expires_at, NEVER)
