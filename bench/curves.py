"""`python -m bench.curves`: what one request costs against the size of the world, in processor time, in process.

Feather's bulk of two flags through the whole application, against flags of the environment, rules of the flag
(none met but the last), members of a text list in a condition, environments of the store, attributes of the
context, and bytes of the body, of which texts that nobody asks for are most. Members of list segments are
`bench.bench_lists`'s, workers `bench.workers`'s. Each curve's points take turns, round by round. What it can't
show: HTTP, and caches that a wider mix of flags would miss.
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
from typing import Any, Final

from bench.asgi import REQUESTS, Driver, Snapshot, Worker
from bench.data import ENVIRONMENT, flag_key, world
from bench.figures import say
from fanion import app
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.dialects.feather.emit import render
from fanion.dialects.feather.routes import DIALECT
from fanion.engine.evaluator import open_environment

Ask = Callable[[], object]
HEADERS: Final = {"authorization": "Bearer sk_bench", "content-type": "application/json"}
SIZES: Final[dict[str, tuple[int, ...]]] = {
    "flags": (10, 1_000, 100_000),
    "rules": (1, 10, 100, 1_000),
    "members of a condition": (1, 100, 10_000),
    "attributes of a context": (2, 20, 200),
    "bytes of a body": (200, 2_000, 20_000, 200_000),
    "environments": (1, 100, 10_000),
}
TEXT_BYTES: Final = 50_000
"""Of an attribute; more than 65,536 are refused."""
QUICK: Final = 2
"""Of each curve's points, the first ones."""


def definitions(curve: str, size: int) -> dict[str, Any]:
    made = world(size if curve == "flags" else 10)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    rule = project["flags"][flag_key(0)]["rules"][0]
    if curve == "rules":
        never = [{"attribute": "country", "operator": "equals", "value": "XX"}]
        others = [{**rule, "id": f"rule-{n}", "conditions": never} for n in range(size - 1)]
        for flag in project["flags"].values():
            flag["rules"] = [*others, rule]
    if curve == "members of a condition":
        values = [f"X{n}" for n in range(size - 1)] + ["DE"]
        for flag in project["flags"].values():
            flag["rules"] = [
                {**rule, "conditions": [{"attribute": "country", "operator": "in", "value": values}]}
            ]
    return made


def body(attributes: int = 2, size: int = 0) -> bytes:
    """`size`: of all of it in bytes, at least; texts make up for what is missing."""
    given = {"country": "DE", "plan": "pro"} | {f"attribute-{n}": f"value {n}" for n in range(attributes - 2)}
    context: dict[str, Any] = {"userId": "user_123", "attributes": given}
    made = {"flags": [flag_key(0), flag_key(7)], "context": context}
    while (missing := size - len(json.dumps(made))) > 0:
        given[f"note-{len(given)}"] = "x" * min(missing, TEXT_BYTES)
    return json.dumps(made).encode()


@contextmanager
def asked(curve: str, size: int) -> Iterator[Ask]:
    """One point; a call sends `bench.asgi.REQUESTS` requests."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "world.json"
        path.write_text(json.dumps(definitions(curve, size)))
        (lowered,) = load([path], vocabulary()).environments
    bundle = open_environment(lowered.environment, compile_bundle(lowered, {"feather": render}))
    driver = Driver(Snapshot(bundle, DIALECT, b"sk_bench", ENVIRONMENT), [DIALECT])
    sent = body(size if curve == "attributes of a context" else 2, size if curve == "bytes of a body" else 0)
    yield lambda: driver.request("/v1/evaluate/bulk", sent, HEADERS)
    driver.close()


@contextmanager
def one_of_many(size: int) -> Iterator[Ask]:
    """The last of so many environments of a store, whose keys are in it too."""
    made = world(10)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    project["environments"] = {
        f"e{n}": {
            "id": f"env_{n}",
            "dialects": ["feather"],
            "keys": [{"key": f"sk_bench_{n}", "kind": "server"}],
        }
        for n in range(size)
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "world.json").write_text(json.dumps(made))
        app.publish(folder / "data", load([folder / "world.json"], vocabulary()), Config())
        worker = Worker(folder / "data", DIALECT)
        driver = Driver(worker.reloader, [DIALECT])
        headers = {**HEADERS, "authorization": f"Bearer sk_bench_{size - 1}"}
        sent = body()
        yield lambda: driver.request("/v1/evaluate/bulk", sent, headers)
        driver.close()
        worker.close()


def measure(curve: str, sizes: tuple[int, ...], rounds: int) -> None:
    with ExitStack() as opened:
        asks = {
            size: opened.enter_context(one_of_many(size) if curve == "environments" else asked(curve, size))
            for size in sizes
        }
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for ask in asks.values():
            ask()
        for _ in range(rounds):
            for size, ask in asks.items():
                began = time.process_time()
                ask()
                taken[size].append((time.process_time() - began) / REQUESTS * 1e6)
    found = {size: statistics.median(times) for size, times in taken.items()}
    print(f"{curve:26}" + "".join(f"{size:>10,}: {one:6.1f}" for size, one in found.items()), flush=True)
    for size, one in found.items():
        say(f"curves/{curve}/{size}", one, "us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print("us of processor time a request of two flags, in process")
    for curve, sizes in SIZES.items():
        measure(curve, sizes[:QUICK] if options.quick else sizes, 5 if options.quick else options.rounds)


if __name__ == "__main__":
    main()
