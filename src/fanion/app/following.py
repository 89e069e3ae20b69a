"""A server that follows a place: what it takes before it starts, and the process that goes on taking.

A server starts without the place on what its store holds; a directory that holds nothing yet needs the place once.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from fanion import __version__
from fanion.app.machines import check_bundle, machine_name
from fanion.app.overriding import lay_overrides
from fanion.app.publishing import keep_copy
from fanion.config import Config
from fanion.errors import FanionError, PlaceError, StoreMissingError
from fanion.places import open_place, shown
from fanion.places.follower import Follower, look
from fanion.places.manifest import read_manifest
from fanion.places.place import Found, Place
from fanion.places.sealing import Sealer
from fanion.places.taking import origin_of, take
from fanion.process.contact import Contact
from fanion.store.recovery import open_verified
from fanion.store.store import Store

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from fanion.pipeline.service import Ending
    from fanion.telemetry.heartbeats import Heartbeat
    from fanion.telemetry.metrics import Metrics

TAKE_S = 120.0
"""How long the place may be silent at a server's start, besides what it may take for a request."""
COPY_S = 600.0
"""How long the process may stand still, besides: a copy of a large store is made."""


class Taking:
    """The parts of the loop (`places.follower.Parts`). `turn` is called between two reads of the place."""

    def __init__(self, data: Path, config: Config, turn: Callable[[], None] = lambda: None) -> None:
        self._data = data
        self._turn = turn
        self._map_bytes = config.store.map_bytes
        self._url = config.places.follow
        self._contact = Contact(data)

    def open_store(self) -> Store:
        return Store.open(self._data, create=True, map_bytes=self._map_bytes)

    def take(self, store: Store, place: Place, sealer: Sealer, found: Found) -> int:
        manifest = read_manifest(sealer, found)
        _, fetched = take(
            store, place, sealer, manifest, role="follows", url=self._url, check=check_bundle, turn=self._turn
        )
        lay_overrides(store)  # one whose time is over here already
        return max(fetched, 1)

    def keep_copy(self, store: Store) -> None:
        keep_copy(store, store.generation())

    def contact(self, at: float, number: int) -> None:
        self._contact.note(at, number)

    def close(self) -> None:
        self._contact.close()


def catch_up(data: Path, config: Config) -> None:
    """Before a server starts: takes what the place has, or says why not and goes on with what is here. In a
    child, since libraries of places have threads, which don't cross a fork. Raises PlaceError where nothing is
    here."""
    had = _number(data, config)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_catch_up, args=(data, config, sender))
    child.start()
    sender.close()
    reason: str | None = None
    try:
        while reason is None:  # None: it is still fetching
            quiet = not receiver.poll(TAKE_S + 3 * config.places.timeout_s)
            reason = "it takes too long" if quiet else receiver.recv()
    except EOFError:
        reason = "the process that asks it ended"
    child.kill()
    child.join()
    if not reason:
        return
    place = shown(config.places.follow)
    if had is None:
        raise PlaceError(f"nothing to serve yet: {place}: {reason}")
    print(f"warning: {place}: {reason}; number {had} is served on", file=sys.stderr, flush=True)


def _catch_up(data: Path, config: Config, sender: Connection) -> None:
    """The child: sends None now and then while it fetches, then why nothing was taken, or an empty text."""
    url, told = config.places.follow, time.monotonic()

    def tell() -> None:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            sender.send(None)

    try:
        with closing(Taking(data, config, tell)) as parts, closing(open_place(url, config.places)) as place:
            origin, _ = look(parts, place, Sealer(config.places.key), url)
            parts.contact(time.time(), origin.number)
        sender.send("")
    except (FanionError, OSError) as error:
        sender.send(str(error) or type(error).__name__)


def _number(data: Path, config: Config) -> int | None:
    """What was taken before. Raises PlaceError where the directory is no follower of this place."""
    try:
        store, problem = open_verified(data, map_bytes=config.store.map_bytes)
    except StoreMissingError:
        return None
    with store:
        origin, generation = origin_of(store), store.generation()
    if problem is not None:
        print(f"the store was damaged ({problem}); serving its copy", flush=True)
    if origin is None and not generation:
        return None
    url = config.places.follow
    if origin is None:
        raise PlaceError(f"{data} has a store of its own; follow {shown(url)} from an empty directory")
    if origin.role != "follows":
        raise PlaceError(f"{data} {origin.role} {shown(origin.url)}; use another directory")
    return origin.number


def left_alone(store: Store) -> str:
    """A word for a server that doesn't follow, of a directory that did; or nothing."""
    origin = origin_of(store)
    if origin is None or origin.role != "follows":
        return ""
    return (
        f"this directory follows {shown(origin.url)} and is served without it now: start with --follow, or take "
        "it out with `fanion cluster leave`"
    )


def follow(data: Path, config: Config, row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
    """What the process beside the workers does until it is told to end."""
    places = config.places
    with closing(Taking(data, config, row.beat)) as parts:
        name = machine_name(places)
        Follower(places.follow, places, parts, row, metrics, machine=name, version=__version__).run(ending)
