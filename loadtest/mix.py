"""SDKs of every API at once, with what happens to a server meanwhile: `python -m loadtest.mix --seconds 15`.

    python -m loadtest.mix --minutes 60 --users 200 --publish-s 20 --revoke-s 10 --restart-s 300

A server on the demo definitions in a directory of its own, and Locust in as many processes as there are cores, with
the users of `loadtest/locustfile.py`: think times and batch sizes as published SDKs have them. `--api` takes the
users of one API alone. Meanwhile, if asked: a publish that switches one flag, a key made, used, revoked and refused
(how soon is printed), a restart by SIGTERM. Exits 1 where a request failed, other than by a connection that a
restart cut or refused, where a revoked key was answered, or where the server ended with another status than 0.
`--report FOLDER` writes `load.md` and `load.html`: rates, percentiles, failures, what was done meanwhile.

What it can't show: capacity. Python clients saturate long before the server (`bench.http_ratio`, `bench.steady`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from loadtest.serving import Server

HERE: Final = Path(__file__).parent
DEMO: Final = HERE.parent / "src" / "fanion" / "definitions"
ENVIRONMENT: Final = "env_01hx"
USERS: Final = {
    "feather": ["FeatherServerSdk", "FeatherBrowser"],
    "traffical": ["TrafficalSdk"],
    "redpennon": ["RedPennonSdk"],
    "stitchd": ["StitchdService"],
    "neutral": ["Tracker"],
}
KEYS_WITHIN_S: Final = 60.0
"""Until a key is known, or refused, at most: servers look once a second, and have other things to do."""
RESTART_SLACK_S: Final = 1.0
"""After a restart's end a client may still find its connection cut."""
PERCENTILES: Final = ("50%", "95%", "99%", "99.9%", "100%")


class Meanwhile(threading.Thread):
    """Does each thing when it is due, and notes what it took and what went wrong."""

    def __init__(self, server: Server, folder: Path, every_s: dict[str, float]) -> None:
        super().__init__(daemon=True)
        self.server, self.folder, self.data = server, folder, folder / "data"
        self.done: Counter[str] = Counter()
        self.longest_s: dict[str, float] = {}
        self.problems: list[str] = []
        self.restarts: list[tuple[float, float]] = []
        self._acts = {"publish": self._publish, "revoke": self._revoke, "restart": self._restart}
        self._every_s = {name: period for name, period in every_s.items() if period}
        self._ended = threading.Event()

    def run(self) -> None:
        due = {name: time.monotonic() + period for name, period in self._every_s.items()}
        while due and not self._ended.wait(max(0.0, min(due.values()) - time.monotonic())):
            name = min(due, key=lambda one: due[one])
            self._do(name, self._acts[name])
            due[name] = max(due[name] + self._every_s[name], time.monotonic())

    def _do(self, name: str, act: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            act()
        except (OSError, SystemExit, subprocess.SubprocessError) as problem:
            self.problems.append(f"{name}: {problem}")
        self.done[name] += 1
        self.longest_s[name] = max(self.longest_s.get(name, 0.0), time.monotonic() - began)

    def end(self) -> None:
        self._ended.set()
        self.join(timeout=120)

    def _publish(self) -> None:
        publish(self.folder, switched=self.done["publish"] % 2 == 0)

    def _revoke(self) -> None:
        made = fanion("keys", "create", ENVIRONMENT, "--dialect", "feather", data=self.data)
        key, identity = made.stdout.strip(), made.stderr.split()[1].rstrip(":")
        self._do("until a key is known", lambda: self._wait_for(key, 200))
        fanion("keys", "revoke", identity, data=self.data)
        self._do("until a revoked key is refused", lambda: self._wait_for(key, 401))

    def _wait_for(self, key: str, status: int) -> None:
        end = time.monotonic() + KEYS_WITHIN_S
        found = self._status(key)
        while found != status and time.monotonic() < end:
            time.sleep(0.01)
            found = self._status(key)
        if found != status:
            self.problems.append(f"a key answered {found} where {status} was due for {KEYS_WITHIN_S:g} s")

    def _status(self, key: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/v1/sdk/context")
        request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=KEYS_WITHIN_S) as response:
                return int(response.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def _restart(self) -> None:
        began = time.time()
        status = self.server.stop()
        if status:
            self.problems.append(f"the server ended with {status}")
        self.server.start()
        self.restarts.append((began, time.time() + RESTART_SLACK_S))

    def cut(self, failure: dict[str, Any]) -> bool:
        """Whether a restart explains it."""
        return failure["status"] == 0 and any(begin <= failure["at"] <= end for begin, end in self.restarts)


def fanion(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Raises CalledProcessError."""
    command = [sys.executable, "-m", "fanion", *arguments, "--data", str(data)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def publish(folder: Path, *, switched: bool) -> None:
    """The demo definitions, with one flag's default switched or not."""
    world = yaml.safe_load((DEMO / "demo.yaml").read_text())
    (project,) = world["organisations"]["org_01hx"]["projects"].values()
    project["flags"]["new-checkout"]["default_value"] = not switched
    (folder / "demo.yaml").write_text(yaml.safe_dump(world))
    fanion("publish", str(folder / "demo.yaml"), "--yes", data=folder / "data")


def load(base: str, folder: Path, users: int, seconds: int, apis: list[str]) -> str:
    """Runs Locust to its end; what it said on standard error where it failed itself."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless"]
    command += [
        "-u",
        str(users),
        "-r",
        str(users),
        "-t",
        f"{seconds}s",
        "-H",
        base,
        "--csv",
        str(folder / "load"),
    ]
    command += ["--loglevel", "WARNING", "--processes", str(os.cpu_count() or 1), "--reset-stats"]
    command += [name for api in apis for name in USERS[api]]
    environment = os.environ | {
        "LOADTEST_FAILURES": str(folder / "failures.jsonl"),
        "LOCUST_EXIT_CODE_ON_ERROR": "0",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds + 120)
    return done.stderr if done.returncode else ""


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "load_stats.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def failures(folder: Path) -> list[dict[str, Any]]:
    path = folder / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summary(
    table: list[dict[str, str]], failed: list[dict[str, Any]], meanwhile: Meanwhile, command: str
) -> Iterator[str]:
    yield f"# `{command}`\n\n| request | count | a second | {' | '.join(PERCENTILES)} | failed |"
    yield f"|{'---|' * (len(PERCENTILES) + 4)}"
    for row in table:
        name = f"{row['Type']} {row['Name']}".strip()
        times = " | ".join(row[quantile] for quantile in PERCENTILES)
        rate = float(row["Requests/s"])
        yield f"| {name} | {row['Request Count']} | {rate:,.1f} | {times} | {row['Failure Count']} |"
    yield "\nTimes in ms, as the clients saw them, on the machine that also served.\n"
    for name, count in meanwhile.done.items():
        yield f"- {name}: {count} times, at most {meanwhile.longest_s[name]:.2f} s"
    yield f"- connections that a restart cut or refused: {sum(map(meanwhile.cut, failed))}"
    counted = Counter(f"{one['name']}: {one['what']}" for one in failed if not meanwhile.cut(one))
    yield from (f"- **failed**, {count} times: {what}" for what, count in counted.most_common(20))
    yield from (f"- **wrong**: {problem}" for problem in meanwhile.problems)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--minutes", type=int, default=0, help="in the place of --seconds")
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--api", action="append", choices=[*USERS], help="its users alone; repeatable")
    for name in ("publish", "revoke", "restart"):
        parser.add_argument(
            f"--{name}-s", type=float, default=0.0, metavar="N", help=f"{name} every N seconds"
        )
    parser.add_argument("--report", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    seconds = given.minutes * 60 or given.seconds
    every_s = {name: getattr(given, f"{name}_s") for name in ("publish", "revoke", "restart")}
    with tempfile.TemporaryDirectory(prefix="fanion-load-") as name:
        folder = Path(name)
        for path in DEMO.glob("demo*"):
            (folder / path.name).write_bytes(path.read_bytes())
        publish(folder, switched=False)
        server = Server(folder / "data", given.workers)
        server.start()
        meanwhile = Meanwhile(server, folder, every_s)
        try:
            meanwhile.start()
            own = load(f"http://127.0.0.1:{server.port}", folder, given.users, seconds, given.api or [*USERS])
        finally:
            meanwhile.end()
            status = server.stop()
        table, failed = rows(folder), failures(folder)
    text = (
        "\n".join(summary(table, failed, meanwhile, " ".join(["python -m loadtest.mix", *sys.argv[1:]])))
        + "\n"
    )
    print(text)
    if given.report is not None:
        write(given.report, text)
    total = int(table[-1]["Request Count"]) if table else 0
    bad = [one for one in failed if not meanwhile.cut(one)]
    print(f"{total} requests, {len(bad)} failed, server exit {status}")
    if bad or not total or status or meanwhile.problems or own:
        sys.stderr.write(own)
        sys.exit(1)


def write(folder: Path, markdown: str) -> None:
    from bench.report.page import as_page

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "load.md").write_text(markdown)
    (folder / "load.html").write_text(as_page("Fanion under load", markdown))


if __name__ == "__main__":
    main()
