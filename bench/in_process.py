"""Asking in process: `python -m bench.in_process` prints how much processor time one flag takes.

Every row decides the same flag, one of 50, for the same person: two conditions that match, then a 50 % split. Rows
are run in turn, round by round, and the median of the rounds is printed. A provider that does nothing is asked
through the OpenFeature client as ours is. What other engines take: `python -m bench.engines`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider
from openfeature.provider.no_op_provider import NoOpProvider

from bench.data import ENVIRONMENT, flag_key, world
from bench.engines.timing import PERSON, USER
from bench.figures import say
from fanion import Evaluator, app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.openfeature import FanionProvider

FLAGS = 50
KEY = flag_key(7)
ASKING = EvaluationContext(USER, PERSON)
FLAT = {"targetingKey": USER, **PERSON}

Ask = Callable[[], Any]
Row = Callable[[Path], Any]
"""A context manager of what is timed, in a folder of its own."""


def store(folder: Path) -> Path:
    """A data directory with the world of the benches."""
    document = world(FLAGS)
    del document["organisations"]["org_bench"]["projects"]["bench"]["environments"]["production"]["dialects"]
    (folder / "world.json").write_text(json.dumps(document))
    app.publish(folder / "data", load([folder / "world.json"], vocabulary()), Config())
    return folder / "data"


@contextmanager
def evaluator(folder: Path) -> Iterator[Ask]:
    with Evaluator.open(store(folder), ENVIRONMENT) as flags:
        yield lambda: flags.evaluate(KEY, FLAT).value


@contextmanager
def provider_alone(folder: Path) -> Iterator[Ask]:
    provider = FanionProvider(store(folder), ENVIRONMENT)
    provider.initialize(EvaluationContext())
    yield lambda: provider.resolve_boolean_details(KEY, False, ASKING).value
    provider.shutdown()


@contextmanager
def through_client(provider: FeatureProvider, domain: str) -> Iterator[Ask]:
    api.set_provider_and_wait(provider, domain)
    client = api.get_client(domain)
    yield lambda: client.get_boolean_value(KEY, False, ASKING)
    api.set_provider(NoOpProvider(), domain)


def nothing(folder: Path) -> Any:
    return through_client(NoOpProvider(), "nothing")


def fanion(folder: Path) -> Any:
    return through_client(FanionProvider(store(folder), ENVIRONMENT), "fanion")


ROWS: dict[str, Row] = {
    "fanion.Evaluator, from a dict": evaluator,
    "FanionProvider, its call alone": provider_alone,
    "OpenFeature client, a provider that does nothing": nothing,
    "OpenFeature client, FanionProvider": fanion,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--calls", type=int, default=2_000)
    options = parser.parse_args()
    with ExitStack() as opened:
        asks: dict[str, Ask] = {}
        for name, row in ROWS.items():
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
            asks[name] = opened.enter_context(row(folder))
            assert isinstance(asks[name](), bool), name
        times: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(options.rounds):
            for name, ask in asks.items():
                began = time.process_time()
                for _ in range(options.calls):
                    ask()
                times[name].append((time.process_time() - began) / options.calls * 1e6)
    for name, took in times.items():
        print(f"{name:52} {statistics.median(took):7.2f} µs  ({min(took):.2f} the quickest round)")
        say(f"python/{name}", statistics.median(took), "us")
    through, idle = (statistics.median(times[name]) for name in reversed(list(ROWS)[2:]))
    say("python/FanionProvider above nothing", through - idle, "us")


if __name__ == "__main__":
    main()
