"""OFREP through the whole application in process: key, context, deciding, answer.

A regression here eats into what every OpenFeature client waits for. A round is `bench.asgi.REQUESTS` requests:
divide by it for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.asgi import Driver, Snapshot
from bench.data import ENVIRONMENT, flag_key, open_world
from fanion.dialects.ofrep.routes import DIALECT
from fanion.model.signing import SigningKeys

HEADERS = {"authorization": "Bearer sk_bench", "content-type": "application/json"}
FLAGS = "/ofrep/v1/evaluate/flags"
CONTEXT = {"targetingKey": "user_123", "country": "DE", "plan": "pro", "email": "a@b.example", "beta": True}


class OfrepSnapshot(Snapshot):
    """A snapshot that also says what its environment is answered from, and what addresses are signed with."""

    signing_keys = SigningKeys(b"signing key of the bench")

    def content(self, environment: str) -> bytes:
        return b"content of the bench"


def make_driver(count: int) -> Driver:
    return Driver(
        OfrepSnapshot(open_world(count, ofrep=DIALECT.render), DIALECT, b"sk_bench", ENVIRONMENT), [DIALECT]
    )


@pytest.fixture(scope="module")
def fifty() -> Iterator[Driver]:
    made = make_driver(50)
    yield made
    made.close()


@pytest.fixture(scope="module")
def thousand() -> Iterator[Driver]:
    made = make_driver(1_000)
    yield made
    made.close()


def bench_one(benchmark: Any, thousand: Driver) -> None:
    body = json.dumps({"context": CONTEXT}).encode()
    answer = benchmark(thousand.request, f"{FLAGS}/{flag_key(7)}", body, HEADERS)
    assert json.loads(answer)["reason"] in ("SPLIT", "DEFAULT")


def bench_all_of_50(benchmark: Any, fifty: Driver) -> None:
    """Target over HTTP: ≥ 14,000 requests a second on one core."""
    body = json.dumps({"context": CONTEXT}).encode()
    answer = benchmark(fifty.request, FLAGS, body, HEADERS)
    assert len(json.loads(answer)["flags"]) == 50


def bench_50_of_1_000(benchmark: Any, thousand: Driver) -> None:
    named = {"fanion": {"flags": [flag_key(n * 7) for n in range(50)]}}
    body = json.dumps({"context": CONTEXT | named}).encode()
    answer = benchmark(thousand.request, FLAGS, body, HEADERS)
    assert len(json.loads(answer)["flags"]) == 50


def bench_unchanged(benchmark: Any, thousand: Driver) -> None:
    """304, by a tag that is made and compared before anything is evaluated."""
    body = json.dumps({"context": CONTEXT}).encode()
    assert benchmark(thousand.request, FLAGS, body, HEADERS | {"if-none-match": "*"}) == b""
