"""List segments: membership, batch checks, publishing, changing, memory. Smoke: `pytest bench/bench_lists.py`.

`python -m bench.bench_lists` is the whole measurement, for lists of 1,000, 100,000 and 10,000,000 keys. Each list
is published and changed in a process of its own (time, peak memory); membership is then asked of all of them in
one process, taking turns; a batch check of 2,000 pairs goes through the whole application; what a worker needs
beyond the map is measured in a process of its own, before and after a million look-ups.

Targets: membership ≤ 2 µs and flat within 3 ×; batch of 2,000 pairs p99 ≤ 10 ms; worker memory unchanged.
A regression of membership is paid twice by every flag that asks a list.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.asgi import REQUESTS, Driver, Worker
from bench.figures import say
from fanion import app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.dialects.stitchd.routes import DIALECT
from fanion.store.list_writer import ListWriter
from fanion.store.store import Store

SIZES = (1_000, 100_000, 10_000_000)
SMOKE_SIZES = (1_000, 20_000)
PAIRS = 2_000
ASKED = 50_000
"""Members asked in one turn, in random order, drawn from the whole list."""
ROUNDS = 9
LOOKUPS = 1_000_000
ADDED = 1_000
ENVIRONMENT = "5b1f6a52-0000-4000-8000-0000000000be"
KEY = "sdk_live_bench_lists"
LIST = f"{ENVIRONMENT}/stitchd/big/user/include"


def member(number: int) -> bytes:
    """Keys as customers have them: 21 bytes, no order in them."""
    return b"user-%016x" % (number * 0x9E3779B97F4A7C15 % 2**64)


def write_definitions(folder: Path, size: int) -> Path:
    """A flag that asks the list, the list's file, and a key."""
    with (folder / "members.txt").open("wb") as file:
        for start in range(0, size, 100_000):
            file.write(b"".join(member(n) + b"\n" for n in range(start, min(start + 100_000, size))))
    flag = {
        "key": "beta",
        "value_type": "bool",
        "variants": [{"key": "on", "value": True}, {"key": "off", "value": False}],
        "default_rule": {"variant_assignment": {"specific_variant": "off"}},
        "rules": [
            {
                "rule_id": "r",
                "condition": {"op": "InSegment", "segment_id": "s"},
                "variant_assignment": {"specific_variant": "on"},
            }
        ],
    }
    segment = {"id": "s", "key": "big", "context_type": "user", "include_file": "members.txt"}
    (folder / "flags.json").write_text(json.dumps({"flags": [flag], "list_segments": [segment]}))
    environment = {
        "id": ENVIRONMENT,
        "keys": [{"key": KEY}],
        "sources": [{"format": "stitchd", "path": "flags.json"}],
    }
    world = {"organisations": {"o": {"projects": {"p": {"environments": {"e": environment}}}}}}
    (folder / "world.json").write_text(json.dumps(world))
    return folder / "world.json"


class Lists(Worker):
    """A worker that is asked for members without a request."""

    def __init__(self, data: Path) -> None:
        super().__init__(data, DIALECT)

    def is_member(self, name: str, text: str) -> bool:
        """As the engine asks for a leaf that names a list."""
        return self.reloader.serving.member(ENVIRONMENT, name, text.encode())


def batch_body(size: int, seed: int) -> bytes:
    """Half of the pairs are members."""
    draw = random.Random(seed)
    names = [member(draw.randrange(2 * size)).decode() for _ in range(PAIRS)]
    return json.dumps(
        [{"segment_key": "big", "context_type": "user", "context_key": name} for name in names]
    ).encode()


@pytest.fixture(scope="module", params=SMOKE_SIZES)
def published(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Lists]]:
    folder = tmp_path_factory.mktemp("lists")
    app.publish(folder / "data", load([write_definitions(folder, request.param)], vocabulary()), Config())
    worker = Lists(folder / "data")
    yield request.param, worker
    worker.close()


def bench_membership(benchmark: Any, published: tuple[int, Lists]) -> None:
    """1,000 look-ups a round, half of them of members."""
    size, worker = published
    names = [member(n * 7919 % (2 * size)).decode() for n in range(1_000)]
    ask = worker.is_member

    def round_of_them() -> int:
        return sum(ask(LIST, name) for name in names)

    assert benchmark(round_of_them) == sum(n * 7919 % (2 * size) < size for n in range(1_000))


def bench_batch_check(benchmark: Any, published: tuple[int, Lists]) -> None:
    """2,000 pairs through the whole application; a round is `bench.asgi.REQUESTS` requests."""
    size, worker = published
    driver = Driver(worker.reloader, [DIALECT])
    try:
        body = batch_body(size, 1)
        answer = benchmark(driver.request, *BATCH, 1)
        assert len(json.loads(answer)) == PAIRS
        assert json.loads(driver.request(BATCH[0], body, BATCH[2], REQUESTS // 100))[0]["is_member"] in (
            True,
            False,
        )
    finally:
        driver.close()


BATCH = (
    f"/v1/environments/{ENVIRONMENT}/segments/batch-list-check",
    batch_body(SMOKE_SIZES[0], 0),
    {"x-sdk-key": KEY, "content-type": "application/json"},
)


# -- the whole measurement


def publish_child(folder: Path) -> dict[str, float]:
    """Publishes in a child; seconds and its highest resident memory."""
    command = [sys.executable, "-m", "bench.bench_lists", "--child", "publish", str(folder)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def run_publish(folder: Path) -> None:
    import resource

    loaded = load([folder / "world.json"], vocabulary())
    phases: dict[str, float] = {}
    anonymous = [0.0]

    def progress(what: str, count: int) -> None:
        phases[what] = time.perf_counter()
        anonymous[0] = max(anonymous[0], anonymous_mb())

    started = time.perf_counter()
    app.publish(folder / "data", loaded, Config(), progress)
    ended = time.perf_counter()
    app.publish(folder / "data", loaded, Config())
    again = time.perf_counter() - ended
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stored = sum(path.stat().st_blocks * 512 for path in (folder / "data" / "store").glob("*.mdb"))
    found = {
        "served_s": phases["environments"] - started,
        "with_copy_s": ended - started,
        "again_s": again,
        "add_one_ms": add(folder, 1),
        "add_many_ms": add(folder, ADDED),
        "peak_mb": peak,
        "peak_anonymous_mb": anonymous[0],
        "store_mb": stored / 2**20,
    }
    print(json.dumps(found))


def add(folder: Path, count: int) -> float:
    """Milliseconds until members that no one asks for are in the list and served."""
    with Store.open(folder / "data", write=True) as store:
        began = time.perf_counter()
        _, added = ListWriter(store.transactions).add(
            ENVIRONMENT, LIST, [b"%d added" % n for n in range(count)]
        )
        taken = (time.perf_counter() - began) * 1e3
    assert added == count - (count > 1)  # the one that came before
    return taken


def anonymous_mb() -> float:
    """Memory that this process can't give back; what it has touched of the map is the page cache's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def run_memory(folder: Path, size: int) -> None:
    worker = Lists(folder / "data")
    ask = worker.reloader.current().member
    ask(ENVIRONMENT, LIST, b"warm")
    draw = random.Random(1)
    before = anonymous_mb()
    for _ in range(LOOKUPS):
        ask(ENVIRONMENT, LIST, member(draw.randrange(2 * size)))
    print(json.dumps({"before_mb": before, "after_mb": anonymous_mb()}))


def measure_membership(workers: dict[int, Lists]) -> dict[int, tuple[float, float]]:
    """Microseconds of CPU for a member and for another, the median of the rounds; the lists take turns."""
    taken: dict[tuple[int, bool], list[float]] = {
        (size, hit): [] for size in workers for hit in (True, False)
    }
    for round_number in range(ROUNDS):
        for (size, hit), times in taken.items():
            draw = random.Random(round_number)
            names = [member(draw.randrange(size) + (0 if hit else size)).decode() for _ in range(ASKED)]
            ask = workers[size].is_member
            began = time.process_time()
            for name in names:
                ask(LIST, name)
            times.append((time.process_time() - began) / ASKED * 1e6)
    middle = {key: sorted(times)[len(times) // 2] for key, times in taken.items()}
    return {size: (middle[size, True], middle[size, False]) for size in workers}


def measure_batches(worker: Lists, size: int, count: int = 500) -> tuple[float, float, float]:
    """p50 and p99 of a batch check of 2,000 pairs, in milliseconds, each batch of other pairs; and p99 of the CPU
    time alone, for a machine that others use."""
    driver = Driver(worker.reloader, [DIALECT])
    taken, busy = [], []
    for number in range(count):
        body = batch_body(size, number)
        began, worked = time.perf_counter(), time.process_time()
        driver.request(BATCH[0], body, BATCH[2], 1)
        taken.append((time.perf_counter() - began) * 1e3)
        busy.append((time.process_time() - worked) * 1e3)
    driver.close()
    taken.sort()
    busy.sort()
    return taken[count // 2], taken[count * 99 // 100], busy[count * 99 // 100]


def report(sizes: Sequence[int], directory: Path) -> None:
    published = {}
    for size in sizes:
        folder = directory / str(size)
        folder.mkdir()
        write_definitions(folder, size)
        published[size] = publish_child(folder)
    workers = {size: Lists(directory / str(size) / "data") for size in sizes}
    membership = measure_membership(workers)
    print("keys | member µs | other µs | batch p50 ms | p99 ms | CPU p99 ms | publish s | with copy s | again s | "
          "add 1, 1,000 ms | peak MB: anonymous, with map | store MB | worker MB before, after")  # fmt: skip
    for size in sizes:
        p50, p99, busy = measure_batches(workers[size], size)
        command = [
            sys.executable,
            "-m",
            "bench.bench_lists",
            "--child",
            "memory",
            str(directory / str(size)),
            str(size),
        ]
        memory = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        one = published[size]
        say(f"lists/{size}/membership", membership[size][0], "us")
        say(f"lists/{size}/batch p99", p99, "ms")
        say(f"lists/{size}/memory grown", memory["after_mb"] - memory["before_mb"], "MB")
        print(
            f"{size:,} | {membership[size][0]:.2f} | {membership[size][1]:.2f} | "
            f"{p50:.1f} | {p99:.1f} | {busy:.1f} | "
            f"{one['served_s']:.1f} | {one['with_copy_s']:.1f} | {one['again_s']:.1f} | "
            f"{one['add_one_ms']:.1f}, {one['add_many_ms']:.0f} | "
            f"{one['peak_anonymous_mb']:.0f}, {one['peak_mb']:.0f} | {one['store_mb']:.0f} | "
            f"{memory['before_mb']:.1f}, {memory['after_mb']:.1f}"
        )  # fmt: skip
    for worker in workers.values():
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs="+")
    parser.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=SIZES)
    given = parser.parse_args()
    if given.child:
        role, folder, *rest = given.child
        run_publish(Path(folder)) if role == "publish" else run_memory(Path(folder), int(rest[0]))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as directory:
        report(given.sizes, Path(directory))


if __name__ == "__main__":
    main()
