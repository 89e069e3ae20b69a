"""Asking in process: `python -m bench.in_process` prints how long one flag takes, by us and beside others.

Every row decides the same flag, one of 50, for the same person: two conditions that match, then a 50 % split. Rows
are run in turn, round by round, and the median of the rounds is printed; whoever isn't installed is left out:
`pip install openfeature-provider-flagd eppo-server-sdk growthbook` brings all of them. flagd's provider and one
that does nothing are asked through the OpenFeature client, as ours is; the other two have clients of their own and
no provider in Python, so their rows leave out what that client takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider
from openfeature.provider.no_op_provider import NoOpProvider

from bench.data import ENVIRONMENT, flag_key, world
from fanion import Evaluator, app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.openfeature import FanionProvider

INSTALL = "pip install openfeature-provider-flagd eppo-server-sdk growthbook"
FLAGS = 50
KEY = flag_key(7)
PERSON = {"country": "DE", "plan": "pro", "email": "a@b.example", "beta": True}
USER = EvaluationContext("user_123", PERSON)
FLAT = {"targetingKey": "user_123", **PERSON}
COUNTRIES = ["DE", "AT", "CH"]

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
    yield lambda: provider.resolve_boolean_details(KEY, False, USER).value
    provider.shutdown()


@contextmanager
def through_client(provider: FeatureProvider, domain: str) -> Iterator[Ask]:
    api.set_provider_and_wait(provider, domain)
    client = api.get_client(domain)
    yield lambda: client.get_boolean_value(KEY, False, USER)
    api.set_provider(NoOpProvider(), domain)


def nothing(folder: Path) -> Any:
    return through_client(NoOpProvider(), "nothing")


def fanion(folder: Path) -> Any:
    return through_client(FanionProvider(store(folder), ENVIRONMENT), "fanion")


def flagd(folder: Path) -> Any:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    matches = {"and": [{"in": [{"var": "country"}, COUNTRIES]}, {"==": [{"var": "plan"}, "pro"]}]}
    targeting = {"if": [matches, {"fractional": [["on", 50], ["off", 50]]}, "off"]}
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    flags = {flag_key(number): {**flag, "targeting": targeting} for number in range(FLAGS)}
    path = folder / "flags.json"
    path.write_text(json.dumps({"flags": flags}))
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    return through_client(provider, "flagd")


@contextmanager
def eppo(folder: Path) -> Iterator[Ask]:
    import eppo_client
    from eppo_client import AssignmentLogger, ClientConfig, Configuration

    conditions = [
        {"attribute": "country", "operator": "ONE_OF", "value": COUNTRIES},
        {"attribute": "plan", "operator": "ONE_OF", "value": ["pro"]},
    ]
    half = {"salt": "half", "ranges": [{"start": 0, "end": 5_000}]}
    splits = [{"variationKey": "on", "shards": [half]}, {"variationKey": "off", "shards": []}]
    flags = {
        flag_key(number): {
            "key": flag_key(number),
            "enabled": True,
            "variationType": "BOOLEAN",
            "variations": {"on": {"key": "on", "value": True}, "off": {"key": "off", "value": False}},
            "totalShards": 10_000,
            "allocations": [
                {"key": "half", "rules": [{"conditions": conditions}], "splits": splits, "doLog": False}
            ],
        }
        for number in range(FLAGS)
    }
    made = {"createdAt": "2026-11-28T00:00:00.000Z", "format": "SERVER", "environment": {"name": "bench"}}
    configuration = Configuration(flags_configuration=json.dumps({**made, "flags": flags}).encode())
    client = eppo_client.init(
        ClientConfig(
            api_key="none",
            base_url="http://127.0.0.1:9",
            assignment_logger=AssignmentLogger(),
            initial_configuration=configuration,
            poll_interval_seconds=None,
        )
    )
    assert client.get_boolean_assignment_details(KEY, "user_123", PERSON, False).variation is not None
    yield lambda: client.get_boolean_assignment(KEY, "user_123", PERSON, False)
    client.shutdown()


@contextmanager
def growthbook(folder: Path) -> Iterator[Ask]:
    from growthbook import GrowthBook

    condition = {"country": {"$in": COUNTRIES}, "plan": "pro"}
    rule = {"condition": condition, "force": True, "coverage": 0.5, "hashAttribute": "id"}
    features = {flag_key(number): {"defaultValue": False, "rules": [rule]} for number in range(FLAGS)}
    made = GrowthBook(attributes={"id": "user_123", **PERSON}, features=features)
    yield lambda: made.is_on(KEY)
    made.destroy()


ROWS: dict[str, tuple[Row, str]] = {
    "fanion.Evaluator, from a dict": (evaluator, ""),
    "FanionProvider, its call alone": (provider_alone, ""),
    "OpenFeature client, a provider that does nothing": (nothing, ""),
    "OpenFeature client, FanionProvider": (fanion, ""),
    "OpenFeature client, flagd's provider in process": (flagd, "openfeature.contrib.provider.flagd"),
    "eppo's own client": (eppo, "eppo_client"),
    "growthbook's own client, attributes set before": (growthbook, "growthbook"),
}
"""What is timed, and the module that it needs besides ours."""


def is_installed(module: str) -> bool:
    try:
        return not module or find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--calls", type=int, default=2_000)
    options = parser.parse_args()
    with ExitStack() as opened:
        asks: dict[str, Ask] = {}
        for name, (row, needs) in ROWS.items():
            if is_installed(needs):
                folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
                asks[name] = opened.enter_context(row(folder))
                assert isinstance(asks[name](), bool), name
            else:
                print(f"{name:52} not installed: {INSTALL}")
        times: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(options.rounds):
            for name, ask in asks.items():
                began = time.perf_counter()
                for _ in range(options.calls):
                    ask()
                times[name].append((time.perf_counter() - began) / options.calls * 1e6)
    for name, took in times.items():
        print(f"{name:52} {statistics.median(took):7.2f} µs  ({min(took):.2f} the quickest round)")


if __name__ == "__main__":
    main()
