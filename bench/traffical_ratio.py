"""Traffical's requests a second beside the do-nothing app, interleaved on one machine; see `bench.http_ratio`.

`python -m bench.traffical_ratio [--rounds 7] [--seconds 3]` needs `wrk`. Events carry new ids with every request,
since repeats write nothing; a hundred new ids are more work for the generator than for the server, so that case has
none. Decide's clients give up after 100 ms, so its 99.9th percentile is printed too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from bench.bench_traffical import CONTEXT, EVENT, HEADERS, KEY, document
from bench.http_ratio import compare, report

ID = "exp_#############"
"""Replaced by a new one in every event of every request."""
SCRIPT = """
wrk.method = "%(method)s"
wrk.headers["Authorization"] = "Bearer %(key)s"
wrk.headers["Content-Type"] = "application/json"
%(more)s
local body, seed, count = [[%(body)s]], math.random(1e6), 0
function request()
  if not body:find("#", 1, true) then return wrk.format(nil, nil, nil, #body > 0 and body or nil) end
  return wrk.format(nil, nil, nil, (body:gsub("#############", function()
    count = count + 1
    return string.format("%%06d%%07d", seed, count)
  end)))
end
function done(summary, latency, requests)
  io.write(string.format("p99.9 %%.2f ms\\n", latency:percentile(99.9) / 1000))
end
"""


class Case(NamedTuple):
    """`project` names one of the bundles below."""

    name: str
    target: float
    path: str
    project: str
    body: bytes = b""
    more: str = ""


def resolve(**more: Any) -> bytes:
    return json.dumps({"context": CONTEXT, "env": "e", **more}).encode()


def batch(count: int, **changes: Any) -> bytes:
    event = {name: value for name, value in (EVENT | {"projectId": "small"} | changes).items() if value}
    return json.dumps({"events": [event] * count}).encode()


DECIDE = json.dumps({"entityId": "e", "unitKeyValue": "user_123", "allocationCount": 2}).encode()
CASES = [
    Case("resolve, 3 parameters", 0.95, "/v1/resolve", "small", resolve()),
    Case("resolve, 100 parameters", 0.85, "/v1/resolve", "large", resolve()),
    Case("decide", 0.85, "/v1/decide/policy_0", "edge", DECIDE),
    Case(
        "config, not modified", 0.85, "/v1/config/large", "large", more='wrk.headers["If-None-Match"] = "*"'
    ),
    Case("events of 10, durable", 0.50, "/v1/events/batch", "small", batch(10, id=ID)),
    Case("100 without ids, durable", 0.50, "/v1/events/batch", "small", batch(100, id=None)),
]
BUNDLES = {
    "small": document(1, 3),
    "large": document(10, 10),
    "edge": document(1, 3, entityConfig={"entityKeys": ["userId"], "resolutionMode": "edge"}),
}


def key_of(project: str) -> str:
    return f"{KEY}_{project}"


def write_world(folder: Path) -> Path:
    projects = {}
    for name, bundle in BUNDLES.items():
        (folder / f"{name}.json").write_text(json.dumps(bundle | {"projectId": name}))
        source = {"format": "traffical", "path": f"{name}.json"}
        projects[name] = {"environments": {"e": {"keys": [{"key": key_of(name)}], "sources": [source]}}}
    world = folder / "world.json"
    world.write_text(json.dumps({"fanion": 1, "organisations": {"o": {"projects": projects}}}))
    return world


def ask(port: int, case: Case) -> tuple[int, bytes]:
    headers = HEADERS | {"authorization": f"Bearer {key_of(case.project)}"}
    if case.more:
        headers["if-none-match"] = "*"
    url = f"http://127.0.0.1:{port}{case.path}"
    request = urllib.request.Request(url, case.body or None, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        if error.code != 304:
            raise
        return error.code, b""


def script_of(case: Case) -> str:
    fields = {"key": key_of(case.project), "more": case.more, "body": case.body.decode()}
    return SCRIPT % (fields | {"method": "POST" if case.body else "GET"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        data = work / "data"
        publish = [sys.executable, "-m", "fanion", "publish", str(write_world(work)), "--data", str(data)]
        subprocess.run(publish, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"{'case':26}{'fanion/s':>10}{'nothing/s':>11}{'ratio':>7}{'target':>8}{'p99.9 ms':>10}")
        for case in CASES:
            row = compare(
                case.name,
                case.path,
                lambda port, case=case: ask(port, case),  # type: ignore[misc]
                script_of(case),
                data,
                work,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
            )
            figures = f"{row.fanion:10,.0f}{row.nothing:11,.0f}{row.ratio:7.2f}{case.target:8.2f}"
            print(f"{case.name:26}{figures}{row.tail_ms:10.2f}", flush=True)
            report(f"traffical {case.name}", row)


if __name__ == "__main__":
    main()
