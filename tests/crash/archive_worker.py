"""Archives a journal and restores it, killed again and again:
`python -m tests.crash.archive_worker DIRECTORY URL ROUNDS SEED`, the bucket's access in `FANION_PLACES_*`.

Every round forks a process that archives, adds to the journal, has retention take what may leave, and kills the
process a moment after the archive has grown; the last one ends by itself. Then as many that restore are killed,
until one ends. It checks that the restored journal has every record that ever was, once, and prints how often each
was killed and how many records there were.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import msgspec
import obstore

from fanion.archive.archiver import Archiver
from fanion.archive.bucket import Bucket
from fanion.archive.restoring import Restoring, choose_machine
from fanion.archive.service import Service
from fanion.archive.state import load_state
from fanion.config.archive import Archive
from fanion.config.loading import load_config
from fanion.dialects import vocabulary
from fanion.journal.log_segment import list_segments
from fanion.journal.reader import JournalReader
from fanion.journal.retention import run_pass
from fanion.journal.storage import Storage
from tests.crash.killed import Never, forked, kill
from tests.unit.archive_world import SETTINGS, EventJournal
from tests.unit.shipping_world import Records, records_of

EACH = 12
WAIT_S = 20.0
MOMENT_S = 0.05
RETAINED = msgspec.structs.replace(SETTINGS, retention_bytes=1)
"""All that the archive has may leave at once."""
assert obstore.put  # imported once, so that a kill finds it at work and not at its start


class Killings:
    """Of one journal and archive."""

    def __init__(self, directory: Path, url: str, draw: random.Random) -> None:
        self.data, self.into = directory / "data", directory / "restored"
        self.draw = draw
        self.places = load_config(vocabulary()).places
        self.settings = Archive(url=url, interval_s=0.05, timeout_s=20)
        self.journal = EventJournal(self.data)
        self.all: Records = {}

    def fill(self) -> None:
        for _ in range(EACH):
            self.journal.append(self.draw.randrange(2), 1, size=self.draw.choice([200, 40_000]))
        self.journal.begin(self.draw.randrange(2))
        self.all |= self.journal.records()  # before anything leaves

    def serve(self) -> None:
        def make(turn: object = None) -> Archiver:
            return Archiver(self.data, self.settings, self.places)

        Service(self.settings, make).run(Never())  # type: ignore[arg-type]

    def archive(self, rounds: int) -> int:
        self.fill()
        killed = 0
        for _ in range(rounds):
            before = load_state(Storage(), self.data).segments
            pid = forked(self.serve)
            self.fill()
            wanted, deadline = self.draw.randrange(3), time.monotonic() + WAIT_S
            while load_state(Storage(), self.data).segments < before + wanted and time.monotonic() < deadline:
                time.sleep(0.002)
            run_pass(Storage(), self.data / "journal", RETAINED)
            time.sleep(self.draw.uniform(0, MOMENT_S))
            kill(pid)
            killed += 1
        for writer in (0, 1):
            self.journal.begin(writer)
        assert os.waitpid(forked(self.archive_whole), 0)[1] == 0
        assert run_pass(Storage(), self.data / "journal", RETAINED) is not None
        return killed

    def archive_whole(self) -> None:
        """As every use of the store in a process of its own: its library has threads, which no fork takes along."""
        with Archiver(self.data, self.settings, self.places) as archiver:
            archiver.run_once()
            assert archiver.stands().gap_records == 0
            assert archiver.stands().waiting_segments == 0

    def restore(self) -> None:
        self.into.mkdir(exist_ok=True)
        storage, bucket = Storage(), Bucket(self.settings.url, self.places, self.settings.timeout_s)
        machine = choose_machine(bucket, storage, self.into, "")
        restoring = Restoring(storage, self.into, SETTINGS, bucket, machine)
        for _ in restoring:
            pass
        assert restoring.found.problems == []

    def restore_killed(self, rounds: int) -> int:
        killed = 0
        for _ in range(rounds):
            pid = forked(self.restore)
            before, deadline = self._restored(), time.monotonic() + WAIT_S
            ended = 0
            while (
                not ended
                and self._restored() <= before + self.draw.randrange(2)
                and time.monotonic() < deadline
            ):
                time.sleep(0.002)
                ended = os.waitpid(pid, os.WNOHANG)[0]
            time.sleep(self.draw.uniform(0, MOMENT_S / 5))
            if ended or not kill(pid, may_end=True):
                break  # it had restored all
            killed += 1
        assert os.waitpid(forked(self.restore), 0)[1] == 0
        return killed

    def _restored(self) -> int:
        journal = self.into / "journal"
        return len(list_segments(Storage(), journal)[0]) if journal.is_dir() else 0


def main(directory: Path, url: str, rounds: int, draw: random.Random) -> int:
    killings = Killings(directory, url, draw)
    archived, restored = killings.archive(rounds), killings.restore_killed(rounds)
    found: Records = {}
    for batch in JournalReader(killings.into).read_batches():
        new = records_of(batch)
        assert not found.keys() & new.keys(), "twice"
        found |= new
    assert found == killings.all, f"{len(killings.all.keys() - found.keys())} of {len(killings.all)} are lost"
    left = len(killings.journal.records())
    print(f"{archived} {restored} {len(found)} {left}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))))
