"""What a session runs: commands, at length and briefly, and what they need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.engines.environments import ENGINES

PYTHON: Final = (sys.executable, "-m")
PYTEST: Final = "pytest"


class Run(NamedTuple):
    """One command of a round. `quick`: the arguments of a brief one, in the place of `arguments`; `needs`: programs
    and variables without which it is left out, and named; `once`: in the first round alone: it takes minutes."""

    name: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    once: bool = False

    def command(self, *, quick: bool) -> list[str]:
        return [*PYTHON, *(self.quick if quick else self.arguments)]

    def lacks(self) -> list[str]:
        return [one for one in self.needs if shutil.which(one) is None and one not in os.environ]


def bench(
    name: str,
    module: str,
    full: str = "",
    quick: str = "",
    *needs: str,
    pinned: bool = False,
    once: bool = False,
) -> Run:
    environment = {"BENCH_PIN": "1"} if pinned else {}
    module = f"bench.{module}"
    return Run(name, (module, *full.split()), (module, *quick.split()), needs, environment, once)


WRK: Final = "wrk"
NODE: Final = ("node", "FLAGD_NODE_MODULES")

LONG, SHORT = "--rounds 1 --seconds 2", "--rounds 1 --seconds 1"
DECIDING: Final = (PYTEST, "-q", "bench/bench_evaluate.py")
RUNS: Final = (
    Run("deciding, in process", DECIDING, (*DECIDING, "-k", "1000 and not 100000")),
    bench("one flag, from Python", "in_process", "--rounds 9", "--rounds 3 --calls 500"),
    *(
        bench(f"engine: {name}", "engines", name, f"{name} --quick", *engine.needs)
        for name, engine in ENGINES.items()
    ),
    bench("cost against size", "curves", "", "--quick"),
    bench("interfaces, do-nothing app, Node", "interfaces", "--rounds 1 --seconds 2",
          "--rounds 1 --seconds 1 --only pinned --cases 304", WRK, *NODE),
    bench("Feather over HTTP", "http_ratio", LONG, SHORT, WRK),
    bench("Feather over HTTP, pinned", "http_ratio", LONG, SHORT, WRK, pinned=True),
    bench("Red Pennon over HTTP", "redpennon_ratio", LONG, SHORT, WRK),
    bench("Traffical over HTTP", "traffical_ratio", LONG, SHORT, WRK),
    bench("steady rates", "steady", "--seconds 10", "--seconds 1"),
    bench("events to disk", "journal_latency", "--seconds 8", "--smoke"),
    bench("events to disk beside the pipeline", "pipeline_latency", "--rounds 1 --seconds 8",
          "--rounds 1 --seconds 1 --highest 50 --rest 0"),
    bench("exposures", "exposures", "--rounds 15 --units", "--rounds 3 --units"),
    bench("rows of events", "rows", "--events 3000000 --rounds 1", "--events 30000 --rounds 1"),
    bench("results", "results", "--rounds 1", "--events 100000 --rounds 1"),
    bench("the console, open in ten browsers", "console", "--rounds 2 --seconds 3", SHORT,
          WRK, "node", "CONSOLE_NODE_MODULES", "OPENFEATURE_BROWSER", once=True),
    bench("the worst bodies", "nasty", "--rounds 1 --rows 5", "--rounds 1 --rows 5 --only list-check", once=True),
    bench("a change over a million units", "preview", "", "--units 10000"),
    bench("publishing 10,000 flags", "publish", "--flags 10000 --rounds 1", "--flags 500 --rounds 1"),
    bench("publishing 50,000 flags", "publish", "--flags 50000 --rounds 1", "--flags 1000 --rounds 1"),
    bench("lists", "bench_lists", "", "--sizes 1000", once=True),
    bench("keys made and revoked", "keys", "--rounds 1", "--keys 100 --rounds 1 --changes 20", WRK, once=True),
    bench("memory and start", "footprint", "--starts 1", "--starts 1 --flags 500"),
    bench("while NATS is away", "outage", "", "--rounds 1 --seconds 1", "NATS_SERVER", once=True),
    Run("kill -9", ("loadtest.crash", "--rounds", "20"), ("loadtest.crash", "--rounds", "1"), once=True),
)  # fmt: skip

ROOT: Final = Path(__file__).parents[2]
