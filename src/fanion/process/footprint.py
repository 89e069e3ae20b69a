"""What a data directory takes on its disk, by whom, and what each of them can grow to.

Read from names and sizes alone, beside a running server or without one. What is allocated counts, not a file's
length: the windows of event ids have their last length from the start, and blocks as they grow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from fanion.config import Config
from fanion.journal.settings import JournalSettings

BLOCK_BYTES = 512
LIMITER_SLOT_BYTES = 16
MARK_BYTES = 8


class Part(NamedTuple):
    """One line of `fanion doctor`."""

    what: str
    files: int
    taken_bytes: int
    grows_to: int | None
    """Bytes; None: no bound of its own, `note` says what it follows."""
    note: str


class _File(NamedTuple):
    path: str
    taken: int
    length: int


class _Rule(NamedTuple):
    what: str
    patterns: tuple[str, ...]
    grows_to: int | None
    note: str


def footprint(directory: Path, config: Config, workers: int) -> list[Part]:
    """Every file of the directory in one part, in a fixed order. `workers`: as many as a server would start. Raises
    OSError where the directory can't be read."""
    found = list(_files(directory))
    rules = _rules(config, workers, {file.path: file.length for file in found})
    owned: list[list[_File]] = [[] for _ in rules]
    for file in found:
        fits = (any(fnmatchcase(file.path, pattern) for pattern in rule.patterns) for rule in rules)
        owned[list(fits).index(True)].append(file)
    parts = []
    for rule, own in zip(rules, owned, strict=True):
        taken = sum(file.taken for file in own)
        grows_to = None if rule.grows_to is None else max(rule.grows_to, taken)
        parts.append(Part(rule.what, len(own), taken, grows_to, rule.note))
    return parts


def _rules(config: Config, workers: int, lengths: dict[str, int]) -> list[_Rule]:
    """The first that fits takes a file."""
    journal = JournalSettings.taken_from(config.journal)
    kept = journal.retention_bytes
    ready = workers * (1 + journal.ready_segments) * journal.segment_bytes
    pool = journal.pool_segments * journal.segment_bytes
    ids, traces, metrics = "shared/window-ids", "shared/window-replays", "shared/metrics"
    return [
        _Rule("store, its copy", ("store/*",), 2 * config.store.map_bytes, "store.map_bytes, twice"),
        _Rule(
            "accepted events",
            ("journal/*.log", "journal/*.zst"),
            kept + ready if kept else None,
            f"journal.retention_bytes, and {1 + journal.ready_segments} segments a worker"
            if kept
            else "journal.retention_hours",
        ),
        _Rule(
            "segments to recycle",
            ("journal/*.free", "journal/*.tmp"),
            pool,
            f"{journal.pool_segments} of journal.segment_bytes",
        ),
        _Rule("rows of events", ("rows/*",), None, "`fanion pipeline`, where it runs; its own settings"),
        _Rule(
            "rings",
            ("journal/*.ring",),
            workers * journal.ring_bytes,
            "journal.ring_bytes a worker; as many as ever ran at a time",
        ),
        _Rule(
            "event ids",
            (ids,),
            lengths.get(ids),
            "journal.event_ids, of up to 16 tenants; grows as they come",
        ),
        _Rule(
            "used traces",
            (traces,),
            lengths.get(traces),
            "journal.used_traces, of up to 16 tenants; grows as they come",
        ),
        _Rule(
            "active users",
            ("shared/active/*",),
            None,
            "up to 48 bytes a user of each organisation with a cap, for two months",
        ),
        _Rule(
            "request rates",
            ("shared/limiter",),
            LIMITER_SLOT_BYTES * config.limiter.slots,
            "limiter.slots; whole from the start",
        ),
        _Rule(
            "marks of exposures",
            ("shared/exposures",),
            MARK_BYTES * config.exposures.marks,
            "exposures.marks; whole from the start",
        ),
        _Rule("metrics", (metrics,), lengths.get(metrics), "whole from the start"),
        _Rule("others", ("*",), None, "keys, marks and locks: small"),
    ]


def _files(directory: Path) -> Iterator[_File]:
    for folder, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):  # a server removes and renames meanwhile
                found = path.lstat()
                place = path.relative_to(directory).as_posix()
                yield _File(place, found.st_blocks * BLOCK_BYTES, found.st_size)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
