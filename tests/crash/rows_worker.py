"""Makes rows of a stream, killed again and again: `python -m tests.crash.rows_worker DIRECTORY URL ROUNDS SEED`.

Every round forks a process that makes rows in small steps, while three machines ship what is new, and kills it a
moment after the manifest moved a few times; the last one ends by itself. It prints how often it moved in all.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from fanion.config.shipping import Shipping
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import load_manifest
from fanion.pipeline.parquet import arrow
from fanion.shipping.rows import Service
from tests.crash.killed import Never, forked, kill
from tests.crash.receivers import ANSWER_TIMEOUT_S
from tests.unit.downstream_world import Machines, rows_of

WAIT_S = 5.0
MOMENT_S = 0.05
EACH = 12
arrow()  # imported once, so that a kill finds it at work and not at its start


def main(directory: Path, url: str, rounds: int, draw: random.Random) -> int:
    settings = Shipping(url=url, check_s=0.2, timeout_s=ANSWER_TIMEOUT_S)
    machines = Machines.at(directory, settings)

    def serve(*, once: bool = False) -> None:
        if once:
            with machines.downstream() as made:
                made.run_once()
            return
        make = lambda pace: rows_of(machines.directory, settings, pace=pace, step_rows=5)  # noqa: E731
        Service(settings, make).run(Never())  # type: ignore[arg-type]

    def fill() -> None:
        for machine in machines.all:
            machine.fill(draw, EACH, draw.choice([100, 3_000, 40_000]))
            machine.ship()

    def step() -> int:
        return load_manifest(Storage(), machines.directory / "rows").step

    fill()
    for _ in range(rounds):
        pid = forked(serve)
        before, wanted, deadline = step(), draw.randrange(1, 8), time.monotonic() + WAIT_S
        fill()
        while step() < before + wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, MOMENT_S))
        kill(pid)
    assert os.waitpid(forked(lambda: serve(once=True)), 0)[1] == 0
    print(step())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))))
