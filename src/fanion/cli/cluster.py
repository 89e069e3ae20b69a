"""`fanion cluster status|key|leave|ship`: places that directories publish to and servers follow, and the stream
that their records go to (docs/machines.md)."""

from __future__ import annotations

import contextlib
import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from fanion.cli.common import DATA, configuration, data_option, print_table
from fanion.cli.text import echo
from fanion.cli.times import moment
from fanion.errors import PlaceError, StoreMissingError
from fanion.model.json_value import UNREADABLE

KEY_BYTES = 32


@click.group()
def command() -> None:
    """Many machines that serve one publication, by way of a place (docs/machines.md)."""


@command.command()
def key() -> None:
    """Print a new key for places, FANION_PLACES_KEY of every machine that publishes or follows."""
    echo(secrets.token_hex(KEY_BYTES))


@command.command()
@data_option
def leave(data: Path) -> None:
    """Have a directory publish or follow no longer. What it serves stays; commands change it again."""
    from fanion.places import shown
    from fanion.places.taking import origin_of
    from fanion.store.installation import put_origin
    from fanion.store.store import Store

    with Store.open(data, write=True, map_bytes=configuration(data).store.map_bytes) as store:
        origin = origin_of(store)
        if origin is None:
            raise PlaceError(f"{data} neither publishes to a place nor follows one")
        put_origin(store.transactions, None)
        echo(f"{data} {origin.role} {shown(origin.url)} no longer; it has generation {store.generation()}")


@command.command()
@click.option("--data", **DATA)
@click.option("--place", "url", default="", metavar="URL", help="Default: the directory's.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(data: Path | None, url: str, form: str) -> None:
    """Show what a place has, and how far each machine is that follows it.

    Machines say so themselves, when they take something and once a minute; one whose credentials let it only read
    is not shown. Of the --data directory, how far its records are shipped and archived."""
    from fanion.app.archiving import how_archived
    from fanion.app.archiving import shown as archive_shown
    from fanion.app.reaching import how_shipped
    from fanion.places import open_place, shown
    from fanion.places.follower import Report
    from fanion.places.manifest import read_manifest
    from fanion.places.sealing import Sealer

    config = configuration(data)
    shipping = None if data is None else how_shipped(data, config)
    archived = None if data is None else how_archived(data, config)
    if form == "table":
        if shipping is not None:
            echo(_shipping_shown(shipping))
        if archived is not None:
            echo(archive_shown(archived))
    url = url or config.places.follow or _place_of(data, needed=shipping is None and archived is None)
    if not url:
        if form == "json":
            echo(msgspec.json.encode({"place": None, "shipping": shipping, "archive": archived}).decode())
        return
    with closing(open_place(url, config.places)) as place:
        found = place.newest()
        manifest = None if found is None else read_manifest(Sealer(config.places.key), found)
        reports = []
        try:
            said = list(place.reports().values())
        except PlaceError as error:
            said = []
            echo(f"fanion: {shown(url)}: what its machines say can't be read: {error}", err=True)
        for content in said:
            with contextlib.suppress(*UNREADABLE):
                reports.append(msgspec.json.decode(content, type=Report))
    now = time.time()
    number = 0 if manifest is None else manifest.head.number
    if form == "json":
        head = None if manifest is None else manifest.head
        told: dict[str, Any] = {"place": shown(url), "head": head, "machines": reports}
        told |= {"shipping": shipping, "archive": archived}
        echo(msgspec.json.encode(told).decode())
        return
    if manifest is None:
        echo(f"{shown(url)}: nothing was published there yet")
    else:
        head = manifest.head
        echo(
            f"{shown(url)}: number {head.number}, {moment(head.made_at)} by {head.machine} (Fanion "
            f"{head.version}); "
            f"environments: {', '.join(head.environments) or 'none'}"
        )
    columns = ("machine", "number", "behind", "taken", "last said", "version")
    rows = (
        (
            *(one.machine, str(one.number), str(max(0, number - one.number)), moment(one.taken_at)),
            *(f"{max(0, round(now - one.at)):,} s ago", one.version),
        )
        for one in sorted(reports, key=lambda one: one.machine)
    )
    print_table(columns, rows, numbers=("number", "behind"))


@command.command()
@data_option
@click.option("--once", is_flag=True, help="End when all that is there now has been taken.")
def ship(data: Path, once: bool) -> None:
    """Send the journal's records to the stream of shipping.url, until SIGTERM or Ctrl-C.

    A server does the same beside its workers; this may run beside one that doesn't. What killed workers left
    is written to the journal's segments and synced first, where no other worker did."""
    from logging.config import dictConfig

    from fanion.app import draining, make_shipper
    from fanion.pipeline.service import Ending
    from fanion.shipping import missing_library
    from fanion.shipping.service import Service
    from fanion.telemetry.logs import logging_config

    config = configuration(data)
    if not config.shipping.url:
        raise click.UsageError("shipping.url is empty; it says where records go")
    if missing := missing_library():
        raise click.UsageError(f"{missing} is not installed; pip install 'fanion[machines]'")
    ending, drain = Ending(), draining(data, config)
    if not once:
        dictConfig(logging_config(config.log.level))  # as the server's, or what fails has no reason
        Service(config.shipping, lambda turn: make_shipper(data, config, turn, drain=drain)).run(ending)
        return
    with make_shipper(data, config, lambda: None, drain=drain) as shipper:
        records = shipper.run_once(ending)
        for problem in shipper.problems():
            echo(f"fanion: {problem}", err=True)
        echo(f"{records:,} requests' records were taken by {config.shipping.url}")


def _shipping_shown(told: dict[str, Any]) -> str:
    line = f"records to {told['stream'] or 'no stream any more'}: "
    if "records" not in told:
        return f"{line}{told['failing']}"
    line += f"{told['records']:,} taken, the last at {told['sent_at'] or 'no time yet'}"
    if told["held_records"] is not None:
        held = f"{told['unverified_segments']:,} full log segments, {told['held_bytes'] >> 20:,} MiB"
        line += f"; {held}, were not read back yet"
    if told["resent_blocks"]:
        line += f"; {told['resent_blocks']:,} blocks were lost there and sent again"
    if told["unrecovered_records"]:
        line += f", but for {told['unrecovered_records']:,} records that the journal can't read either"
    if told["gap_records"]:
        line += f"; {told['gap_records']:,} left the journal before they were taken"
    return f"{line}; failing since {told['failing_since']}: {told['failing']}" if told["failing"] else line


def _place_of(data: Path | None, *, needed: bool) -> str:
    """Which place a directory has to do with; "" where none has to be known. Raises PlaceError."""
    from fanion.places.taking import origin_of
    from fanion.store.store import Store

    if data is not None:
        try:
            with Store.open(data, map_bytes=configuration(data).store.map_bytes) as store:
                origin = origin_of(store)
        except StoreMissingError:
            origin = None
        if origin is not None:
            return origin.url
    if not needed:
        return ""
    raise PlaceError("name a --place, or the --data directory of one that publishes or follows")
