"""A journal, an archive of it in a folder or a bucket, and the directories that it is restored into."""

from __future__ import annotations

import json
import random
import secrets
from pathlib import Path
from typing import Any

import pytest

from fanion.archive.archiver import Archiver
from fanion.archive.bucket import Bucket
from fanion.archive.restoring import Restored, Restoring, choose_machine
from fanion.config.archive import Archive
from fanion.config.places import Places
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from tests.unit.shipping_world import MACHINE, Journal

SETTINGS = JournalSettings(segment_bytes=65_536, clock_trust_hours=0.0)
ID = MACHINE.hex()


def need_library() -> None:
    pytest.importorskip("obstore")


class EventJournal(Journal):
    """Whose requests have two events each that have rows; its machine has its file, as a server's has."""

    def __init__(self, directory: Path, machine: bytes = MACHINE) -> None:
        super().__init__(directory, machine)
        (directory / "journal" / "machine").write_text(machine.hex() + "\n")

    def body(self, size: int) -> bytes:
        rule = secrets.token_hex(size // 2)
        return json.dumps([{"flagKey": f"f{n}", "ruleId": rule} for n in range(2)]).encode()

    def fill(self, draw: random.Random, requests: int, size: int = 200) -> None:
        """Over two writers, in segments that end now and then."""
        for _ in range(requests):
            writer = draw.randrange(2)
            if draw.random() < 0.2:
                self.begin(writer)
            self.append(writer, 1, size=size)

    def finish(self) -> None:
        """What was appended is in finished segments."""
        for writer in (0, 1):
            self.begin(writer)


class World:
    """`url`: of the archive, a folder where none is given. `places`: how it is reached."""

    def __init__(self, directory: Path, url: str = "", places: Places | None = None, **settings: Any) -> None:
        self.directory = directory
        self.journal = EventJournal(directory / "data")
        self.url = url or f"file://{directory / 'archive'}"
        self.places = places or Places()
        self.settings = Archive(url=self.url, **settings)

    @property
    def data(self) -> Path:
        return self.journal.directory

    def archiver(self, **given: Any) -> Archiver:
        return Archiver(self.data, self.settings, self.places, **given)

    def archive(self, **given: Any) -> int:
        with self.archiver(**given) as archiver:
            return archiver.run_once()

    def bucket(self) -> Bucket:
        return Bucket(self.url, self.places, 30.0)

    def objects(self) -> dict[str, bytes]:
        bucket = self.bucket()
        return {name: bucket.get(ID, name) for name in bucket.names(ID)}

    def path_of(self, name: str) -> Path:
        """Of a folder."""
        return self.directory / "archive" / ID / "segments" / name

    def restoring(self, into: Path, storage: Storage | None = None, machine: str = "") -> Restoring:
        system, bucket = storage or Storage(), self.bucket()
        into.mkdir(exist_ok=True)
        return Restoring(system, into, SETTINGS, bucket, choose_machine(bucket, system, into, machine))

    def restore(self, into: Path) -> Restored:
        restoring = self.restoring(into)
        for _ in restoring:
            pass
        return restoring.found
