"""What a session runs: commands, at length and briefly, and what they need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from bench.engines.environments import ENGINES

PYTHON: Final = (sys.executable, "-m")
PYTEST: Final = "pytest"


class Run(NamedTuple):
    """One command of a round. `quick`: the arguments of a brief one, in the place of `arguments`; `needs`:
    programs, variables and modules of `bench` without which it is left out, and named; `once`: in the first round
    alone; `limit_s`: then it is ended, with all that it started."""

    name: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    once: bool = False
    limit_s: float = 240.0

    def command(self, *, quick: bool) -> list[str]:
        return [*PYTHON, *(self.quick if quick else self.arguments)]

    def lacks(self) -> list[str]:
        return [one for one in self.needs if not _is_there(one)]


def _is_there(need: str) -> bool:
    if need.startswith("bench."):
        return find_spec(need) is not None
    return shutil.which(need) is not None or need in os.environ


def bench(
    name: str,
    module: str,
    full: str = "",
    quick: str = "",
    *needs: str,
    pinned: bool = False,
    once: bool = False,
    limit_s: float = 240.0,
) -> Run:
    environment = {"BENCH_PIN": "1"} if pinned else {}
    module = f"bench.{module}"
    return Run(name, (module, *full.split()), (module, *quick.split()), needs, environment, once, limit_s)


WRK, NATS = "wrk", "NATS_SERVER"
NODE: Final = ("node", "npm", "FLAGD_NODE_MODULES")

LONG, SHORT = "--rounds 1 --seconds 2", "--rounds 1 --seconds 1"
DECIDING: Final = (PYTEST, "-q", "bench/bench_evaluate.py")
RUNS: Final = (
    Run("deciding, in process", DECIDING, (*DECIDING, "-k", "1000 and not 100000")),
    bench("one flag, from Python", "in_process", "--rounds 9", "--rounds 3 --calls 500"),
    *(
        bench(f"engine: {name}", "engines", name, f"{name} --quick", *engine.needs)
        for name, engine in ENGINES.items()
    ),
    bench("interfaces, a core each", "interfaces", f"{LONG} --only pinned",
          f"{SHORT} --only pinned --cases 304", WRK, *NODE, limit_s=400),
    bench("interfaces, cores shared", "interfaces", f"{LONG} --only shared --bulks",
          f"{SHORT} --only shared --bulks", WRK, *NODE),
    bench("Feather's events over HTTP", "http_ratio", f"{LONG} --ingest", f"{SHORT} --ingest", WRK),
    bench("Feather's events over HTTP, pinned", "http_ratio", f"{LONG} --ingest", f"{SHORT} --ingest", WRK,
          pinned=True),
    bench("steady rates", "steady", "--seconds 10", "--seconds 1"),
    bench("events to disk", "journal_latency", "--seconds 8 --rest 5", "--smoke"),
    bench("events to disk beside the pipeline", "pipeline_latency", "--rounds 1 --seconds 8",
          "--rounds 1 --seconds 1 --highest 50 --rest 0"),
    bench("events to disk and replicated", "replicated", "--rounds 3", "--rounds 1 --requests 20",
          NATS, "bench.replicated"),
    bench("exposures", "exposures", "--rounds 15 --units", "--rounds 3 --units"),
    bench("rows of events", "rows", "--events 3000000 --rounds 1", "--events 30000 --rounds 1"),
    bench("results", "results", "--rounds 1", "--events 100000 --rounds 1"),
    bench("publishing 10,000 flags", "publish", "--flags 10000 --rounds 2", "--flags 500 --rounds 1"),
    bench("publishing 10,000 flags, all changed", "publish", "--flags 10000 --rounds 2 --whole",
          "--flags 500 --rounds 1 --whole"),
    bench("publishing 50,000 flags", "publish", "--flags 50000 --rounds 1", "--flags 1000 --rounds 1"),
    bench("publishing 50,000 flags, all changed", "publish", "--flags 50000 --rounds 1 --whole",
          "--flags 1000 --rounds 1 --whole"),
    bench("a publish under load", "seen", "--changes 10", "--changes 2 --flags 500"),
    bench("a publish on three machines", "places", "--changes 40", "--changes 3 --servers 1", NATS),
    bench("shipping", "shipping", "--megabytes 130", "--megabytes 20 --rounds 1", NATS),
    bench("memory and start", "footprint", "--starts 3", "--starts 1 --flags 500"),
    bench("a change over a million units", "preview", "", "--units 10000", once=True),
    bench("cost against size", "curves", "", "--quick", once=True),
    bench("cost against workers", "workers", "--rounds 2", "--workers 1 2 --rounds 1 --seconds 1", WRK, once=True),
    bench("Red Pennon over HTTP", "redpennon_ratio", LONG, SHORT, WRK, once=True),
    bench("Traffical over HTTP", "traffical_ratio", LONG, SHORT, WRK, once=True),
    bench("a publish on three machines that poll", "places", "--poll --changes 5", "--poll --changes 2", once=True),
    bench("the console, open in ten browsers", "console", "--rounds 2 --seconds 3", SHORT,
          WRK, "node", "CONSOLE_NODE_MODULES", "OPENFEATURE_BROWSER", once=True),
    bench("lists", "bench_lists", "", "--sizes 1000", once=True, limit_s=400),
    bench("keys made and revoked", "keys", "--rounds 1", "--keys 100 --rounds 1 --changes 20", WRK, once=True),
    bench("while NATS is away", "outage", "--rounds 2 --seconds 5", "--rounds 1 --seconds 1", NATS, once=True),
    Run("kill -9", ("loadtest.crash", "--rounds", "100"), ("loadtest.crash", "--rounds", "1"),
        once=True, limit_s=400),
    bench("the worst bodies", "nasty", "--rounds 3 --rows 5", "--rounds 1 --rows 5 --only list-check", once=True,
          limit_s=400),
)  # fmt: skip

ROOT: Final = Path(__file__).parents[2]
