"""The archive of a directory's journal: who makes it, what is said of it, and a unit that leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fanion.config import Config
from fanion.errors import FanionError, JournalError

if TYPE_CHECKING:
    from fanion.archive.archiver import Archiver
    from fanion.archive.bucket import Bucket
    from fanion.archive.forgetting import ForgottenObjects
    from fanion.model.forgotten import Forms
    from fanion.process.diagnosis import Finding

KEPT: Final = "the journal keeps what isn't archived while the disk has room"
UNKNOWN_PLACES: Final = (
    "where it was archived besides is not known any more: look in every archive that it ever had, then stop the "
    "server, remove the file and start it again"
)


def make_archiver(data: Path, config: Config, turn: Callable[[], None]) -> Archiver:
    """Raises ArchiveError, JournalError."""
    from fanion.archive.archiver import Archiver

    return Archiver(data, config.archive, config.places, turn=turn)


def open_archive(url: str, config: Config) -> Bucket:
    """One that is there. Raises ArchiveError."""
    from fanion.archive.bucket import Bucket

    return Bucket(url, config.places, config.archive.timeout_s)


def forget_archived(
    data: Path, config: Config, forms: Forms, *, dry: bool
) -> tuple[dict[str, ForgottenObjects], list[str]]:
    """Where the directory's journal is or was ever archived, what was found or done there, and what could not be
    reached, by name."""
    from fanion.archive.forgetting import forget_in_archive
    from fanion.archive.state import load_state
    from fanion.dialects import canonical_forms
    from fanion.journal.files import machine_id
    from fanion.journal.storage import Storage

    storage, done, problems = Storage(), {}, []
    state = load_state(storage, data)
    if state.damaged:
        problems.append(f"{state.damaged}; {UNKNOWN_PLACES}")
    urls = dict.fromkeys([*state.urls, *([config.archive.url] if config.archive.url else [])])
    if not urls or not (data / "journal" / "machine").exists():
        return {}, problems
    machine = machine_id(storage, data / "journal").hex()
    for url in urls:
        try:
            bucket = open_archive(url, config)
            found = forget_in_archive(storage, data, bucket, machine, forms, canonical_forms(), dry=dry)
        except (FanionError, OSError) as error:
            kept = f"{url}/{machine}/segments/, {state.segments:,} objects in all, may hold the person"
            problems.append(f"the archive could not be reached: {kept}; give this again: {error}")
            continue
        done[url] = found
        problems += found.unreached
    return done, problems


def look_at_archive(data: Path, config: Config) -> Iterator[Finding]:
    """For `fanion doctor`: the archive is asked once, and nothing is made there."""
    from fanion.process.diagnosis import Finding

    if not config.archive.url:
        return
    told = how_archived(data, config)
    assert told is not None
    try:
        names = open_archive(config.archive.url, config).machines()
    except FanionError as error:
        yield Finding("archive", "bad", str(error), KEPT)
        return
    if told["conflicts"]:
        yield Finding("archive", "bad", f"conflict: {told['conflicts'][0]}", "nothing there is overwritten")
    elif told["failing"]:
        since = f" since {told['failing_since']}" if told.get("failing_since") else ""
        yield Finding("archive", "bad", f"failing{since}: {told['failing']}", KEPT)
    elif told["damaged"]:
        yield Finding("archive", "bad", told["damaged"], UNKNOWN_PLACES)
    elif lost := (told["lost_records"] or 0) + (told["gap_records"] or 0):
        advice = "they left the journal before, or the journal can't read them either"
        yield Finding("archive", "bad", f"{lost:,} records aren't in it", advice)
    else:
        there = f"{config.archive.url}: journals of {len(names):,} machines"
        yield Finding("archive", "ok", f"{there}; of this one {told['segments']:,} segments")


def how_archived(data: Path, config: Config) -> dict[str, Any] | None:
    """What is to be said of a directory's archive, read from files; None: there never was one, nor is to be."""
    from fanion.archive import READER
    from fanion.archive.archiver import waiting_segments
    from fanion.archive.state import load_state
    from fanion.journal.gaps import load_gaps
    from fanion.journal.reader import JournalReader, list_checkpoints
    from fanion.journal.storage import Storage
    from fanion.model.canonical import iso_from_ns

    storage, journal = Storage(), data / "journal"
    state = load_state(storage, data)
    told: dict[str, Any] = {
        "archive": config.archive.url or None,
        "segments": state.segments,
        "records": state.records,
        "bytes": state.bytes,
        "archived_at": iso_from_ns(int(state.archived_unix_s * 1e9)) if state.archived_unix_s else None,
        "failing": state.failing or None,
        "failing_since": iso_from_ns(int(state.failing_since_unix_s * 1e9)) if state.failing else None,
        "conflicts": state.conflicts,
        "damaged": state.damaged or None,
        "lost_records": state.lost_records,
        "gap_records": None,
        "waiting_segments": None,
    }
    try:
        checkpoint = list_checkpoints(storage, journal).get(READER)
        if checkpoint is None and not config.archive.url:
            return None
        if checkpoint is not None:
            reader = JournalReader(data, storage=storage)
            told["waiting_segments"] = waiting_segments(reader, storage, checkpoint.next_sequence)
            told["gap_records"] = load_gaps(storage, journal, READER).records
    except JournalError as error:
        told["failing"] = told["failing"] or str(error)
    return told


def shown(told: dict[str, Any]) -> str:
    """`how_archived` in a line."""
    line = f"log segments to {told['archive'] or 'no archive any more'}: {told['segments']:,} archived, the last "
    line += f"at {told['archived_at'] or 'no time yet'}"
    if told["waiting_segments"]:
        line += f"; {told['waiting_segments']:,} finished ones wait"
    if told["lost_records"]:
        line += f"; {told['lost_records']:,} records of them the journal could not read"
    if told["gap_records"]:
        line += f"; {told['gap_records']:,} left the journal before they were archived"
    if told["damaged"]:
        line += f"; {told['damaged']}"
    if told["conflicts"]:
        line += f"; conflict: {told['conflicts'][0]}"
    return f"{line}; failing since {told['failing_since']}: {told['failing']}" if told["failing"] else line
