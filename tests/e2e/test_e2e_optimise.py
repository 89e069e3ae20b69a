"""Weights from what clients sent to what every worker answers (docs/optimise.md), without a restart."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanion import Evaluator
from tests.e2e.server import Running, publish, run, wait_until

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
pytest.importorskip("scipy")

KEY, OFREP = "traffical_sk_optimise", "ofrep_optimise"
CONFIG = "/v1/config/proj_1?env=production"
NAMES = ("red", "green", "blue")
CONNECTIONS = 40


def document() -> dict[str, Any]:
    """An adaptive policy that divides buckets, and one of entities for the edge."""

    def allocations(parameter: str) -> list[dict[str, Any]]:
        spans = ([0, 3332], [3333, 6665], [6666, 9999])
        return [
            {
                "id": f"a_{name}",
                "key": name,
                "name": name.title(),
                "bucketRange": span,
                "overrides": {parameter: name},
            }
            for name, span in zip(NAMES, spans, strict=True)
        ]

    def layer(name: str, **more: Any) -> dict[str, Any]:
        policy = {"id": f"pol_{name}", "state": "running", "kind": "adaptive", "conditions": []}
        return {
            "id": f"lay_{name}",
            "policies": [policy | {"allocations": allocations(f"colour.{name}")} | more],
        }

    entity = {"entityConfig": {"entityKeys": ["product"], "resolutionMode": "edge"}}
    layers = [layer("buckets"), layer("edge", **entity)]
    parameters = [
        {
            "key": f"colour.{one['id'][4:]}",
            "type": "string",
            "default": "none",
            "layerId": one["id"],
            "namespace": "c",
        }
        for one in layers
    ]
    hashing = {"unitKey": "userId", "bucketCount": 10_000, "algorithm": "sha256-v2"}
    ids = {
        "orgId": "org_1",
        "projectId": "proj_1",
        "env": "production",
        "version": "2026-01-01T00:00:00.000Z",
    }
    return {**ids, "hashing": hashing, "parameters": parameters, "layers": layers}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "bundle.json").write_text(json.dumps(document()))
    keys = [{"key": KEY, "kind": "server"}, {"key": OFREP, "kind": "server"}]
    environment = {"id": "env_1", "sources": [{"format": "traffical", "path": "bundle.json"}], "keys": keys}
    project = {"environments": {"production": environment}}
    (tmp_path / "world.yaml").write_text(
        yaml.safe_dump({"organisations": {"org_1": {"projects": {"proj_1": project}}}})
    )
    publish(tmp_path / "data", tmp_path / "world.yaml")
    return tmp_path / "data"


def asked(running: Running, connection: http.client.HTTPConnection, unit: str) -> dict[str, Any]:
    body = {"context": {"userId": unit, "product": "p"}}
    found: dict[str, Any] = running.ask_on(connection, "POST", "/v1/resolve", body, key=KEY).json()
    return found


def use(running: Running, units: int) -> None:
    """They are decided for, exposed, and buy where they saw green."""
    events: list[dict[str, Any]] = []
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)) as connection:
        for number in range(units):
            unit = f"u-{number}"
            found = asked(running, connection, unit)
            common = {"unitKey": unit, "timestamp": at}
            layers = found["metadata"]["layers"]
            shown = {
                "type": "exposure",
                "id": f"exp_{unit}",
                "layers": layers,
                "assignments": found["assignments"],
            }
            events.append(common | shown)
            if found["assignments"]["colour.buckets"] == "green":
                events.append(common | {"type": "track", "id": f"trk_{unit}", "event": "purchase"})
        for first in range(0, len(events), 500):
            batch = {"events": events[first : first + 500]}
            answer = running.ask_on(connection, "POST", "/v1/events/batch", batch, key=KEY)
            assert answer.status == 200, answer
            assert answer.json()["accepted"] == len(batch["events"]), answer


def test_applied_weights_are_in_the_next_answer_of_every_worker_and_in_its_tags(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", "--pipeline", data=data)
    wait_until(running.takes_events)
    units = 300
    use(running, units)
    command = ("optimise", "pol_buckets", "--reward", "purchase", "--data", str(data), "--format", "json")

    def seen() -> bool:
        done = run(command, timeout_s=120)
        return done.returncode == 0 and json.loads(done.stdout)["units"] == units

    wait_until(seen)
    with contextlib.ExitStack() as stack:
        opened = [
            http.client.HTTPConnection("127.0.0.1", running.port, timeout=100) for _ in range(CONNECTIONS)
        ]
        for one in opened:
            stack.callback(one.close)
        evaluator = stack.enter_context(Evaluator(data, "env_1"))
        people = [f"new-{n}" for n in range(CONNECTIONS)]

        def colours(parameter: str) -> Counter[str]:
            pairs = zip(opened, people, strict=True)
            return Counter(asked(running, one, unit)["assignments"][parameter] for one, unit in pairs)

        def tags() -> tuple[str, str]:
            body = {"context": {"targetingKey": "u-1"}}
            bulk = running.ask("POST", "/ofrep/v1/evaluate/flags", body, key=OFREP)
            return running.ask("GET", CONFIG, key=KEY).headers["etag"], bulk.headers["etag"]

        for name, changes_config in (("buckets", True), ("edge", False)):
            parameter = f"colour.{name}"
            asked_of = ("optimise", f"pol_{name}", "--reward", "purchase", "--data", str(data), "--apply")
            assert max(colours(parameter).values()) < CONNECTIONS * 0.8
            before = tags()
            pids = running.workers()
            done = run((*asked_of, "--floor", "0.01"), timeout_s=120)
            assert done.returncode == 0, done.stderr
            after = colours(parameter)  # the first answers on each connection
            if name == "buckets":
                assert after["green"] >= CONNECTIONS * 0.85, after
                mine = [evaluator.evaluate(parameter, {"userId": unit}).value for unit in people]
                assert Counter(mine) == after
            config, bulk = tags()
            assert (config != before[0]) is changes_config
            assert bulk != before[1]
            cached = {"If-None-Match": before[0]}
            assert running.ask("GET", CONFIG, key=KEY, headers=cached).status == (
                200 if changes_config else 304
            )
            assert running.workers() == pids
