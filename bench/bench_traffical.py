"""Traffical's answers through the whole application in process: routing, key, body, layers, answer.

A regression here eats into the ratio to the do-nothing app; decide has 100 ms in its clients, network included.
A round is `bench.asgi.REQUESTS` requests: divide by it for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from bench.asgi import Driver, Snapshot
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.traffical.source import FORMAT
from fanion.dialects.traffical.events import check_events, check_plain
from fanion.dialects.traffical.routes import DIALECT
from fanion.dialects.traffical.schema import Schema
from fanion.engine.evaluator import Bundle, open_environment

ENVIRONMENT = "env_bench"
KEY = "traffical_sk_bench"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
CONTEXT = {"userId": "user_123", "country": "DE", "plan": "pro", "score": 0.7}
COEFFICIENTS = {
    "intercept": 0.1,
    "numeric": [{"key": "score", "coef": 0.5, "missing": 0.0}],
    "categorical": [{"key": "plan", "values": {"pro": 0.4, "free": -0.4}, "missing": 0.0}],
}
MODEL = {
    "gamma": 0.5,
    "actionProbabilityFloor": 0.05,
    "defaultAllocationScore": 0.0,
    "coefficients": {"control": COEFFICIENTS, "treatment": COEFFICIENTS},
}
EVENT = {
    "type": "exposure",
    "id": "exp_01M7Y3BWW33H4033YY6JDFKNKH",
    "decisionId": "dec_01M7Y3BWW3WC2MWMYFGWEZRTK9",
    "orgId": "o",
    "projectId": "p",
    "env": "e",
    "unitKey": "user_123",
    "timestamp": "2026-11-21T03:45:56.611Z",
    "assignments": {"p0.k0": "t"},
    "layers": [{"layerId": "layer_0", "bucket": 893, "policyId": "policy_0", "allocationName": "treatment"}],
}


def layer(number: int, parameters: int, **policy: Any) -> dict[str, Any]:
    """Two conditions joined by AND, then halves that override every parameter of the layer."""
    overrides = {f"p{number}.k{n}": "t" for n in range(parameters)}
    conditions = [
        {"field": "country", "op": "in", "values": ["DE", "AT", "CH"]},
        {"field": "plan", "op": "eq", "value": "pro"},
    ]
    made = {
        "id": f"policy_{number}",
        "state": "running",
        "kind": "static",
        "conditions": conditions,
        "allocations": [
            {"name": "control", "bucketRange": [0, 4999], "overrides": {}},
            {"name": "treatment", "bucketRange": [5000, 9999], "overrides": overrides},
        ],
    }
    return {"id": f"layer_{number}", "policies": [made | policy]}


def document(layers: int, parameters: int, **policy: Any) -> dict[str, Any]:
    """A config bundle of `layers` layers with `parameters` parameters each."""
    return {
        "version": "2026-05-21T10:30:00.000Z",
        "orgId": "o",
        "projectId": "p",
        "env": "e",
        "hashing": {"unitKey": "userId", "bucketCount": 10_000},
        "parameters": [
            {"key": f"p{number}.k{n}", "type": "string", "default": "d", "layerId": f"layer_{number}"}
            for number in range(layers)
            for n in range(parameters)
        ],
        "layers": [layer(number, parameters, **policy) for number in range(layers)],
    }


@cache
def open_world(kind: str) -> Bundle:
    edge = {"entityKeys": ["userId"], "resolutionMode": "edge"}
    documents = {
        "one layer of 3": lambda: document(1, 3),
        "10 layers of 10": lambda: document(10, 10),
        "100 layers of 1": lambda: document(100, 1),
        "10 models": lambda: document(10, 10, contextualModel=MODEL),
        "edge": lambda: document(1, 3, entityConfig=edge),
    }
    report = Report()
    builder = Builder(ENVIRONMENT, {"traffical": {}})
    source = SourceFile("bundle.json", json.dumps(documents[kind]()).encode())
    FORMAT.lower(FORMAT.parse(source, report), source, builder, report)
    return open_environment(ENVIRONMENT, compile_bundle(builder.finish(), {DIALECT.name: DIALECT.render}))


@pytest.fixture
def drive() -> Iterator[Any]:
    drivers: list[Driver] = []

    def make(kind: str) -> Driver:
        drivers.append(Driver(Snapshot(open_world(kind), DIALECT, KEY.encode(), ENVIRONMENT), [DIALECT]))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


@pytest.mark.parametrize(
    ("kind", "count"),
    [("one layer of 3", 3), ("10 layers of 10", 100), ("100 layers of 1", 100), ("10 models", 100)],
)
def bench_resolve(benchmark: Any, drive: Any, kind: str, count: int) -> None:
    """Targets over HTTP as for Feather's bulk: 3 parameters ≥ 0.95 ×, 100 ≥ 0.85 × the do-nothing app."""
    body = json.dumps({"context": CONTEXT, "env": "e"}).encode()
    answer = json.loads(benchmark(drive(kind).request, "/v1/resolve", body, HEADERS))
    assert len(answer["assignments"]) == count
    assert len(answer["decisions"]) == len(answer["metadata"]["layers"])


def bench_resolve_of_3_among_100(benchmark: Any, drive: Any) -> None:
    """Every layer is decided, whatever is asked for; attribution asks for it (docs/apis/traffical.md:
    Resolution)."""
    body = json.dumps({"context": CONTEXT, "parameters": ["p1.k1", "p2.k2", "p3.k3"]}).encode()
    answer = json.loads(benchmark(drive("10 layers of 10").request, "/v1/resolve", body, HEADERS))
    assert len(answer["assignments"]) == 3


def bench_decide(benchmark: Any, drive: Any) -> None:
    body = json.dumps({"entityId": "e", "unitKeyValue": "user_123", "allocationCount": 2}).encode()
    answer = json.loads(benchmark(drive("edge").request, "/v1/decide/policy_0", body, HEADERS))
    assert answer["weights"] == [0.5, 0.5]


def bench_config_not_modified(benchmark: Any, drive: Any) -> None:
    """What every client asks once a minute."""
    driver = drive("10 layers of 10")

    headers = HEADERS | {"if-none-match": "*"}
    assert benchmark(driver.request, "/v1/config/p", b"", headers, method="GET") == b""


@pytest.mark.parametrize("count", [1, 10, 100])
def bench_check_events(benchmark: Any, count: int) -> None:
    """Validation alone, without the journal: one bad event must not cost the others."""
    schema = Schema(Config().limits)
    at = DIALECT.bind(open_world("one layer of 3"))
    body = msgspec.json.encode({"events": [EVENT] * count})
    batch = benchmark(lambda: check_events(schema, at, schema.events(body)))
    assert batch.accepted == count, batch.errors


@pytest.mark.parametrize("count", [1, 10, 100])
def bench_check_plain_events(benchmark: Any, count: int) -> None:
    """The same for batches as SDKs send them, which need no look at each."""
    schema = Schema(Config().limits)
    at = DIALECT.bind(open_world("one layer of 3"))
    body = msgspec.json.encode({"events": [EVENT] * count})
    batch = benchmark(lambda: check_plain(at, schema.plain_events(body) or []))
    assert batch is not None
    assert batch.accepted == count
