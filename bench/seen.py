"""`python -m bench.seen`: a publish under load, from its commit until every worker has answered with it.

A server of two workers with `--flags` flags (10,000), and eight connections that ask for two of them without a
break. Each change switches both by `fanion publish`, in a process of its own. Taken: from when the generation word
rose until the last connection had its first answer of the new generation. Counted: answers other than 200, and
those in which one flag is new and the other old, of which there must be none.
What it can't show: which worker answered (connections spread over them as the kernel has it); other machines, which
`bench.places` measures.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from bench.data import flag_key, world
from bench.figures import say
from bench.http_ratio import KEY, fanion, free_port, running
from bench.steady import length_of
from fanion.store.store import Store

CONNECTIONS: Final = 8
WORKERS: Final = 2
LOOK_S: Final = 0.000_5
SEEN_S: Final = 30.0
SWITCHED: Final = (flag_key(0), flag_key(7))
BODY: Final = json.dumps({"flags": SWITCHED, "context": {"userId": "user_123", "attributes": {}}}).encode()
REQUEST: Final = (
    b"POST /v1/evaluate/bulk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(BODY), BODY)
)


class Asking(asyncio.Protocol):
    """One connection, which asks again as soon as it is answered. `since`: when it first had the value it has."""

    def __init__(self) -> None:
        self.value: bool | None = None
        self.since = 0.0
        self.answers = self.failed = self.mixed = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, mark, body = self._received.partition(b"\r\n\r\n")
        if not mark or len(body) < length_of(head):
            return
        self._received = b""
        self.answers += 1
        if head[9:12] == b"200":
            self._take(json.loads(body)["results"])
        else:
            self.failed += 1
        self._transport.write(REQUEST)

    def _take(self, results: dict[str, Any]) -> None:
        first, second = (results[key]["value"] for key in SWITCHED)
        self.mixed += first != second
        if first == second != self.value:
            self.value, self.since = first, time.perf_counter()

    def connection_lost(self, failure: Exception | None) -> None:
        self.failed += 1
        self.value = None

    def close(self) -> None:
        lost = self.failed
        self._transport.abort()
        self.failed = lost


def write(path: Path, flags: int, value: bool) -> None:
    made = world(flags)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    hashed = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
    project["environments"]["production"]["keys"] = [{"key": hashed, "kind": "server"}]
    for key in SWITCHED:
        project["flags"][key] |= {"default_value": value, "rules": []}
    path.write_text(json.dumps(made))


def publishing(path: Path, data: Path) -> list[str]:
    return [sys.executable, "-m", "fanion", "publish", str(path), "--data", str(data)]


async def change(path: Path, data: Path, store: Store, asking: list[Asking], value: bool) -> float:
    """Seconds from the commit until all have seen it. Raises TimeoutError."""
    before = store.generation()
    command = await asyncio.create_subprocess_exec(*publishing(path, data), stdout=subprocess.DEVNULL)
    async with asyncio.timeout(SEEN_S):
        while store.generation() == before:
            await asyncio.sleep(LOOK_S)
        committed = time.perf_counter()
        while any(one.value is not value for one in asking):
            await asyncio.sleep(LOOK_S)
        if await command.wait():
            raise SystemExit(f"fanion publish ended with {command.returncode}")
    return max(one.since for one in asking) - committed


async def run(port: int, paths: dict[bool, Path], data: Path, changes: int) -> None:
    loop = asyncio.get_running_loop()
    asking = [(await loop.create_connection(Asking, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    with Store.open(data) as store:
        taken = [await change(paths[n % 2 == 0], data, store, asking, n % 2 == 0) for n in range(changes)]
    failed, mixed = sum(one.failed for one in asking), sum(one.mixed for one in asking)
    for one in asking:
        one.close()
    most, median = max(0.0, *taken) * 1e3, statistics.median(taken) * 1e3
    print(
        f"{changes} publishes, seen by all {CONNECTIONS} connections after {median:.1f} ms in the median, "
        f"{most:.1f} at most; {sum(one.answers for one in asking):,} answers, {failed} failed, {mixed} mixed"
    )
    say("seen/by every worker", most, "ms")
    say("seen/failed", failed, "answers")
    say("seen/mixed", mixed, "answers")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flags", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-seen-") as name:
        data, port = Path(name) / "data", free_port()
        paths = {value: Path(name) / f"{value}.json" for value in (False, True)}
        for value, path in paths.items():
            write(path, options.flags, value)
        subprocess.run(publishing(paths[False], data), check=True, stdout=subprocess.DEVNULL)
        command = [*fanion(data, port, "durable"), "--workers", str(WORKERS)]
        with running(command, f"http://127.0.0.1:{port}/healthz"):
            uvloop.run(run(port, paths, data, options.changes))


if __name__ == "__main__":
    main()
