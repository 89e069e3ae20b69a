"""Red Pennon's answers through the whole application in process: routing, key, body, deciding, signing, answer.

A regression here eats into the ratio to the do-nothing app (`python -m bench.redpennon_ratio`). A round is
`bench.asgi.REQUESTS` requests: divide by it for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from bench.asgi import Driver, Snapshot
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.source import FORMAT
from fanion.dialects.redpennon.routes import DIALECT
from fanion.dialects.redpennon.trace import TOKEN_CHARACTERS, TraceSigner, scope_of
from fanion.engine.evaluator import Bundle, open_environment
from fanion.model.signing import SigningKeys

ENVIRONMENT = "env_bench"
KEY = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a10"
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
USER = {"id": "user_123", "country": "DE", "custom_data": {"plan": "pro"}}
KEYS = SigningKeys(b"k" * 32)


def features(count: int) -> dict[str, Any]:
    """Each with two conditions joined by AND, then a 50 % distribution."""
    rule = {
        "conditions": [
            {"property": "country", "operator": "is", "values": ["DE", "AT", "CH"]},
            {"property": "custom_property", "custom_key": "plan", "operator": "is", "values": ["pro"]},
        ],
        "distribution": [{"variation": "control", "weight": 50}, {"variation": "variant-a", "weight": 50}],
    }
    targeting = {"targeting": "on", "default_variation": "control", "rules": [rule]}
    return {
        f"feature-{n}": {
            "variables": {f"variable-{n}": {"type": "string"}},
            "variations": {"control": {f"variable-{n}": "C"}, "variant-a": {f"variable-{n}": "A"}},
            "environments": {"production": targeting},
        }
        for n in range(count)
    }


@cache
def open_world(count: int) -> Bundle:
    report = Report()
    builder = Builder(ENVIRONMENT, {"redpennon": {"environment": ENVIRONMENT}}, "production")
    document = {"redpennon": 1, "environments": ["production"], "features": features(count)}
    source = SourceFile("features.json", json.dumps(document).encode())
    parsed = FORMAT.parse(source, report)
    assert parsed is not None, report.problems
    FORMAT.lower(parsed, source, builder, report)
    return open_environment(ENVIRONMENT, compile_bundle(builder.finish(), {DIALECT.name: DIALECT.render}))


class Signed(Snapshot):
    signing_keys = KEYS


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    made = Driver(Signed(open_world(1_000), DIALECT, KEY.encode(), ENVIRONMENT), [DIALECT])
    yield made
    made.close()


def bench_one_with_trace(benchmark: Any, driver: Driver) -> None:
    """Target over HTTP: ≥ 0.85 × the do-nothing app."""
    body = json.dumps({"user": USER}).encode()
    answer = json.loads(benchmark(driver.request, "/v1/variables/variable-7", body, HEADERS))
    assert answer["reason"] == "targeting_rule_matched"
    assert len(answer["evaluation_trace"]) == TOKEN_CHARACTERS


def bench_one_anonymous(benchmark: Any, driver: Driver) -> None:
    """What the signature costs is the difference to the bench above."""
    answer = json.loads(benchmark(driver.request, "/v1/variables/variable-7", b"{}", HEADERS))
    assert answer["evaluation_trace"] is None


@pytest.mark.parametrize("count", [1, 10, 100])
def bench_many_with_traces(benchmark: Any, driver: Driver, count: int) -> None:
    body = json.dumps({"keys": [f"variable-{n * 7}" for n in range(count)], "user": USER}).encode()
    results = json.loads(benchmark(driver.request, "/v1/variables", body, HEADERS))["results"]
    assert len(results) == count
    assert all(result["evaluation_trace"] for result in results.values())


def bench_fifty_decided(benchmark: Any) -> None:
    """What the core does of a batch of 50, without signing and the answer. Target: ≤ 8 µs; the answers are short,
    so a bundle that was asked before has them as objects."""
    bundle, keys = open_world(350), [f"variable-{n * 7}" for n in range(50)]
    table, contexts = bundle.table(DIALECT.name), (("custom_data", "", USER["custom_data"]),)
    answers = benchmark(lambda: bundle.ask(USER, None, contexts).put_each(table, keys, False))
    assert len(answers) == 50


def bench_issue_trace(benchmark: Any) -> None:
    """Signing alone."""
    signer, scope = TraceSigner(KEYS, 300), scope_of(ENVIRONMENT, "feature-7", "control")
    assert len(benchmark(signer.issue, scope, "user_123")) == 52


def bench_check_trace(benchmark: Any) -> None:
    """Verifying alone, for an event that names its user."""
    signer, scope = TraceSigner(KEYS, 300), scope_of(ENVIRONMENT, "feature-7", "control")
    token = f"rpe_v1:{scope.decode()}{signer.issue(scope, 'user_123').decode()}"
    assert benchmark(signer.check, token, scope, "user_123") is not None
