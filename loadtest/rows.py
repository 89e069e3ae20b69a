"""kill -9 under load, and each event is a row once: `python -m loadtest.rows --rounds 200`.

Starts `fanion serve --pipeline` on the demo world, with clients of all APIs that send batches of events, each event
of a unit of its own, and OFREP clients that evaluate. Each round kills the pipeline, a child of the server's or the
whole process group at a random moment; the pipeline's steps are small and its pauses short, so that it is found in
every part of one. At the end what is left is read by `fanion pipeline --once`, and the rows are held against two
things: what `fanion journal cat` prints, event by event by identity (none lost, none twice, none of nothing), and
the clients' own books: every event that was acknowledged is a row that counts, once. Exits 1 where one isn't.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanion.definitions import DEMO
from fanion.pipeline.query import ask as query
from loadtest.crash import Server, publish, wait_for_an_answer

NOW = "2026-11-28T10:30:00.123Z"
STITCHD = "/v1/environments/5b1f6a52-0000-4000-8000-000000000001"
IDENTITY = "writer, sequence, index"
"""Without the epoch: recovery writes what a ring still holds again, in a later one."""
PAUSE_S = (0.05, 2.5)
"""Between two kills: the pipeline takes half a second to begin."""
PIPELINE = """
import fanion.pipeline.pipeline as pipeline
pipeline.STEP_ROWS, pipeline.MERGED_MIN = 500, 3
import fanion.pipeline.service as service
service.PAUSE_S = 0.05
from fanion.cli import main
main()
"""


class Api(NamedTuple):
    path: str
    headers: dict[str, str]
    body: Callable[[list[str]], object]
    """Of a request for these units."""
    taken: int
    """The status that acknowledges; 0: it keeps no books."""


def feather(units: list[str]) -> object:
    fixed = {
        "flagKey": "checkout-copy",
        "flagId": "flag_01hy",
        "environmentId": "env_01hx",
        "orgId": "org_01hx",
    }
    fixed |= {
        "value": "variant-b",
        "reason": "ROLLOUT",
        "sdkType": "server",
        "sdkVersion": "1",
        "evaluatedAt": NOW,
    }
    return {"events": [{**fixed, "userIdHash": unit} for unit in units]}


def redpennon(units: list[str]) -> object:
    fixed = {"event": "purchase", "variable": "checkout-flow", "variation": "control", "value": 1.5}
    return {"events": [{**fixed, "user": {"id": unit}, "event_id": f"e-{unit}"} for unit in units]}


def traffical(units: list[str]) -> object:
    fixed = {"type": "track", "orgId": "org_acme", "projectId": "proj_marketplace", "env": "production"}
    fixed |= {"timestamp": NOW, "event": "purchase", "sdkName": "crash", "sdkVersion": "1"}
    return {"events": [{**fixed, "id": f"e-{unit}", "unitKey": unit} for unit in units]}


def stitchd(units: list[str]) -> object:
    fixed = {"metric_key": "button_click", "context_type": "user", "value": True}
    return {"events": [{**fixed, "context_key": unit} for unit in units]}


def neutral(units: list[str]) -> object:
    fixed = {"type": "metric", "time": NOW, "metric": "purchase", "value": 1.5}
    return {
        "events": [{**fixed, "id": f"e-{unit}", "unit": {"kind": "userId", "sha256": unit}} for unit in units]
    }


def ofrep(units: list[str]) -> object:
    return {"context": {"targetingKey": units[0], "country": "DE"}}


APIS = (
    Api("/v1/telemetry/events", {"Authorization": "Bearer sk_demo_server"}, feather, 202),
    Api("/v1/events", {"X-API-Key": "00000000-0000-0000-0000-000000000000"}, redpennon, 202),
    Api("/v1/events/batch", {"Authorization": "Bearer traffical_sk_demo"}, traffical, 200),
    Api(f"{STITCHD}/events/batch", {"x-sdk-key": "sdk_live_demo"}, stitchd, 202),
    Api("/fanion/v1/events", {"Authorization": "Bearer neutral_demo_client"}, neutral, 200),
    Api("/ofrep/v1/evaluate/flags", {"Authorization": "Bearer ofrep_demo_server"}, ofrep, 0),
)


class Client(threading.Thread):
    """Sends through one API until told to end; keeps the units of what was acknowledged."""

    def __init__(self, port: int, number: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._number = number
        self._api = APIS[number % len(APIS)]
        self._ending = ending
        self.acknowledged: list[str] = []
        self.statuses: Counter[str] = Counter()

    def run(self) -> None:
        rng = random.Random(self._number)
        for attempt in itertools.count():
            if self._ending.is_set():
                return
            names = [f"{self._number}-{attempt}-{n}" for n in range(rng.choice((1, 1, 5, 100)))]
            units = [hashlib.sha256(name.encode()).hexdigest() for name in names]
            status = self._send(json.dumps(self._api.body(units)).encode())
            self.statuses[f"{self._api.path} {status}"] += 1
            if status == 0 or status >= 400:
                time.sleep(0.005)
            elif status == self._api.taken:
                self.acknowledged += units

    def _send(self, body: bytes) -> int:
        """0: no answer came."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
                headers = {**self._api.headers, "Content-Type": "application/json"}
                connection.request("POST", self._api.path, body, headers)
                response = connection.getresponse()
                response.read()
                return response.status
        except (OSError, http.client.HTTPException):
            return 0


class PipelineServer(Server):
    """With small steps in its pipeline."""

    def __init__(self, data: Path, workers: int) -> None:
        super().__init__(data, workers, "durable", {"FANION_PIPELINE_ENABLED": "true"})
        self._command[1:3] = ["-c", PIPELINE]

    def pipeline(self) -> int | None:
        for pid in self.workers():
            try:
                if Path(f"/proc/{pid}/comm").read_text().startswith("fanion-pipeline"):
                    return pid
            except OSError:
                continue
        return None

    def strike(self, rng: random.Random) -> str:
        chosen = rng.choice(("pipeline", "pipeline", "worker", "group"))
        if chosen == "pipeline" and (pid := self.pipeline()) is not None:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                return "pipeline gone"
            return "pipeline killed"
        if chosen != "group" and self.kill_worker(rng):
            return "a child killed"
        self.kill_all()
        self.start()
        return "process group killed"


class Line(msgspec.Struct):
    """Of `fanion journal cat`: an event's identity."""

    writer: int
    sequence: int
    index: int


def events_of(data: Path) -> list[tuple[int, int, int]]:
    """What `fanion journal cat` prints, in order."""
    command = [sys.executable, "-m", "fanion", "journal", "cat", "--data", str(data)]
    found: list[tuple[int, int, int]] = []
    decode = msgspec.json.Decoder(Line).decode
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = decode(line)
            found.append((event.writer, event.sequence, event.index))
    if process.returncode:
        raise SystemExit(f"journal cat ended with {process.returncode}")
    return sorted(found)


def compare(data: Path, clients: list[Client]) -> int:
    """Prints how the rows stand to the journal and to the clients' books; how many stand wrong."""
    once = [sys.executable, "-c", PIPELINE, "pipeline", "--data", str(data), "--once"]
    subprocess.run(once, check=True)
    wanted = events_of(data)
    rows = query(data, f"SELECT {IDENTITY} FROM rows WHERE part = 0 ORDER BY {IDENTITY}")[1]
    found = Counter(rows)
    lost = len(set(wanted) - found.keys())
    of_nothing = len(found.keys() - set(wanted))
    twice = sum(count - 1 for count in found.values())
    repeated = len(wanted) - len(set(wanted))
    of_units = (
        "SELECT unit, count(*) FROM rows WHERE counts AND kind NOT IN ('served', 'assigned') GROUP BY unit"
    )
    counted = Counter(dict(query(data, of_units)[1]))
    acknowledged = {unit for client in clients for unit in client.acknowledged}
    missing = len(acknowledged - counted.keys())
    more = sum(counted[unit] > 1 for unit in acknowledged)
    steps = msgspec.json.decode((data / "rows" / "manifest.json").read_bytes())["step"]
    print(
        f"journal {len(wanted)} events, rows {len(rows)} in {steps} steps: lost = {lost}, twice = {twice}, "
        f"of nothing = {of_nothing}; acknowledged {len(acknowledged)}: missing = {missing}, more than once = {more}"
    )
    return lost + twice + of_nothing + repeated + missing + more + (not acknowledged)


def run(root: Path, options: argparse.Namespace) -> int:
    data = root / "data"
    if publish(data, DEMO):
        raise SystemExit("the definitions can't be published")
    rng = random.Random(options.seed)
    server = PipelineServer(data, options.workers)
    server.start()
    ending = threading.Event()
    clients = [Client(server.port, number, ending) for number in range(options.clients)]
    for client in clients:
        client.start()
    befallen = Counter[str]()
    for _ in range(options.rounds):
        time.sleep(rng.uniform(*PAUSE_S))
        befallen[server.strike(rng)] += 1
    time.sleep(1.0)
    wait_for_an_answer(clients)
    ending.set()
    for client in clients:
        client.join()
    status = server.stop()
    statuses = sum((client.statuses for client in clients), Counter())
    print(f"seed {options.seed}: {dict(befallen)}, server's last exit status {status}")
    print(f"answers {dict(sorted(statuses.items()))}")
    return 1 if compare(data, clients) else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=12, help="in turn through the APIs")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--directory", type=Path, help="parent of the temporary data directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanion-rows-", dir=options.directory) as root:
        sys.exit(run(Path(root), options))


if __name__ == "__main__":
    main()
