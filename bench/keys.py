"""Keys made and revoked, against how many there are: `python -m bench.keys [--keys 100 10000] [--changes 200]`.

A store with so many keys in its definitions, and a server of one worker on it that `wrk` asks without a break. This
process makes keys and revokes them, one after the other, each durable when its call returns. Printed are ms a key
made and a key revoked, how many of both a second that is, after how many ms a revoked key was first refused, and
the worker's CPU µs a request with and without changes, in turn. Needs `wrk`.

What it can't show: the commands, of which each starts a process for one key; disks that sync faster or slower.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, NamedTuple

from bench.data import ENVIRONMENT, world
from bench.figures import say
from bench.http_ratio import KEY, bulk, drive, fanion, free_port, post_script, running
from bench.ofrep_ratio import cpu_s
from fanion.auth.keys import create_key, hash_key
from fanion.store.store import Store

PATH: Final = "/v1/evaluate/bulk"


class Found(NamedTuple):
    made_ms: list[float]
    revoked_ms: list[float]
    refused_ms: list[float]


def publish(work: Path, keys: int) -> Path:
    made = world(10)
    environments = made["organisations"]["org_bench"]["projects"]["bench"]["environments"]
    hashes = [f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}" for number in range(keys - 1)]
    environments["production"]["keys"] = [{"key": KEY}, *({"key": one} for one in hashes)]
    (work / "world.json").write_text(json.dumps(made))
    command = [
        sys.executable,
        "-m",
        "fanion",
        "publish",
        str(work / "world.json"),
        "--data",
        str(work / "data"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return work / "data"


def is_taken(url: str, key: str) -> bool:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, bulk(2), headers), timeout=5):
            return True
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return False


def change(store: Store, url: str, changes: int, found: Found, *, ask_every: int = 10) -> None:
    """Makes and revokes so many keys; every tenth is asked with before and after."""
    for number in range(changes):
        raw, record = create_key(environment=ENVIRONMENT, organisation="org_bench", name=f"bench {number}")
        began = time.perf_counter()
        store.add_key(hash_key(raw.encode()), record)
        found.made_ms.append((time.perf_counter() - began) * 1e3)
        asked = number % ask_every == 0
        if asked and not is_taken(url, raw):
            raise SystemExit("a key that was made isn't taken")
        began = time.perf_counter()
        store.revoke_key(record.id)
        revoked = time.perf_counter()
        found.revoked_ms.append((revoked - began) * 1e3)
        while asked and is_taken(url, raw):
            pass
        if asked:
            found.refused_ms.append((time.perf_counter() - revoked) * 1e3)


def measure(keys: int, changes: int, rounds: int, work: Path) -> None:
    data, port = publish(work, keys), free_port()
    url, script = f"http://127.0.0.1:{port}{PATH}", work / "request.lua"
    script.write_text(
        post_script(bulk(2), {"authorization": f"Bearer {KEY}", "content-type": "application/json"})
    )
    found, took = Found([], [], []), {"still": list[float](), "changing": list[float]()}
    with running(fanion(data, port, "durable"), f"http://127.0.0.1:{port}/healthz") as pid:
        drive("warm", url, script, 1)
        with Store.open(data, write=True) as store:
            for _ in range(rounds):
                for kind, cpu in took.items():
                    changing = threading.Thread(target=change, args=(store, url, changes, found))
                    before = cpu_s(pid)
                    if kind == "changing":
                        changing.start()
                    driven = drive(kind, url, script, 3)
                    cpu.append((cpu_s(pid) - before) / (driven.rate * 3) * 1e6)
                    if kind == "changing":
                        changing.join()
    made, revoked, refused = (statistics.median(one) for one in found)
    still, changing_us = (statistics.median(one) for one in took.values())
    rate = 2e3 / (made + revoked)
    print(
        f"{keys:9,}{made:9.2f}{revoked:9.2f}{rate:10,.0f}{refused:11.2f}{max(found.refused_ms):8.1f}"
        f"{still:11.1f}{changing_us:11.1f}",
        flush=True,
    )
    say(f"keys/{keys}/made", made, "ms")
    say(f"keys/{keys}/revoked", revoked, "ms")
    say(f"keys/{keys}/refused after", refused, "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk on the PATH")
    heads = ("keys", "made ms", "revoked", "of both/s", "refused ms", "most", "CPU still", "changing")
    print(
        f"{heads[0]:>9}{heads[1]:>9}{heads[2]:>9}{heads[3]:>10}{heads[4]:>11}{heads[5]:>8}{heads[6]:>11}{heads[7]:>11}"
    )
    for keys in arguments.keys:
        with tempfile.TemporaryDirectory() as name:
            measure(keys, arguments.changes, arguments.rounds, Path(name))


if __name__ == "__main__":
    main()
