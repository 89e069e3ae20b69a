"""Ships a journal and is killed, again and again: `python -m tests.crash.ship_worker DIRECTORY URL ROUNDS SEED`.

Every round forks a process that ships, adds to the journal, and kills the process a moment after the ledger has
grown; the last one ends by itself. It prints how many blocks were sent in all.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import nats.js.api
import nats.js.kv
import nats.js.object_store

from fanion.config.shipping import Shipping
from fanion.journal import log_segment
from fanion.journal.storage import Storage
from fanion.nats.connection import Access
from fanion.shipping import flight
from fanion.shipping.service import Service
from fanion.shipping.shipper import Shipper
from fanion.shipping.state import load_state
from tests.crash.killed import Never, forked, kill
from tests.crash.receivers import ANSWER_TIMEOUT_S
from tests.unit.shipping_world import Journal

EACH = 25
WAIT_S = 3.0
MOMENT_S = 0.05
log_segment.WINDOW_BYTES = 2_048
flight.AT_ONCE = flight.AT_ONCE_FIRST = 3  # type: ignore[attr-defined, misc]
assert nats.js.api  # imported once, so that a kill finds it at work and not at its start


def serve(directory: Path, settings: Shipping, once: bool) -> None:
    def make(turn: object = None) -> Shipper:
        return Shipper(directory, settings, Access())

    if once:
        with make() as made:
            made.run_once()
            made.run_once()
        return
    Service(settings, make).run(Never())  # type: ignore[arg-type]


def main(directory: Path, url: str, rounds: int, draw: random.Random) -> int:
    settings = Shipping(url=url, interval_s=0.05, check_s=0.2, timeout_s=ANSWER_TIMEOUT_S)
    journal = Journal(directory)

    def fill() -> None:
        for _ in range(EACH):
            journal.append(draw.randrange(2), 1, size=draw.choice([100, 3_000]))
        journal.begin(draw.randrange(2))

    fill()
    for _ in range(rounds):
        pid = forked(lambda: serve(directory, settings, once=False))
        before = load_state(Storage(), directory).blocks
        fill()
        wanted, deadline = draw.randrange(1, 12), time.monotonic() + WAIT_S
        while load_state(Storage(), directory).blocks < before + wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, MOMENT_S))
        kill(pid)
    assert os.waitpid(forked(lambda: serve(directory, settings, once=True)), 0)[1] == 0
    print(load_state(Storage(), directory).blocks)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))))
