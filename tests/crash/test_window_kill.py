"""kill -9 of two workers at random moments, while clients send the same events to both until they are told that all
is safe: every event is in the journal exactly once (row D1)."""

from __future__ import annotations

import os
import random
import selectors
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fanion._core.window import siphash
from fanion.journal.reader import JournalReader
from fanion.journal.session import adopt
from fanion.journal.slot import list_slots
from fanion.journal.storage import Storage
from fanion.journal.window import IDS, load_key
from tests.crash.window_worker import SETTINGS, ids_of, scope_of
from tests.rounds import rounds

BATCHES = rounds(500, 2_000, "WINDOW_KILL_BATCHES")
WORKER = Path(__file__).with_name("window_worker.py")
IN_FLIGHT = 100
PIECE_BYTES = 1 << 16


class Client:
    """Sends every batch to one worker, and again to the one that takes its place, until it is told "ok"."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.missing = dict.fromkeys(range(BATCHES))
        self.answers = 0
        self.start()

    def start(self) -> None:
        self._sent: set[int] = set()
        self._rest = b""
        self.process = subprocess.Popen(
            [sys.executable, WORKER, self._directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self.answered = self.process.stdin, self.process.stdout
        self.send()

    def send(self) -> None:
        wanted = [
            batch for batch, _ in zip(self.missing, range(IN_FLIGHT), strict=False) if batch not in self._sent
        ]
        self._sent.update(wanted)
        self._to.write(b"".join(b"%d\n" % batch for batch in wanted))
        self._to.flush()

    def read(self) -> bool:
        """Takes the answers that are there. False: the worker's end."""
        piece = os.read(self.answered.fileno(), PIECE_BYTES)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            number, _, answer = line.partition(b" ")
            self._sent.discard(int(number))
            self.answers += 1
            if answer == b"ok":
                del self.missing[int(number)]
        return bool(piece)

    def end(self, *, killed: bool) -> None:
        if killed:
            self.process.kill()
        self._to.close()
        while self.read():
            pass
        self.answered.close()
        self.process.wait()


def kept(directory: Path) -> Counter[bytes]:
    """The id hashes that the journal holds, by how often."""
    storage = Storage()
    for writer in list_slots(storage, directory / "journal"):
        adopt(storage, directory / "journal", writer, SETTINGS)
    found: Counter[bytes] = Counter()
    for record in JournalReader(directory).read():
        for number, disposition in enumerate(record.dispositions):
            if disposition == 0:
                found[record.ids[16 * number : 16 * number + 16]] += 1
    return found


def expected(directory: Path) -> set[bytes]:
    key = load_key(Storage(), directory / "journal")
    found: set[bytes] = set()
    for batch in range(BATCHES):
        scope = siphash(key, scope_of(batch), wide=True)
        tenant = bytes(one ^ other for one, other in zip(scope[:3], scope[8:11], strict=True))
        for id in ids_of(batch):
            hash = siphash(scope, str(id).encode(), wide=True)
            found.add(tenant[:1] + hash[1:8] + tenant[1:] + hash[10:])
    return found


@pytest.mark.slow
@pytest.mark.timeout(300 + BATCHES // 10)
@pytest.mark.parametrize("lose_window", [False, True], ids=["window-kept", "window-lost"])
def test_events_sent_until_they_are_safe_are_kept_exactly_once(tmp_path: Path, lose_window: bool) -> None:
    seed = int(os.environ.get("WINDOW_KILL_SEED", str(random.randrange(1 << 30))))
    chosen = random.Random(seed)
    clients = [Client(tmp_path), Client(tmp_path)]
    kills = 0
    while any(client.missing for client in clients):
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.answered, selectors.EVENT_READ, client)
            stop_at = sum(client.answers for client in clients) + chosen.randrange(1, 600)
            while sum(client.answers for client in clients) < stop_at and any(c.missing for c in clients):
                for ready, _ in selector.select():
                    assert ready.data.read(), f"a worker ended by itself (seed {seed})"
                    ready.data.send()
        everything = chosen.random() < 0.3
        victims = clients if everything else [chosen.choice(clients)]
        for client in victims:
            client.process.kill()
        for client in victims:
            client.end(killed=True)
        if everything and lose_window:
            (tmp_path / "shared" / f"window-{IDS}").unlink()
        for client in victims:
            client.start()
        kills += len(victims)
    for client in clients:
        client.end(killed=False)
    print(f"seed {seed}: {kills} kills, {sum(client.answers for client in clients)} answers")
    found = kept(tmp_path)
    assert found.keys() == expected(tmp_path)
    assert {hash.hex(): count for hash, count in found.items() if count != 1} == {}
