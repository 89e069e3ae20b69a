#!/usr/bin/env python3
"""Writes one of the data directories beside this file: python3 write.py COMMIT TREE OUT.tar.xz, by a Python that
has the dependencies. TREE: the commit's files, with `setup.py build_ext --inplace` done there.

What it does is what an operator did with that version: its own demo published, a key and a list's members by
command, a server that is asked flags and takes events until its journal has several segments, killed where it
stands; then rows, where that version makes them. What was answered, and what is to be found, stands in
`told.json` beside the directory. Owners and times of files are dropped, so that an archive is small.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

SETTINGS = {
    "FANION_SERVER_OPERATIONS_PORT": "18190",  # the first versions took no 0
    "FANION_LIMITS_INGEST_BODY_BYTES_MAX": "1048576",
    "FANION_JOURNAL_RING_BYTES": "8388608",
    "FANION_JOURNAL_SEGMENT_BYTES": "65536",
    "FANION_JOURNAL_EVENT_IDS": "65536",
    "FANION_JOURNAL_USED_TRACES": "65536",
    "FANION_LIMITER_SLOTS": "1024",
    "FANION_STORE_MAP_BYTES": "16777216",
}
KEY = "sk_demo_server"
LIST = ("env_01hx", "beta-users", "member-1", "member-2", "member-3")
FLAGS = ("new-checkout", "checkout-copy", "pricing-rounding")
USERS = 200
BATCHES, EVENTS = 30, 40


def main() -> None:
    commit, tree, out = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    demo = tree / "src/fanion/definitions/demo.yaml"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        path = f"{tree}/src{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        told = {**os.environ, **SETTINGS, "PYTHONPATH": path}
        fanion(told, "publish", demo, "--data", data)
        key = fanion(told, "keys", "create", "env_01hx", "--data", data).strip()
        fanion(told, "lists", "add", *LIST, "--data", data)
        answers, sent = serve(told, data, key)
        if "pipeline" in fanion(told, "--help"):
            fanion(told, "pipeline", "--once", "--data", data)
        found = {
            "commit": commit,
            "key": key,
            "list": LIST,
            "formats": formats(told),
            "answers": answers,
            "events": sent,
        }
        Path(folder, "told.json").write_text(json.dumps(found, indent=1))
        with tarfile.open(out, "w:xz", preset=9) as archive:
            for name in ("told.json", "data"):
                archive.add(Path(folder) / name, name, filter=plain)
    print(f"{out.name}: {out.stat().st_size:,} bytes")


def fanion(told: dict[str, str], *words: object) -> str:
    command = [sys.executable, "-m", "fanion", *map(str, words)]
    return subprocess.run(command, env=told, check=True, stdout=subprocess.PIPE, text=True).stdout


def formats(told: dict[str, str]) -> dict[str, int]:
    """By the constants of the version itself."""
    code = """
import importlib, json
def of(name, *places):
    for place in places:
        try:
            return getattr(importlib.import_module(place), name)
        except (ImportError, AttributeError):
            pass
print(json.dumps({
    "store": of("STORE_FORMAT", "fanion.store.layout", "fanion.store.generation", "fanion.bundle.generation"),
    "bundle": of("VERSION", "fanion.bundle.format"),
    "segment": of("VERSION", "fanion.journal.log_segment"),
    "ring": of("RING_VERSION", "fanion.journal.files"),
}))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], env=told, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(said.stdout)


def serve(told: dict[str, str], data: Path, key: str) -> tuple[dict[str, list], int]:
    """Flag -> what every user got; and how many events were acknowledged."""
    command = [sys.executable, "-m", "fanion", "serve", "--data", data, "--workers", "1", "--port", "0"]
    server = subprocess.Popen(command, env=told, stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            found = re.search(r"on http://[^ ]*:(\d+)$", line.strip())
            if found:
                break
        base = f"http://127.0.0.1:{found.group(1)}"
        answers: dict[str, list] = {flag: [] for flag in FLAGS}
        for number in range(USERS):
            document = {"flags": FLAGS, "context": {"userId": f"user_{number}"}}
            results = json.loads(ask(f"{base}/v1/evaluate/bulk", key, document))["results"]
            for flag in FLAGS:
                answers[flag].append(results[flag]["value"])
        sent = 0
        for batch in range(BATCHES):
            events = [one_event(FLAGS[event % 3], f"rule-{batch}-{event}") for event in range(EVENTS)]
            ask(f"{base}/v1/telemetry/events", KEY, {"events": events})
            sent += EVENTS
        return answers, sent
    finally:
        # The pool of its workers as well: nothing may be written any more.
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        for pid in [server.pid, *map(int, children)]:
            os.kill(pid, 9)
        server.wait()
        time.sleep(1)


def one_event(flag: str, rule: str) -> dict[str, object]:
    return {
        "flagKey": flag,
        "flagId": "flag_01hx",
        "environmentId": "env_01hx",
        "orgId": "org_01hx",
        "value": True,
        "reason": "RULE_MATCH",
        "ruleId": rule,
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": "2026-11-21T07:00:00.000Z",
    }


def ask(url: str, key: str, document: object) -> bytes:
    body = json.dumps(document).encode()
    for _ in range(100):
        request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise
        time.sleep(0.1)
    raise SystemExit(f"{url} is not answered")


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


if __name__ == "__main__":
    main()
