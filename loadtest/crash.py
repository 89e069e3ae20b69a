"""kill -9 under load against the real server: `python -m loadtest.crash --rounds 100`.

Starts `fanion serve` on a data directory of its own with clients that send batches, each event under a fresh
marker: half of them telemetry, half events with ids, which they send again until they are answered. Each round
kills a random worker, or the whole process group, at a random moment. At the end the journal is read: every
acknowledged event must be there exactly once; an unacknowledged one once or not at all.
`--publish` publishes definitions all the time as well. `--clock-share` of the rounds set the wall clock instead: an
hour or a year ahead, an hour behind, to 1972, or right; it is believed after seconds, and segments are small, so
that retention has something to delete. `--stop-share` of them stop a worker, or a command that writes the store,
for a moment; `--store-share` of them put a copy into the store's place or fill its table of readers. Prints
acknowledged, found, lost, twice and the longest time from a restart to the first answer; exits 1 when anything was
lost or is there twice.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bench.figures import say
from fanion.journal.event import split_events
from fanion.journal.reader import JournalReader
from fanion.model.canonical import DUPLICATE
from loadtest.faults import fill_readers, replace_store, stop_for_a_moment, stop_writing_command
from loadtest.serving import free_port
from loadtest.wall_clock import WallClock

KEY = "sk_crash_server"
WORLD = """
fanion: 1
organisations:
  org_crash:
    plan: enterprise
    projects:
      shop:
        environments:
          production:
            id: env_crash
            keys: [{key: sk_crash_server, kind: server, name: server}]
        flags:
          plain: {type: boolean, default_value: true}
"""
HOUR_S, YEAR_S = 3_600, 365 * 86_400
JUMPS_S = (0, 0, HOUR_S, -HOUR_S, YEAR_S, 2 * YEAR_S - int(time.time()))
CLOCK_SETTINGS = {"FANION_JOURNAL_CLOCK_TRUST_HOURS": "0.001", "FANION_JOURNAL_SEGMENT_BYTES": str(1 << 20)}
FREE_OPERATIONS = {"FANION_SERVER_OPERATIONS_PORT": "0"}
PAUSE_S = (0.02, 0.6)
"""Between two kills; long enough for some requests, short enough for every state of a start."""


class Acknowledged(Protocol):
    """A client's book."""

    acknowledged: list[str]


class Server:
    """One `fanion serve` after another on the same directory and port."""

    start_timeout_s = 120.0

    def __init__(self, data: Path, workers: int, ack: str, variables: dict[str, str]) -> None:
        self._data = data
        self._variables = {
            **os.environ,
            **FREE_OPERATIONS,
            "FANION_LIMITER_BAD_KEYS_PER_MINUTE": "0",
            **variables,
        }
        self.port = free_port()
        options = ["--data", str(data), "--port", str(self.port), "--workers", str(workers), "--ack", ack]
        self._command = [sys.executable, "-m", "fanion", "serve", *options]
        self._log = (data.parent / "server.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.slowest_s = 0.0

    def start(self) -> None:
        """Starts it and waits for the first answer."""
        begun = time.monotonic()
        self.process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, start_new_session=True, env=self._variables
        )
        while time.monotonic() - begun < self.start_timeout_s:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}; see {self._log.name}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(self.port, "GET", "/healthz")
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                return
            time.sleep(0.01)
        raise SystemExit(f"no answer within {self.start_timeout_s} s; see {self._log.name}")

    def workers(self) -> list[int]:
        """Process ids of the supervisor's children; the operations process is one of them."""
        assert self.process is not None
        pid = self.process.pid
        with contextlib.suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def kill_worker(self, rng: random.Random) -> bool:
        found = self.workers()
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(found), signal.SIGKILL)
        return bool(found)

    def kill_all(self) -> None:
        """Until none of them is left: one that dies late, on a busy machine, holds the port or the directory."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while any(group == self.process.pid for group in living_groups()):
            time.sleep(0.005)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait()


def living_groups() -> Iterator[int]:
    """The process group of each process that isn't a zombie, which nobody may wait for. One whose first thread
    alone has ended is none: the others hold its files."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group, *_ = path.read_text().rpartition(")")[2].split()
            if state != "Z" or len(list(path.with_name("task").iterdir())) > 1:
                yield int(group)


def wait_for_an_answer(clients: Sequence[Acknowledged]) -> None:
    """Until something was acknowledged at all: faults may have left no moment for it on a busy machine."""
    ends = time.monotonic() + Server.start_timeout_s
    while not any(client.acknowledged for client in clients) and time.monotonic() < ends:
        time.sleep(0.05)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(
            method, path, body, {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        )
        response = connection.getresponse()
        response.read()
        return response.status


class Client(threading.Thread):
    """Sends batches until told to end; keeps the markers of the acknowledged ones."""

    def __init__(self, server: Server, number: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._number = number
        self._ending = ending
        self._with_ids = number % 2 == 1
        self.acknowledged: list[str] = []
        self.sent = 0
        self.statuses: Counter[int | str] = Counter()

    def run(self) -> None:
        rng = random.Random(self._number)
        for attempt in itertools.count():
            if self._ending.is_set():
                return
            markers = [f"c{self._number}-{attempt}-{n}" for n in range(rng.choice((1, 1, 5, 100)))]
            make = event_with_id if self._with_ids else event
            body = json.dumps({"events": [make(marker) for marker in markers]}).encode()
            self.sent += len(markers)
            while not self._send(body, markers):
                time.sleep(0.005)
                if not self._with_ids or self._ending.is_set():
                    break

    def _send(self, body: bytes, markers: list[str]) -> bool:
        """Whether it was acknowledged."""
        path = "/fanion/v1/events" if self._with_ids else "/v1/telemetry/events"
        try:
            status = ask(self._server.port, "POST", path, body)
        except (OSError, http.client.HTTPException) as error:
            self.statuses[type(error).__name__] += 1
            return False
        self.statuses[status] += 1
        if status != (200 if self._with_ids else 202):
            return False
        self.acknowledged += markers
        return True


def event(marker: str) -> dict[str, object]:
    return {
        "flagKey": "plain",
        "flagId": "flag_plain",
        "environmentId": "env_crash",
        "orgId": "org_crash",
        "value": True,
        "reason": "RULE_MATCH",
        "ruleId": marker,
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": "2026-01-01T00:00:00Z",
    }


def event_with_id(marker: str) -> dict[str, object]:
    return {"type": "metric", "id": marker, "unit": {"kind": "userId", "id": "u"}, "metric": "crash"}


def publishing(data: Path, world: Path) -> list[str]:
    return [sys.executable, "-m", "fanion", "publish", str(world), "--data", str(data)]


def publish(data: Path, world: Path) -> int:
    command = publishing(data, world)
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def keep_publishing(data: Path, world: Path, ending: threading.Event, statuses: Counter[int]) -> None:
    while not ending.is_set():
        statuses[publish(data, world)] += 1


def count(data: Path) -> tuple[Counter[str], int]:
    """Every marker in the journal that counts, and the number of defects."""
    reader = JournalReader(data)
    found: Counter[str] = Counter()
    for record in reader.read():
        for index, sent in enumerate(split_events(record)):
            if index >= len(record.dispositions) or record.dispositions[index] != DUPLICATE:
                found[sent["ruleId"] if "ruleId" in sent else sent["id"]] += 1
    return found, len(reader.defects)


class Fate:
    """Chooses what happens in a round, and lets it happen."""

    def __init__(
        self,
        server: Server,
        data: Path,
        world: Path,
        wall: WallClock | None,
        rng: random.Random,
        options: argparse.Namespace,
    ) -> None:
        self._server = server
        self._store = data / "store"
        self._publishing = publishing(data, world)
        self._wall = wall
        self._rng = rng
        shares = (options.clock_share, options.stop_share, options.store_share)
        strikes = (self._set_clock, self._stop, self._change_store, self._kill)
        self._strikes = list(zip(strikes, (*shares, max(0.0, 1 - sum(shares))), strict=True))
        self._all_share = options.all_share
        self._timers: list[threading.Timer | None] = []

    def strike(self) -> str:
        """One fault; its name."""
        strikes, shares = zip(*self._strikes, strict=True)
        return str(self._rng.choices(strikes, shares)[0]())

    def settle(self) -> None:
        """Waits until nothing stands still any more."""
        for timer in self._timers:
            if timer is not None:
                timer.join()

    def _kill(self) -> str:
        if self._rng.random() < self._all_share or not self._server.kill_worker(self._rng):
            self._server.kill_all()
            self._server.start()
            return "process group killed"
        return "worker killed"

    def _set_clock(self) -> str:
        assert self._wall is not None
        self._wall.set(self._rng.choice(JUMPS_S))
        return "clock set"

    def _stop(self) -> str:
        workers = self._server.workers()
        if workers and self._rng.random() < 0.6:
            self._timers.append(stop_for_a_moment(self._rng.choice(workers), self._rng))
            return "worker stopped"
        self._timers.append(stop_writing_command(self._publishing, self._rng))
        return "command stopped"

    def _change_store(self) -> str:
        if self._rng.random() < 0.5:
            replace_store(self._store)
            return "store replaced"
        fill_readers(self._store)
        return "reader table filled"


def run(root: Path, options: argparse.Namespace) -> int:
    data, world = root / "data", root / "world.yaml"
    world.write_text(WORLD)
    if publish(data, world):
        raise SystemExit("the definitions can't be published")
    rng = random.Random(options.seed)
    wall = WallClock(root) if options.clock_share else None
    variables = {**wall.environment, **CLOCK_SETTINGS} if wall else {}
    server = Server(data, options.workers, options.ack, variables)
    server.start()
    ending, published = threading.Event(), Counter[int]()
    clients = [Client(server, n, ending) for n in range(options.clients)]
    for client in clients:
        client.start()
    publisher = threading.Thread(target=keep_publishing, args=(data, world, ending, published), daemon=True)
    if options.publish:
        publisher.start()
    fate = Fate(server, data, world, wall, rng, options)
    befallen = Counter[str]()
    for _ in range(options.rounds):
        time.sleep(rng.uniform(*PAUSE_S))
        befallen[fate.strike()] += 1
    fate.settle()
    time.sleep(1.0)
    wait_for_an_answer(clients)
    ending.set()
    for client in clients:
        client.join()
    if options.publish:
        publisher.join()
    status = server.stop()
    acknowledged = {marker for client in clients for marker in client.acknowledged}
    found, defects = count(data)
    lost = acknowledged - found.keys()
    twice = [marker for marker, times in found.items() if times > 1]
    statuses = sum((client.statuses for client in clients), Counter())
    print(f"seed {options.seed}, ack {options.ack}: {dict(befallen)}, server's last exit status {status}")
    print(
        f"answers {dict(statuses)}"
        + (f", publishes by exit status {dict(published)}" if options.publish else "")
    )
    print(
        f"sent {sum(client.sent for client in clients)} events, first answer after {server.slowest_s:.2f} s at most"
    )
    print(
        f"acknowledged {len(acknowledged)}, found {len(found)}, lost = {len(lost)}, twice = {len(twice)}, "
        f"defects = {defects}"
    )
    say("crash/lost", len(lost), "events")
    say("crash/twice", len(twice), "events")
    return 1 if lost or twice or defects or not acknowledged else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--ack", choices=("durable", "buffered"), default="durable")
    parser.add_argument(
        "--all-share", type=float, default=0.3, help="share of rounds that kill the process group"
    )
    parser.add_argument(
        "--clock-share",
        type=float,
        default=0.0,
        help="share of rounds that set the wall clock; needs a C compiler",
    )
    parser.add_argument(
        "--stop-share", type=float, default=0.0, help="share of rounds that stop a process for a moment"
    )
    parser.add_argument(
        "--store-share",
        type=float,
        default=0.0,
        help="share of rounds that replace the store or fill its readers",
    )
    parser.add_argument("--publish", action="store_true", help="publish definitions all the while")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--directory", type=Path, help="parent of the temporary data directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanion-crash-", dir=options.directory) as root:
        sys.exit(run(Path(root), options))


if __name__ == "__main__":
    main()
