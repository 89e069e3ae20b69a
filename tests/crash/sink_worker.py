"""Runs a sink and kills it, again and again: `python -m tests.crash.sink_worker DIRECTORY NAME ROUNDS SEED`.

Every round forks a process that serves the sink in small steps, adds to the journal, and kills the process a moment
after the place has moved a few times; the last one ends by itself. It prints how often the place moved in all. What
the sink imports is imported once, so that a kill finds it at work and not at its start.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from pathlib import Path

from fanion.config.loading import load_config
from fanion.dialects import canonical_forms, vocabulary
from fanion.journal import log_segment
from fanion.journal.storage import Storage
from fanion.sinks import missing_libraries
from fanion.sinks.service import Service
from fanion.sinks.sink import Sink
from fanion.sinks.state import load_state
from tests.crash.killed import Never, forked, kill
from tests.unit.pipeline_world import Journal

STEP_ROWS = 20
STEPS_MAX = 4
MOMENT_S = 0.03
WAIT_S = 20.0
FIRST, EACH = 40, 30
"""Requests of two events in the journal at first, and more twice a round."""
log_segment.WINDOW_BYTES = 2_048


def serve(directory: Path, name: str, once: bool) -> None:
    config = load_config(vocabulary())

    def make(turn: object = None) -> Sink:
        given = {"map_bytes": 1 << 20, "step_rows": STEP_ROWS}
        return Sink(directory, name, config.sinks, canonical_forms(), **given)  # type: ignore[arg-type]

    if once:
        with make() as sink:
            sink.run_once()
        return
    Service(name, config.sinks, make).run(Never())  # type: ignore[arg-type]


def wait_for(directory: Path, name: str, steps: int) -> None:
    """Until the place has moved so often, or there was time for it."""
    before = load_state(Storage(), directory, name).steps
    deadline = time.monotonic() + WAIT_S
    while load_state(Storage(), directory, name).steps < before + steps and time.monotonic() < deadline:
        time.sleep(0.002)


def main(directory: Path, name: str, rounds: int, draw: random.Random) -> int:
    for module in {
        "parquet": ("obstore.store", "pyarrow.parquet", "pyarrow.compute"),
        "kafka": ("confluent_kafka",),
    }.get(name, ()):
        importlib.import_module(module)
    assert not missing_libraries(name)
    journal = Journal(directory)

    def fill(count: int) -> None:
        for n in range(count):
            journal.append(["prod", "test/ö"][n % 2], day=n % 40 // 35)

    fill(FIRST)
    for _ in range(rounds):
        fill(EACH)
        pid = forked(lambda: serve(directory, name, once=False))
        wait_for(directory, name, draw.randrange(STEPS_MAX + 1))
        fill(EACH)
        time.sleep(draw.uniform(0, MOMENT_S))
        kill(pid)
    assert os.waitpid(forked(lambda: serve(directory, name, once=True)), 0)[1] == 0
    print(load_state(Storage(), directory, name).steps)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))))
