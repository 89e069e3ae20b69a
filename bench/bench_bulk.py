"""A bulk evaluation through the whole application in process: auth, decoding, deciding, answer.

A regression here eats into the ratio to the do-nothing app (`python -m bench.http_ratio`). A round is
`bench.asgi.REQUESTS` requests: divide by it for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.asgi import Driver, Snapshot
from bench.data import ENVIRONMENT, flag_key, open_world
from fanion.dialects.feather.routes import DIALECT

HEADERS = {"authorization": "Bearer sk_bench", "content-type": "application/json"}


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    made = Driver(Snapshot(open_world(1_000), DIALECT, b"sk_bench", ENVIRONMENT), [DIALECT])
    yield made
    made.close()


@pytest.mark.parametrize("flags", [1, 2, 100])
def bench_bulk(benchmark: Any, driver: Driver, flags: int) -> None:
    """Targets over HTTP: 2 flags ≥ 0.95 ×, 100 flags ≥ 0.85 × the do-nothing app."""
    context = {"userId": "user_123", "attributes": {"country": "DE", "plan": "pro"}}
    body = json.dumps({"flags": [flag_key(n * 7) for n in range(flags)], "context": context}).encode()
    answer = benchmark(driver.request, "/v1/evaluate/bulk", body, HEADERS)
    results = json.loads(answer)["results"]
    assert list(results) == [flag_key(n * 7) for n in range(flags)]
    assert {result["reason"] for result in results.values()} <= {"ROLLOUT", "DEFAULT"}
