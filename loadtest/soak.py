"""Minutes of steady ingest over HTTP, then what receipt → durable came to: `python -m loadtest.soak --minutes 10`.

A closed loop of a few connections (needs `wrk`) sends batches of 100 events to one `fanion serve --ack durable`;
sealed segments are kept up to `--keep-mib`, so files are recycled, compressed and removed meanwhile. Prints
requests, failures, and the quantiles of the server's own histogram; and as it happens, every second in which a
record took more than 50 ms, with the disk's own syncs above that and the longest time that this process, which only
sleeps, was not woken: a machine that stands still makes everything late. Nothing else should use the disk;
`--flood` has a neighbour write gigabytes to it all the while, and `--bare` leaves the server out: the disk alone,
written as the journal would. The server's memory is that of its processes, what they share aside.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from bench.data import world
from bench.http_ratio import KEY, batch
from loadtest.serving import free_port, wait_until_ready

HISTOGRAM = "fanion_journal_receipt_to_durable_seconds"
SYNCS = "fanion_journal_sync_seconds"
LATE_S = 0.05
SLEEP_S = 0.005
WARM_S = 60.0
BARE_BYTES_PER_S = 105e6
BARE_GROUP_BYTES = 29_000
FLOOD = """
import os, sys
path, block = sys.argv[1], bytes(1 << 20)
while True:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for _ in range(2048):
        os.write(fd, block)
    os.fsync(fd)
    os.close(fd)
"""
QUANTILES = (0.5, 0.99, 0.999, 0.9999, 1.0)


def quantiles(text: str) -> list[str]:
    """Upper bounds in milliseconds, from the cumulative buckets of /metrics."""
    rows = re.findall(rf'^{HISTOGRAM}_bucket{{.*?le="([^"]+)"}} (\d+)', text, re.MULTILINE)
    if not rows:
        raise SystemExit(f"/metrics has no {HISTOGRAM}")
    total = int(rows[-1][1])
    found = []
    for quantile in QUANTILES:
        bound = next(bound for bound, count in rows if int(count) >= quantile * total)
        found.append(
            f"{quantile:g}: {float(bound) * 1000:.2f}" if bound != "+Inf" else f"{quantile:g}: above all"
        )
    late = [
        (bound, total - int(count)) for bound, count in rows if float(bound) >= 0.05 and int(count) < total
    ]
    found += [f"above {float(bound) * 1000:.0f} ms: {count} of {total}" for bound, count in late]
    return found


def count_late(text: str, histogram: str) -> int:
    """Entries of the histogram above LATE_S."""
    rows = re.findall(rf'^{histogram}_bucket{{.*?le="([^"]+)"}} (\d+)', text, re.MULTILINE)
    return int(rows[-1][1]) - next(int(count) for bound, count in rows if float(bound) >= LATE_S)


def anonymous_mb(pid: int) -> float:
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    statuses = [Path(f"/proc/{each}/status").read_text() for each in (pid, *children)]
    return sum(int(status.partition("RssAnon:")[2].split()[0]) for status in statuses) / 1024


class Witness(threading.Thread):
    """Looks every second what came late, and all the time whether the machine itself stood still."""

    def __init__(self, url: str, pid: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._pid = pid
        self.warm_mb = 0.0
        self._ending = threading.Event()

    def end(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        begun = looked = last = time.monotonic()
        longest, seen = 0.0, (0, 0)
        while not self._ending.wait(SLEEP_S):
            now = time.monotonic()
            longest, last = max(longest, now - last - SLEEP_S), now
            if now - looked < 1.0:
                continue
            text = urllib.request.urlopen(self._url, timeout=5).read().decode()
            late = count_late(text, HISTOGRAM), count_late(text, SYNCS)
            if late != seen:
                records, syncs = late[0] - seen[0], late[1] - seen[1]
                print(
                    f"second {now - begun:.0f}: {records} records and {syncs} syncs above 50 ms; "
                    f"nothing ran for {longest * 1000:.0f} ms",
                    flush=True,
                )
            if not self.warm_mb and now - begun > WARM_S:
                self.warm_mb = anonymous_mb(self._pid)
            longest, seen, looked, last = 0.0, late, now, time.monotonic()


def run_bare(directory: Path | None, minutes: float) -> None:
    """Eight pre-zeroed files overwritten in turn at BARE_BYTES_PER_S, a sync after each write."""
    block, size, taken, written = os.urandom(1 << 20), 64 << 20, 0, 0
    late: list[str] = []
    with tempfile.TemporaryDirectory(dir=directory) as work, contextlib.ExitStack() as files:
        fds = [
            files.enter_context((Path(work) / str(number)).open("wb+", buffering=0)).fileno()
            for number in range(8)
        ]
        for fd in fds:
            for at in range(0, size, 1 << 20):
                os.pwrite(fd, bytes(1 << 20), at)
            os.fsync(fd)
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < minutes * 60:
            due = min(int(BARE_BYTES_PER_S * elapsed) - written, len(block))
            if due < BARE_GROUP_BYTES:
                time.sleep(0.0002)
                continue
            fd, at = fds[written // size % len(fds)], written % size
            before = time.monotonic()
            os.pwrite(fd, block[:due], min(at, size - due))
            os.fdatasync(fd)
            if (seconds := time.monotonic() - before) > LATE_S:
                late.append(f"{seconds * 1000:.0f} ms at second {elapsed:.0f}")
            written, taken = written + due, taken + 1
    print(
        f"{taken} syncs of the disk alone, {written / 1e6:.0f} MB; above 50 ms: {', '.join(late) or 'none'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--keep-mib", type=int, default=4096, help="size at which retention removes segments")
    parser.add_argument("--bare", action="store_true", help="drive the disk alone, without a server")
    parser.add_argument("--flood", action="store_true", help="have a neighbour flood the disk")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to use; default: the system's temporary one"
    )
    arguments = parser.parse_args()
    if arguments.bare:
        run_bare(arguments.directory, arguments.minutes)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        work, port, operations_port = Path(directory), free_port(), free_port()
        definitions = world(10)
        environments = definitions["organisations"]["org_bench"]["projects"]["bench"]["environments"]
        environments["production"]["keys"] = [{"key": KEY, "kind": "server", "name": "soak"}]
        (work / "world.json").write_text(json.dumps(definitions))
        fanion = [sys.executable, "-m", "fanion"]
        subprocess.run(
            [*fanion, "publish", str(work / "world.json"), "--data", str(work / "data")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        settings = {
            "FANION_LOG_LEVEL": "warning",
            "FANION_SERVER_OPERATIONS_PORT": str(operations_port),
            "FANION_JOURNAL_RETENTION_BYTES": str(arguments.keep_mib << 20),
        }
        serve = [*fanion, "serve", "--data", str(work / "data"), "--port", str(port), "--workers", "1"]
        server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, env=os.environ | settings)
        base, operations = (f"http://127.0.0.1:{number}" for number in (port, operations_port))
        flood: subprocess.Popen[bytes] | None = None
        script = work / "request.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = [[{batch(100).decode()}]]\n'
            f'wrk.headers["Authorization"] = "Bearer {KEY}"\n'
        )
        try:
            wait_until_ready(f"{operations}/readyz", server)
            witness = Witness(f"{operations}/metrics", server.pid)
            witness.start()
            if arguments.flood:
                flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(work / "flood")])
            load = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{int(arguments.minutes * 60)}s"]
            done = subprocess.run(
                [*load, "-s", str(script), f"{base}/v1/telemetry/events"], capture_output=True, text=True
            )
            witness.end()
            memory = f"{witness.warm_mb:.1f} MB after a minute, {anonymous_mb(server.pid):.1f} at the end"
            metrics = urllib.request.urlopen(f"{operations}/metrics", timeout=5).read().decode()
        finally:
            if flood is not None:
                flood.kill()
                flood.wait()
            server.send_signal(signal.SIGTERM)
            stopped = server.wait(timeout=30)
    print(*re.findall(r".*(?:requests in|Non-2xx|Socket errors|Requests/sec).*", done.stdout), sep="\n")
    print(f"anonymous memory: {memory}")
    print("receipt to durable, ms:", ", ".join(quantiles(metrics)), f"; server exit {stopped}")


if __name__ == "__main__":
    main()
