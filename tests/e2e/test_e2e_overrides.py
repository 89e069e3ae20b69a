"""Overrides on a running server (docs/overrides.md): set under load, in every API, over a publish; how they end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.definitions import DEMO
from tests.e2e.server import Running, publish, run, wait_until

ENVIRONMENT, ACME = "env_01hx", "org_acme/proj_marketplace/production"
USERS = [f"user-{number}" for number in range(12)]
"""Some get each half of a split."""

Question = Callable[[Running, str], Any]


def feather(running: Running, user: str) -> Any:
    return running.value("checkout-copy", key="sk_demo_server", userId=user)


def redpennon(running: Running, user: str) -> Any:
    key = {"X-API-Key": "00000000-0000-0000-0000-000000000000"}
    found = running.ask("POST", "/v1/variables/checkout-flow", {"user": {"id": user}}, key=None, headers=key)
    return found.json()["value"]


def stitchd(running: Running, user: str) -> Any:
    asked = {"flag_key": "my-flag", "context_type": "user", "context_key": user, "attributes": {}}
    path = "/v1/environments/5b1f6a52-0000-4000-8000-000000000001/evaluate"
    return running.ask("POST", path, asked, key=None, headers={"x-sdk-key": "sdk_live_demo"}).json()[
        "variant_key"
    ]


def traffical(running: Running, user: str) -> Any:
    found = running.ask("POST", "/v1/resolve", {"context": {"userId": user}}, key="traffical_sk_demo").json()
    return found["assignments"]["checkout.button.color"]


def ofrep(running: Running, user: str) -> Any:
    asked = {"context": {"targetingKey": user}}
    return running.ask(
        "POST", "/ofrep/v1/evaluate/flags/checkout-copy", asked, key="ofrep_demo_server"
    ).json()["value"]


OVERRIDES: list[tuple[Question, str, str, str, Any]] = [
    (feather, ENVIRONMENT, "checkout-copy", "b", "variant-b"),
    (ofrep, ENVIRONMENT, "checkout-copy", "b", "variant-b"),
    (redpennon, ENVIRONMENT, "checkout", "control", "multi-step"),
    (stitchd, ENVIRONMENT, "my-flag", "treatment", "treatment"),
    (traffical, ACME, "policy_color_test", "control", "#FF6600"),
]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    publish(tmp_path / "demo", DEMO)
    return tmp_path / "demo"


def override(*arguments: str, data: Path) -> None:
    done = run(["override", *arguments, "--data", str(data)], timeout_s=120)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def asked_meanwhile(running: Running) -> Iterator[list[Any]]:
    """What was odd about answers while others went on."""
    odd: list[Any] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            for question, *_ in OVERRIDES:
                try:
                    question(running, USERS[0])
                except Exception as error:
                    odd.append((question.__name__, repr(error)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield odd
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_every_api_answers_an_override_at_once_and_no_request_fails(
    demo: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", "--ack", "buffered", data=demo)
    before = {question.__name__: {question(running, user) for user in USERS} for question, *_ in OVERRIDES}
    assert all(len(values) == 2 for values in before.values()), before
    with asked_meanwhile(running) as odd:
        for _, environment, flag, answer, _ in OVERRIDES:
            override("set", environment, flag, answer, "--why", "a test", data=demo)
        for question, _, _, _, expected in OVERRIDES:
            assert {question(running, user) for user in USERS} == {expected}, question.__name__
        publish_again = run(["publish", str(DEMO), "--data", str(demo)], timeout_s=120)
        assert "checkout-copy is overridden: b, until it is cleared (a test)" in publish_again.stderr
        for question, _, _, _, expected in OVERRIDES:
            assert {question(running, user) for user in USERS} == {expected}, question.__name__
        for environment, flag in dict.fromkeys((environment, flag) for _, environment, flag, *_ in OVERRIDES):
            override("clear", environment, flag, data=demo)
        after = {question.__name__: {question(running, user) for user in USERS} for question, *_ in OVERRIDES}
    assert after == before
    assert odd == []


@pytest.mark.heavy
def test_it_ends_by_itself_also_after_a_restart(demo: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "2", "--ack", "buffered", data=demo)
    for lasting_s in (3, 15, 60):  # on a busy machine a short one is over before all were asked
        override("set", ENVIRONMENT, "checkout-copy", "b", "--for", f"{lasting_s}s", data=demo)
        seen = {feather(running, user) for user in USERS}
        if seen == {"variant-b"}:
            break
    assert seen == {"variant-b"}
    wait_until(lambda: len({feather(running, user) for user in USERS}) == 2, lasting_s + 30)
    override("set", ENVIRONMENT, "checkout-copy", "b", "--for", "2s", data=demo)
    assert running.stop() == 0
    time.sleep(2)
    running = serve("--workers", "2", "--ack", "buffered", data=demo)
    assert len({feather(running, user) for user in USERS}) == 2
    override("set", ENVIRONMENT, "checkout-copy", "b", "--for", "1h", data=demo)
    assert running.stop() == 0
    running = serve("--workers", "2", "--ack", "buffered", data=demo)
    assert {feather(running, user) for user in USERS} == {"variant-b"}
