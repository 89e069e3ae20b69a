"""Directories that have to do with a place: one that publishes to it sends each change, one that follows it
refuses them (docs/machines.md).

Every command that changes a store does so within `changing.changing`, and here where it has a place: what the
place has is taken first, the change is made, and the generation is sent. Where another machine was faster, or
sent something while this one could not be heard, the directory goes back to what the place has, and the command
says that nothing of it was taken."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fanion import __version__
from fanion.app.overriding import lay_overrides
from fanion.app.publishing import keep_copy, upgrade_bundles
from fanion.bundle.format import VERSION
from fanion.config import Config
from fanion.config.places import Places
from fanion.engine.evaluator import open_environment
from fanion.errors import PlaceError, PlaceMovedError, StoreMissingError
from fanion.places import open_place, shown
from fanion.places.manifest import Origin, encode_origin, read_manifest
from fanion.places.place import Found, Place
from fanion.places.sealing import Sealer
from fanion.places.sending import encode_keys, send
from fanion.places.taking import check_successor, origin_of, take
from fanion.store.database import hold_lock, store_path
from fanion.store.installation import put_origin
from fanion.store.store import Store
from fanion.store.upgrade import version_of

LOCK_WAIT_S = 60.0
REVOKING_TRIES = 5


def machine_name(settings: Places) -> str:
    """What this machine is called in a place."""
    name = settings.machine or "".join(
        c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname()
    )
    return name[:100] or "machine"


def check_bundle(environment: str, bundle: bytes) -> None:
    """Raises BundleError where a server of this Fanion couldn't serve it."""
    open_environment(environment, bundle, lambda *_: False)


def refuse_followers(origin: Origin | None) -> None:
    """Raises PlaceError."""
    if origin is not None and origin.role == "follows":
        raise PlaceError(
            f"this directory follows {shown(origin.url)}; change it there, from a directory that publishes to it "
            f"(`fanion publish --to`), or take this one out with `fanion cluster leave`"
        )


@contextmanager
def sending(
    data: Path, config: Config, *, to: str = "", followers: bool = False, whole: bool = False
) -> Iterator[None]:
    """See `changing.changing`."""
    map_bytes, to = config.store.map_bytes, to.rstrip("/")
    try:
        with Store.open(data, write=True, create=bool(to), map_bytes=map_bytes) as store:
            origin = origin_of(store)
    except StoreMissingError:  # the command itself says so, or makes one
        yield
        return
    if not followers:
        refuse_followers(origin)
    url = to or (origin.url if origin is not None and origin.role == "publishes" else "")
    if not url:
        yield
        return
    sealer = Sealer(config.places.key)
    lock = hold_lock(store_path(data) / "place.lock", fcntl.LOCK_EX, LOCK_WAIT_S)
    try:
        with closing(open_place(url, config.places, create=bool(to))) as place:

            def send_what_is_new() -> None:
                with Store.open(data, write=True, map_bytes=map_bytes) as store:
                    _send(store, place, sealer, config)

            with Store.open(data, write=True, map_bytes=map_bytes) as store:
                catch_up(store, place, sealer, url, whole=whole)
            send_what_is_new()  # what an earlier command could not send
            try:
                yield  # with the store closed: the change may put another file in its place
            except SystemExit:  # a change that stands may not have been told
                send_what_is_new()
                raise
            send_what_is_new()
    finally:
        os.close(lock)


def catch_up(store: Store, place: Place, sealer: Sealer, url: str, *, whole: bool) -> None:
    """What a directory that publishes to a place begins with. Raises PlaceError, StoreError."""
    origin = origin_of(store)
    found = place.newest()
    if origin is None or origin.url != url:
        if found is None:
            put_origin(store.transactions, encode_origin(Origin("publishes", url)))
            return
        if origin is not None:
            raise PlaceError(
                f"this directory publishes to {shown(origin.url)}, and {shown(url)} has number {found.number} of "
                "others; use another directory"
            )
        if store.generation():
            raise PlaceError(
                f"this directory has a store of its own, and {shown(url)} has number {found.number} of others: "
                "publish from an empty directory, which takes what is there first"
            )
        origin = None
    if whole and origin is not None and store.generation():
        number = origin.number
        if found is not None and found.number > number:
            take_newer(store, place, sealer, found, origin, url)
            number = found.number
        put_origin(store.transactions, encode_origin(Origin("publishes", url, number=number)))
    elif found is not None:
        take_newer(store, place, sealer, found, origin, url)
    elif origin is not None and origin.number:
        raise PlaceError(
            f"{shown(url)} has nothing any more, number {origin.number} was published there: it was emptied. "
            "`fanion publish --to` without PATHS fills it again"
        )


def take_newer(
    store: Store, place: Place, sealer: Sealer, found: Found, origin: Origin | None, url: str
) -> int | None:
    """For a directory that publishes; the generation that was made. Raises PlaceError."""
    manifest = read_manifest(sealer, found)
    if not check_successor(manifest, origin):
        return None
    if origin is not None and store.generation() != origin.generation:
        print(
            f"warning: generation {store.generation()}, which was not sent, is given up for number {found.number} "
            f"of {shown(url)}",
            file=sys.stderr,
            flush=True,
        )
    generation, _ = take(store, place, sealer, manifest, role="publishes", url=url, check=_check_own)
    upgraded = upgrade_bundles(store)
    return lay_overrides(store).generation or upgraded or generation


def _check_own(environment: str, bundle: bytes) -> None:
    """Of a directory that publishes: what an older Fanion compiled is compiled again, and sent so."""
    if version_of(bundle) >= VERSION:
        check_bundle(environment, bundle)


def _send(store: Store, place: Place, sealer: Sealer, config: Config) -> None:
    """What the place hasn't. A key that was revoked here is no change that another machine's could take back."""
    for _ in range(REVOKING_TRIES):
        origin = origin_of(store)
        assert origin is not None
        if not store.generation():
            return
        changed = store.generation() != origin.generation
        if not changed and not _revoked_alone(store, sealer, origin):
            return
        try:
            send(store, place, sealer, origin, machine=machine_name(config.places), version=__version__)
            return
        except PlaceMovedError as error:
            found = place.newest()
            if found is not None:
                keep_copy(
                    store, take_newer(store, place, sealer, found, origin, origin.url) or store.generation()
                )
            if not changed:
                continue
            reason = str(error)
            _send(store, place, sealer, config)  # keys that were revoked
            raise PlaceMovedError(
                f"{shown(origin.url)}: {reason}; nothing of this was taken but keys that were revoked, give it "
                "again"
            ) from None
        except PlaceError as error:
            raise PlaceError(
                f"generation {store.generation()} stands in {store.directory} and isn't sent: {shown(origin.url)}: "
                f"{error}. The next command that changes it sends it too, unless another machine publishes before; "
                "then keys that were revoked are sent"
            ) from None
    raise PlaceMovedError("other machines publish to the place without a pause; give it again")


def _revoked_alone(store: Store, sealer: Sealer, origin: Origin) -> bool:
    """Whether keys are revoked here that the place has as good ones: a generation that was taken from there differs
    in nothing else."""
    with store.pin() as pinned:
        return origin.body.keys != sealer.address(encode_keys(pinned))
