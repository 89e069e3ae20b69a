"""A publisher killed at any moment leaves the old generation or the new one, never a mixture."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from fanion.store.store import Store
from fanion.store.verify import verify
from tests.rounds import rounds

KILLS = rounds(8, 25)

PUBLISHER = """
import sys
from pathlib import Path
from fanion.store.publication import Publication
from fanion.store.store import Store
from fanion.model.api_key import KeyRecord, hash_key

data, round_number = Path(sys.argv[1]), int(sys.argv[2])
with Store.open(data, create=True) as store:
    print("ready", flush=True)
    for step in range(10_000):
        text = b"%d.%d;" % (round_number, step)
        names = ["a", "b", "c"]
        number = store.publish(Publication(
            bundles={name: text * 2_000 for name in names},
            keys={
                hash_key(name.encode()): KeyRecord(
                    id=text.decode(), environment=name, organisation="o", kind="server"
                ) for name in names
            },
            definitions={"source": text},
            lists={"a": {"l": [text + b"%d" % n for n in range(20)]}},
        ))
        print(number, text.decode(), flush=True)
"""


def test_publisher_killed_at_random_moments_leaves_one_whole_generation(tmp_path: Path) -> None:
    seed = int(os.environ.get("FANION_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = tmp_path / "data"
    seen = 0
    for round_number in range(KILLS):
        command = [sys.executable, "-c", PUBLISHER, str(data), str(round_number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(chance.randrange(6)):
                child.stdout.readline()
            for _ in range(chance.randrange(200_000)):  # somewhere within the next publish or two
                pass
            child.send_signal(signal.SIGKILL)
            acknowledged = [line for line in child.stdout.read().splitlines() if line.endswith(";")]
        seen = check_whole(data, seen, acknowledged)
    assert verify(data / "store", deep=True) is None


def check_whole(data: Path, seen: int, acknowledged: list[str]) -> int:
    """Every part of the store is of one publish, nothing acknowledged is gone, and reading works at once."""
    with Store.open(data, write=True) as store:
        pinned = store.pin()
        number = pinned.number
        assert number >= seen
        if acknowledged:
            assert number >= int(acknowledged[-1].split()[0])
        if number:
            texts = {bytes(pinned.bundle(name) or b"") for name in pinned.environments()}
            assert len(texts) == 1
            text = texts.pop().partition(b";")[0] + b";"
            assert all(key.record.id == text.decode() for key in pinned.stored_keys())
            assert pinned.definitions("a") == {"source": text}
            assert all(pinned.member("a", "l", text + b"%d" % n) for n in range(20))
        pinned.release()
        assert store.word.load() >= number
        store.check_readers()
    return number
