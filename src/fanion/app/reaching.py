"""The place, the stream and the archive that the settings name, as they are now: what `fanion doctor` asks of
others, and what `fanion cluster status` reads of a directory's records.

Each is asked once, within the settings' time-outs, and nothing is made or changed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from fanion.app.archiving import look_at_archive
from fanion.config import Config
from fanion.errors import FanionError, JournalError, PlaceError, StoreError, StreamMissingError
from fanion.journal.gaps import load_gaps
from fanion.journal.lag import lag_of
from fanion.journal.reader import JournalReader, list_checkpoints
from fanion.journal.storage import Storage
from fanion.model.canonical import iso_from_ns
from fanion.nats.connection import Access
from fanion.places import open_place, shown
from fanion.places.manifest import Origin, read_manifest
from fanion.places.nats import access_of
from fanion.places.sealing import Sealer
from fanion.places.taking import origin_of
from fanion.process.diagnosis import Finding
from fanion.shipping import READER, missing_library
from fanion.shipping.shipper import unverified_segments
from fanion.shipping.state import load_state
from fanion.shipping.stream import Stream
from fanion.store.store import Store

RETENTION_HOURS: Final = 72.0
"""Of the journal: as far back as what a stream has lost can be sent again."""
KEPT: Final = "the journal keeps what it hasn't while the disk has room"


def reach(data: Path, config: Config) -> list[Finding]:
    """None where neither a place nor a stream nor an archive is configured."""
    return [*_place(data, config), *_shipping(data, config), *look_at_archive(data, config)]


def _place(data: Path, config: Config) -> Iterator[Finding]:
    origin = _origin(data, config)
    url = config.places.follow or (origin.url if origin is not None else "")
    if not url:
        return
    try:
        with closing(open_place(url, config.places)) as place:
            found = place.newest()
            manifest = None if found is None else read_manifest(Sealer(config.places.key), found)
    except PlaceError as error:
        advice = "what was taken last is served on; nothing new comes, and nothing is published, until then"
        yield Finding("place", "bad", f"{shown(url)}: {error}", advice)
        return
    if manifest is None:
        yield Finding(
            "place", "look", f"{shown(url)}: nothing was published there yet", "`fanion publish --to`"
        )
        return
    own = origin.number if origin is not None and origin.url.rstrip("/") == url.rstrip("/") else 0
    number = manifest.head.number
    told = f"{shown(url)}: number {number}, this directory has {own or 'none'}"
    advice = (
        "a server that follows takes it within places.poll_s, a command that publishes before it changes any"
    )
    yield Finding("place", "ok", told) if own >= number else Finding("place", "look", told, advice)


def _origin(data: Path, config: Config) -> Origin | None:
    try:
        with Store.open(data, map_bytes=config.store.map_bytes) as store:
            return origin_of(store)
    except (StoreError, PlaceError):  # the store's own finding says so
        return None


def _shipping(data: Path, config: Config) -> Iterator[Finding]:
    told = how_shipped(data, config)
    if config.shipping.url:
        yield from _stream(config, access_of(config.places))
        if config.journal.retention_hours < RETENTION_HOURS:
            yield Finding(
                "shipping's reach",
                "look",
                f"the journal keeps records for {config.journal.retention_hours:g} h",
                f"what the stream loses later can't be sent again; {RETENTION_HOURS:g} h are meant "
                "(journal.retention_hours)",
            )
    if told is not None:
        yield _records(told)


def _stream(config: Config, access: Access) -> Iterator[Finding]:
    if missing := missing_library():
        yield Finding("stream", "bad", f"{missing} is not installed", "pip install 'fanion[machines]'")
        return
    try:
        stream = Stream(config.shipping, access, create=False)
    except StreamMissingError as error:
        yield Finding("stream", "look", str(error), "the server makes it with its first look")
        return
    except FanionError as error:
        yield Finding("stream", "bad", f"{shown(config.shipping.url)}: {error}", KEPT)
        return
    with closing(stream):
        kept = f"for {stream.keep_s / 3_600:g} h" if stream.keep_s else "for ever"
        servers = f"{stream.replicas} server{'s' if stream.replicas != 1 else ''}"
        found = f"{stream.name}: on {servers}, records are kept {kept}"
        alone = stream.in_cluster and stream.replicas < 3
        advice = "on fewer than three a disk that is lost takes acknowledged records with it" if alone else ""
        if alone and stream.replicas < 2 and config.journal.ack == "replicated":
            yield Finding(
                "stream", "bad", found, 'answers wait for it (journal.ack = "replicated"): two at least'
            )
            return
        yield Finding("stream", "look" if alone else "ok", found, advice)


def _records(told: dict[str, Any]) -> Finding:
    """Of this directory's records, as `how_shipped` has it."""
    if told["failing"]:
        since = f" since {told['failing_since']}" if told.get("failing_since") else ""
        return Finding("shipping", "bad", f"failing{since}: {told['failing']}", KEPT)
    found = f"{told['records']:,} records were taken, the last at {told['sent_at'] or 'no time yet'}"
    if told["unverified_segments"]:
        found += f"; {told['unverified_segments']:,} full log segments were not read back yet"
    if lost := (told["unrecovered_records"] or 0) + (told["gap_records"] or 0):
        advice = "they left the journal before the stream had them, or the journal can't read them either"
        return Finding("shipping", "bad", f"{found}; {lost:,} records are lost to it", advice)
    if not told["stream"]:
        advice = (
            "shipping.url is empty and the journal keeps records for it; remove journal/readers/shipping.json"
        )
        return Finding("shipping", "look", found, advice)
    return Finding("shipping", "ok", found)


def how_shipped(data: Path, config: Config) -> dict[str, Any] | None:
    """What is to be said of a directory's records, read from files; None: nothing was ever shipped, or is to be."""
    storage, journal = Storage(), data / "journal"
    try:
        checkpoint = list_checkpoints(storage, journal).get(READER)
        if checkpoint is None and not config.shipping.url:
            return None
        state = load_state(storage, data)
        told: dict[str, Any] = {
            "stream": config.shipping.url or None,
            "records": state.records,
            "bytes": state.bytes,
            "sent_at": iso_from_ns(int(state.sent_unix_s * 1e9)) if state.sent_unix_s else None,
            "failing": state.failing or None,
            "failing_since": iso_from_ns(int(state.failing_since_unix_s * 1e9)) if state.failing else None,
            "held_records": None,
            "held_bytes": None,
            "gap_records": None,
            "unverified_segments": None,
            "resent_blocks": state.resent_blocks,
            "unrecovered_records": state.unrecovered_records,
        }
        if checkpoint is not None:
            reader = JournalReader(data, storage=storage, checkpoint=checkpoint)
            lag = lag_of(reader, storage)
            told |= {"held_records": lag.records, "held_bytes": lag.held_bytes}
            told["unverified_segments"] = unverified_segments(reader, checkpoint)
            told["gap_records"] = load_gaps(storage, journal, READER).records
    except JournalError as error:
        return {"stream": config.shipping.url or None, "failing": str(error)}
    return told
