"""`python -m bench.places`: publish → seen on three machines that follow a place in NATS.

Three processes follow as those of servers do (`places.follower` over `app.following`), each into a directory of
its own. Of each change (a bundle of `--flags` flags, one of them switched, by the same code as `fanion publish`):
from when the manifest was handed to the place until the generation word of the last of the three stores rose,
which a worker looks at before its next request; and from when the publishing began, Python's start left out.
NATS: `--servers` of `NATS_SERVER` on this machine, which sync each write. `--poll`: a folder in its place, which
machines look at every 5 s, as servers do where nothing tells them. What it can't show: a network; servers
that evaluate meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.data import world
from bench.figures import say
from fanion import app
from fanion.app.changing import changing
from fanion.app.following import Taking
from fanion.config import Config
from fanion.config.places import Places
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.errors import PlaceError
from fanion.places.follower import Follower
from fanion.places.nats import KeyValue
from fanion.places.objects import Objects
from fanion.store.store import Store
from tests.crash.receivers import nats_servers

KEY = "bench-" + 40 * "k"
MACHINES = 3
POLL_S = Places().poll_s
SEEN_S = 60.0
LOOK_S = 0.000_5


class Ending:
    """Of a process that is killed: never."""

    def __call__(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        time.sleep(timeout_s)
        return False


def follow(data: Path, config: Config) -> None:
    places = config.places
    Follower(places.follow, places, Taking(data, config), machine=data.name).run(Ending())


class Moved:
    """When the place was last handed a manifest."""

    def __init__(self) -> None:
        self.at = 0.0
        for kind in (KeyValue, Objects):
            kind.move = self._noting(kind.move)

    def _noting(self, move: Callable[[Any, int, bytes], None]) -> Callable[[Any, int, bytes], None]:
        def noted(place: Any, number: int, content: bytes) -> None:
            self.at = time.perf_counter()
            move(place, number, content)

        return noted


class Watch:
    """When each machine's generation last rose."""

    def __init__(self, paths: list[Path], map_bytes: int) -> None:
        self.seen = [0.0] * len(paths)
        self.numbers = [0] * len(paths)
        for at, path in enumerate(paths):
            threading.Thread(target=self._look, args=(at, path, map_bytes), daemon=True).start()

    def _look(self, at: int, path: Path, map_bytes: int) -> None:
        with Store.open(path, create=True, map_bytes=map_bytes) as store:
            while True:
                if (number := store.generation()) != self.numbers[at]:
                    self.seen[at], self.numbers[at] = time.perf_counter(), number
                time.sleep(LOOK_S)

    def wait(self, before: list[int]) -> float:
        """When the last of them was seen to be further than before."""
        ends = time.monotonic() + SEEN_S
        while any(now == then for now, then in zip(self.numbers, before, strict=True)):
            if time.monotonic() > ends:
                raise SystemExit(f"not seen within {SEEN_S:.0f} s by all of {MACHINES}")
            time.sleep(LOOK_S)
        return max(self.seen)


def publish(data: Path, path: Path, config: Config, url: str, number: int, flags: int) -> None:
    made: dict[str, Any] = world(flags)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    next(iter(project["flags"].values()))["description"] = f"as of {number}"
    next(iter(project["flags"].values()))["enabled"] = bool(number % 2)
    path.write_text(json.dumps(made))
    with changing(data, config, to=url):
        overrides, weights = app.standing(data, config)
        app.publish(data, load([path], vocabulary(), overrides=overrides, weights=weights), config)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=3, help="of NATS")
    parser.add_argument("--flags", type=int, default=50)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--rest", type=float, default=0.2, help="seconds between two changes")
    parser.add_argument("--poll", action="store_true", help="a folder in the place of NATS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-places-") as name:
        directory = Path(name)
        if options.poll:
            run(directory, f"file://{directory}/place", options, poll_s=POLL_S)
            return
        with nats_servers(directory / "nats", options.servers) as servers:
            run(directory, servers.url("bench"), options)


def run(directory: Path, url: str, options: argparse.Namespace, *, poll_s: float = 60.0) -> None:
    store = msgspec.structs.replace(Config().store, map_bytes=1 << 30)
    config = Config(store=store, places=Places(follow=url, key=KEY, poll_s=poll_s))
    admin, file = directory / "admin", directory / "world.json"
    machines = [directory / f"machine-{number}" for number in range(MACHINES)]
    moved = Moved()
    ends = time.monotonic() + SEEN_S
    while True:
        try:
            publish(admin, file, config, url, 0, options.flags)
            break
        except PlaceError:  # a cluster that has just been started has no leader yet
            if time.monotonic() > ends:
                raise
    context = multiprocessing.get_context("spawn")
    running = []
    for each in machines:
        each.mkdir()
        running.append(context.Process(target=follow, args=(each, config), daemon=True))
        running[-1].start()
    watch = Watch(machines, 1 << 30)
    watch.wait([0] * MACHINES)
    from_move, from_begin = [], []
    for number in range(1, options.changes + 1):
        time.sleep(options.rest)
        before, began = list(watch.numbers), time.perf_counter()
        publish(admin, file, config, url, number, options.flags)
        last = watch.wait(before)
        from_move.append(last - moved.at)
        from_begin.append(last - began)
    for process in running:
        process.kill()
        process.join()
    kind = "polled" if options.poll else "NATS"
    where = f"a folder, looked at every {poll_s:g} s" if options.poll else f"{options.servers} NATS servers"
    what = f"{options.changes} changes, {options.flags} flags, {where}"
    print(f"{what}; load {os.getloadavg()[0]:.1f}")
    for part, name, taken in (
        ("from the manifest", "manifest handed over → seen by all", from_move),
        ("from the begin", "publish begun → seen by all", from_begin),
    ):
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        say(f"places/{kind}/{part}, p99", cuts[98], "s")
        print(
            f"{name}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, most {max(taken) * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
