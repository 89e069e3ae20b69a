"""Parts of `loadtest.machines`: servers that reach NATS by proxies, commands that may be killed, who publishes and
who sends, with their books."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from loadtest.crash import KEY, Server
from tests.crash.proxy import Proxy

PLACES_KEY = "loadtest-" + 32 * "k"
WORLD = """
fanion: 1
organisations:
  org_crash:
    plan: enterprise
    projects:
      shop:
        environments:
          production: {{id: env_crash, keys: [{{key: sk_crash_server, kind: server, name: server}}]}}
        flags:
          plain: {{type: number, default_value: {number}}}
"""
SETTINGS = {
    "FANION_PLACES_KEY": PLACES_KEY,
    "FANION_PLACES_TIMEOUT_S": "5",
    "FANION_PLACES_POLL_S": "1",
    "FANION_SHIPPING_INTERVAL_S": "0.1",
    "FANION_SHIPPING_AGAIN_S_MAX": "1",
    "FANION_SHIPPING_CHECK_S": "2",
    "FANION_JOURNAL_RING_BYTES": str(8 << 20),
    "FANION_JOURNAL_SEGMENT_BYTES": str(1 << 20),
    "FANION_LIMITS_INGEST_BODY_BYTES_MAX": str(1 << 20),
}


class Machine(Server):
    """A server that reaches NATS by proxies."""

    def __init__(self, data: Path, between: list[Proxy], ack: str) -> None:
        at = ",".join(f"127.0.0.1:{each.port}" for each in between)
        data.parent.mkdir()
        super().__init__(data, 1, ack, SETTINGS | {"FANION_SHIPPING_URL": f"nats://{at}/events"})
        self._command += ["--follow", f"nats://{at}/place"]
        self._between = between
        self.replicated = ack == "replicated"
        self._seen = 0.0
        self.went_back = 0

    def cut(self, *, half: bool) -> None:
        for each in self._between:
            if half:
                each.swallows = True
            else:
                each.cut()

    def heal(self) -> None:
        for each in self._between:
            each.heal()

    def lose(self) -> None:
        """Its disk is gone for good, after `kill_all`."""
        gone = self._data.with_name(f"gone-{time.monotonic_ns()}")
        self._data.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def start_anew(self, cut_s: float) -> None:
        """With what may be an empty disk, for which it needs the place; so it is tried until that is there.
        `cut_s`: for how long it may be cut off from it."""
        ends = time.monotonic() + self.start_timeout_s + cut_s
        while True:
            try:
                self.start()
                return
            except SystemExit:
                self.kill_all()
                if time.monotonic() > ends:
                    raise
                time.sleep(0.5)

    def look(self) -> float:
        """The number that it serves; the one before while it is away."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = ask(self.port, "/v1/evaluate/bulk", {"flags": ["plain"], "context": {}})
            if status == 200:
                number = float(json.loads(answer)["results"]["plain"]["value"])
                self.went_back += number < self._seen
                self._seen = number
        return self._seen


def ask(port: int, path: str, document: object) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(document), headers)
        response = connection.getresponse()
        return response.status, response.read()


class Command:
    """One of `fanion`'s that may be killed."""

    def __init__(self, log: Path, arguments: list[object]) -> None:
        self._arguments = [sys.executable, "-m", "fanion", *map(str, arguments)]
        self._path, self._log = log, log.open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._arguments, stdout=self._log, stderr=self._log, env=os.environ | SETTINGS
        )
        return self._process

    def run(self) -> int:
        return self.start().wait()

    def said(self) -> str:
        return self._path.read_text()[-1_000:]

    def end(self, by: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait()


class Publisher(threading.Thread):
    """Publishes one number after another to the place, until told to end."""

    def __init__(self, root: Path, url: str, ending: threading.Event, pause_s: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self._world = root / "world.yaml"
        self.command = Command(
            root / "publisher.log", ["publish", self._world, "--to", url, "--data", root / "admin"]
        )
        self._ending = ending
        self._number = 0
        self.statuses: Counter[int] = Counter()

    def publish(self) -> int:
        """Its number; 0: it was refused, or killed."""
        self._number += 1
        self._world.write_text(WORLD.format(number=self._number))
        status = self.command.run()
        self.statuses[status] += 1
        return 0 if status else self._number

    def run(self) -> None:
        while not self._ending.wait(self._pause_s):
            self.publish()


class Client(threading.Thread):
    """Sends until told to end; keeps the units of what was acknowledged."""

    def __init__(self, ports: list[int], number: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._ports, self._number, self._ending = ports, number, ending
        self._draw = random.Random(number)
        self.with_ids = number % 2 == 1
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int | str] = Counter()

    def run(self) -> None:
        for attempt in itertools.count():
            if self._ending.wait(0.02):
                return
            names = [f"{self._number}-{attempt}-{n}" for n in range(self._draw.choice((1, 1, 5, 50)))]
            units = [hashlib.sha256(name.encode()).hexdigest() for name in names]
            while not self._send(units) and self.with_ids and not self._ending.wait(0.05):
                pass

    def _send(self, units: list[str]) -> bool:
        """Whether it was acknowledged."""
        path, make, taken = (
            ("/fanion/v1/events", neutral, 200) if self.with_ids else ("/v1/telemetry/events", feather, 202)
        )
        try:
            status, _ = ask(self._draw.choice(self._ports), path, {"events": list(map(make, units))})
        except (OSError, http.client.HTTPException) as error:
            self.statuses[type(error).__name__] += 1
            return False
        self.statuses[status] += 1
        if status == taken:
            self.acknowledged.update(units)
        return status == taken


def neutral(unit: str) -> dict[str, object]:
    return {
        "type": "metric",
        "id": f"e-{unit}",
        "unit": {"kind": "userId", "sha256": unit},
        "metric": "crash",
    }


def feather(unit: str) -> dict[str, object]:
    return {
        "flagKey": "plain",
        "flagId": "flag_plain",
        "environmentId": "env_crash",
        "orgId": "org_crash",
        "userIdHash": unit,
        "value": 1.0,
        "reason": "DEFAULT",
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
