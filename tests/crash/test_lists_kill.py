"""A command that changes a list, killed at any moment, leaves the old members or the new ones, and counts right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from fanion.store.publication import Publication
from fanion.store.store import Store
from fanion.store.verify import verify
from tests.rounds import rounds

KILLS = rounds(6, 20)
MEMBERS = 2_000

CHANGER = """
import sys
from pathlib import Path
from fanion.store import lists
from fanion.store.list_writer import ListWriter
from fanion.store.store import Store

lists.ROWS_IN_MEMORY, lists.READ_AT_ONCE, lists.BYTES_PER_TRANSACTION = 500, 100, 4_000
lists.BLOCK_BYTES_MAX, lists.BLOCK_BYTES_WRITTEN, lists.BLOCK_BYTES_MERGED = 600, 400, 200
data, round_number, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Store.open(data, write=True) as store:
    writer = ListWriter(store.transactions)
    print("ready", flush=True)
    for step in range(10_000):
        tag = b"%d.%d;" % (round_number, step)
        writer.replace("env", "l", (tag + b"%d" % n for n in range(count)))
        writer.add("env", "l", [tag + b"more"])
        writer.remove("env", "l", [tag + b"0"])
        print(step, flush=True)
"""


def test_change_killed_at_random_moments_leaves_one_whole_list(tmp_path: Path) -> None:
    seed = int(os.environ.get("FANION_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = tmp_path / "data"
    with Store.open(data, create=True) as store:
        members = [b"0.0;%d" % n for n in range(MEMBERS)]
        store.publish(Publication(bundles={"env": b"x"}, lists={"env": {"l": members}}))
    for round_number in range(KILLS):
        command = [sys.executable, "-c", CHANGER, str(data), str(round_number), str(MEMBERS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(chance.randrange(3)):
                child.stdout.readline()
            for _ in range(chance.randrange(2_000_000)):  # somewhere within the next change or two
                pass
            child.send_signal(signal.SIGKILL)
        check_whole(data)


def check_whole(data: Path) -> None:
    assert verify(data / "store", deep=True) is None
    with Store.open(data) as store:
        pinned = store.pin()
        found = set(pinned.members("env", "l"))
        assert pinned.manifest.environments["env"].lists["l"].count == len(found)
        (tag,) = {member.partition(b";")[0] for member in found}
        numbers = {member.partition(b";")[2] for member in found}
        rest = {b"%d" % n for n in range(1, MEMBERS)}
        assert numbers in (rest | {b"0"}, rest | {b"0", b"more"}, rest | {b"more"}), tag
        assert all(pinned.member("env", "l", member) for member in found)
        pinned.release()
    assert not [path for path in (data / "store").iterdir() if path.suffix == ".tmp"]
