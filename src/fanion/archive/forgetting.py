"""A unit leaves an archive: each object of this journal's machine that holds it is written anew in its place.

The archiver stands aside meanwhile, also while the journal's own segments are written anew (`holding_archive`), so
that it copies nothing from before. Every object is fetched and read: where the person isn't, nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fanion.archive import DIRECTORY
from fanion.archive.bucket import Bucket
from fanion.archive.packed import head_of, make_object, parse_object
from fanion.errors import ArchiveError, JournalError
from fanion.journal.files import random_name
from fanion.journal.forgetting import Forgotten, rewrite_segment
from fanion.journal.log_segment import PAGE, Segment, parse_header
from fanion.journal.packing import pack_segment
from fanion.journal.storage import Storage, write_all
from fanion.model.canonical import Canonical
from fanion.model.forgotten import Forms

POLL_S: Final = 0.05


class ForgottenObjects(msgspec.Struct):
    """`unreached`: objects that could not be read or replaced, and why."""

    objects: int = 0
    rewritten: int = 0
    events: int = 0
    redacted: int = 0
    unreached: list[str] = []


def forget_in_archive(
    storage: Storage,
    data: Path,
    bucket: Bucket,
    machine: str,
    forms: Forms,
    canonical: Mapping[str, Canonical],
    *,
    dry: bool,
    turn: Callable[[], None] = lambda: None,
) -> ForgottenObjects:
    """`dry`: only counts. Raises ArchiveError where the archive can't be listed."""
    found = ForgottenObjects()
    storage.make_directory(data / DIRECTORY)
    _remove_drafts(storage, data / DIRECTORY)
    for name in bucket.names(machine):
        turn()
        found.objects += 1
        try:
            _forget(storage, data / DIRECTORY, bucket, machine, name, forms, canonical, dry, found)
        except (ArchiveError, JournalError) as error:
            found.unreached.append(f"{bucket.url}/{machine}/segments/{name} may hold the person: {error}")
    _remove_drafts(storage, data / DIRECTORY)
    return found


def _forget(
    storage: Storage,
    directory: Path,
    bucket: Bucket,
    machine: str,
    name: str,
    forms: Forms,
    canonical: Mapping[str, Canonical],
    dry: bool,
    found: ForgottenObjects,
) -> None:
    head, content = parse_object(bucket.get(machine, name), name)
    header = parse_header(bytes(content[:PAGE]))
    if header is None:
        raise ArchiveError("it holds no segment")
    path = directory / f"forget-{random_name(storage)}.tmp"
    fd = storage.open(path, create=True)
    try:
        write_all(storage, fd, content, 0)
    finally:
        storage.close(fd)
    segment, erased = Segment(path, header), Forgotten()
    rewrite_segment(storage, segment, head.next, forms, canonical, erased)
    found.events += erased.events
    found.redacted += erased.redacted
    found.rewritten += erased.rewritten
    if erased.rewritten and not dry:
        packed = pack_segment(storage, segment, head.next)
        fresh = make_object(head_of(packed), packed.content)
        bucket.replace(machine, name, fresh)
        if bucket.get(machine, name) != fresh:
            raise ArchiveError("it was written without, and reads back differently; give this again")
    storage.unlink(path)
    if erased.unwritable:
        raise ArchiveError(erased.unwritable[0])


@contextmanager
def holding_archive(storage: Storage, data: Path, wait_s: float) -> Iterator[None]:
    """No archiver copies anything meanwhile. ArchiveError where it doesn't let go in time."""
    directory = data / DIRECTORY
    if not directory.is_dir():
        yield
        return
    turn, busy = (storage.open(directory / name, create=True) for name in ("turn", "busy"))
    try:
        deadline = storage.now() + int(wait_s * 1e9)
        for fd in (turn, busy):
            while not storage.lock(fd):
                if storage.now() >= deadline:
                    raise ArchiveError(
                        f"{directory}: the archiver has not let go in {wait_s:g} s; run this again"
                    )
                storage.sleep(POLL_S)
        yield
    finally:
        storage.close(busy)
        storage.close(turn)


def _remove_drafts(storage: Storage, directory: Path) -> None:
    for name in storage.list_directory(directory):
        if name.endswith(".tmp") and not name.startswith("state"):
            with contextlib.suppress(FileNotFoundError):
                storage.unlink(directory / name)
