"""The provider that evaluates in process, through the real OpenFeature client, beside a server on its store."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode, GeneralError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from fanion import openfeature as module
from fanion.openfeature import FanionProvider
from tests.e2e.server import Running, publish, start, wait_until
from tests.unit.ofrep_world import FOLDER, SERVER

WORLD = FOLDER / "world.yaml"
USER = EvaluationContext("user-1")
DOMAIN = "in-process"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    data = tmp_path_factory.mktemp("in-process") / "data"
    publish(data, WORLD)
    running = start(data.with_name("log"), "--workers", "1", "--ack", "buffered", data=data)
    yield data, running
    assert running.stop() == 0


@pytest.fixture
def client(served: tuple[Path, Running]) -> Iterator[OpenFeatureClient]:
    yield from provided(served[0])


def provided(data: Path, environment: str = "env_ofrep") -> Iterator[OpenFeatureClient]:
    api.set_provider_and_wait(FanionProvider(data, environment), DOMAIN)
    yield api.get_client(DOMAIN)
    api.clear_providers()


# -- what is answered


def test_five_types_arrive_with_reason_variant_and_metadata(client: OpenFeatureClient) -> None:
    assert client.get_boolean_value("plain", False, USER) is True
    assert client.get_string_value("country", "", EvaluationContext("u", {"country": "DE"})) == "home"
    assert client.get_integer_value("count", 0, USER) == 1
    price = client.get_float_value("price", 0.0, USER)
    assert (price, type(price)) == (1.0, float)
    assert client.get_object_value("colours", [], USER) == ["red", "green"]
    settings = client.get_object_value("settings", {}, USER)
    assert settings == {"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}
    details = client.get_boolean_details("plain", False, USER)
    assert (details.reason, details.variant, details.error_code) == (Reason.STATIC, "on", None)
    assert details.flag_metadata == {"source": "native"}


def test_asked_asynchronously_the_answers_are_the_same(client: OpenFeatureClient) -> None:
    async def ask() -> list[Any]:
        return [
            await client.get_boolean_value_async("plain", False, USER),
            await client.get_string_value_async("country", "", USER),
            await client.get_integer_value_async("count", 0, USER),
            await client.get_float_value_async("price", 0.0, USER),
            await client.get_object_value_async("colours", [], USER),
            await client.get_boolean_value_async("nothing", True, USER),
        ]

    assert asyncio.run(ask()) == [True, "rest", 1, 1.0, ["red", "green"], True]


@pytest.mark.parametrize(
    ("key", "context", "code"),
    [
        ("half", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("plain", EvaluationContext(attributes={"targetingKey": 1}), ErrorCode.INVALID_CONTEXT),
        ("shared", USER, ErrorCode.GENERAL),
        ("f-broken", USER, ErrorCode.GENERAL),
        ("nothing", USER, ErrorCode.FLAG_NOT_FOUND),
        ("count", USER, ErrorCode.TYPE_MISMATCH),
        ("country", USER, ErrorCode.TYPE_MISMATCH),
    ],
)
def test_an_error_is_the_caller_s_default_with_its_code(
    client: OpenFeatureClient, key: str, context: EvaluationContext, code: ErrorCode
) -> None:
    details = client.get_boolean_details(key, True, context)
    assert (details.value, details.reason, details.error_code) == (True, Reason.ERROR, code)
    assert details.error_message


def test_a_flag_without_a_value_is_the_caller_s_default_and_no_error(client: OpenFeatureClient) -> None:
    details = client.get_string_details("r-gone", "mine", USER)
    assert (details.value, details.reason, details.variant) == ("mine", Reason.DISABLED, None)
    assert details.error_code is None


def test_values_of_a_context_that_json_has_not_are_read_as_they_would_be_sent() -> None:
    when = datetime(2026, 11, 28, 12, tzinfo=UTC)
    context = EvaluationContext(
        "u", {"when": when, "tuple": ("a", ("b",)), "plain": {"x": (1,)}, "raw": b"1"}
    )
    assert module.flat_context(context) == {
        "targetingKey": "u",
        "when": "2026-11-28T12:00:00+00:00",
        "tuple": ["a", ["b"]],
        "plain": {"x": [1]},
        "raw": b"1",
    }
    assert module.flat_context(None) == {}


def test_every_flag_is_what_the_published_provider_of_ofrep_makes_of_the_server_s_answer(
    served: tuple[Path, Running], client: OpenFeatureClient
) -> None:
    _, running = served
    headers = {"Authorization": f"Bearer {SERVER}"}
    remote = OFREPProvider(f"http://127.0.0.1:{running.port}", headers_factory=lambda: headers)
    api.set_provider_and_wait(remote, "remote")
    other = api.get_client("remote")
    listed = json.loads(
        running.ask("POST", "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "u"}}, key=SERVER).body
    )["flags"]
    kinds = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object", list: "object"}
    compared = 0
    for person in ("user-1", "user-2", "pinned", "user-beta"):
        context = EvaluationContext(person, {"country": "DE", "plan": "pro", "email": "e@a.example"})
        for flag in listed:
            if "?" in flag["key"] or "value" not in flag:
                continue
            ask = f"get_{kinds[type(flag['value'])]}_details"
            default = type(flag["value"])()
            mine, its = (getattr(one, ask)(flag["key"], default, context) for one in (client, other))
            seen = [(d.value, d.reason, d.variant, d.error_code, dict(d.flag_metadata)) for d in (mine, its)]
            assert seen[0] == seen[1], flag["key"]
            compared += 1
    assert compared > 60


# -- life


def test_handlers_are_told_of_a_publish_and_of_a_store_that_went_and_came_back(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("fanion.inprocess.evaluator.Evaluator.due", lambda self: True)
    publish(data, write_flag(data, "first"))
    told: list[ProviderEvent] = []

    def teller(event: ProviderEvent) -> Callable[[object], None]:
        return lambda _: told.append(event)

    for client in provided(data, "env"):
        for event in ProviderEvent:
            client.add_handler(event, teller(event))
        wait_until(lambda: told == [ProviderEvent.PROVIDER_READY])
        (data / "store").rename(data / "away")
        wait_until(lambda: told[1:] == [ProviderEvent.PROVIDER_STALE])
        assert client.get_provider_status() is ProviderStatus.STALE
        assert client.get_string_value("a", "", USER) == "first"
        (data / "away").rename(data / "store")
        wait_until(lambda: told[2:] == [ProviderEvent.PROVIDER_READY])
        publish(data, write_flag(data, "second"))
        wait_until(lambda: told[3:] == [ProviderEvent.PROVIDER_CONFIGURATION_CHANGED])
        assert client.get_string_value("a", "", USER) == "second"
    wait_until(lambda: "fanion-provider" not in {one.name for one in threading.enumerate()})


def write_flag(data: Path, value: str) -> Path:
    """Definitions of the environment `env` with the flag `a`."""
    project = {
        "environments": {"p": {"id": "env"}},
        "flags": {"a": {"type": "string", "default_value": value}},
    }
    path = data.with_name("small.json")
    path.write_text(json.dumps({"fanion": 1, "organisations": {"org": {"projects": {"p": project}}}}))
    return path


def test_a_publish_is_seen_by_the_next_evaluation(data: Path) -> None:
    publish(data, write_flag(data, "first"))
    for client in provided(data, "env"):
        assert client.get_string_value("a", "", USER) == "first"
        for number in range(5):
            publish(data, write_flag(data, f"value {number}"))
            assert client.get_string_value("a", "", USER) == f"value {number}"


def test_a_provider_that_starts_before_its_store_is_ready_once_there_is_one(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    with pytest.raises(GeneralError, match="there is no"):
        api.set_provider_and_wait(FanionProvider(data, "env"), DOMAIN)
    client = api.get_client(DOMAIN)
    assert client.get_string_details("a", "default", USER).error_code is ErrorCode.PROVIDER_NOT_READY
    publish(data, write_flag(data, "first"))
    wait_until(lambda: client.get_provider_status() is ProviderStatus.READY)
    assert client.get_string_value("a", "", USER) == "first"
    api.clear_providers()


def test_a_provider_that_was_shut_down_answers_defaults(data: Path) -> None:
    publish(data, write_flag(data, "first"))
    for client in provided(data, "env"):
        client.provider.shutdown()
        details = client.get_string_details("a", "default", USER)
        assert (details.value, details.error_code) == ("default", ErrorCode.PROVIDER_NOT_READY)


def test_children_of_fork_evaluate_and_follow_publishes_without_being_asked(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    publish(data, write_flag(data, "first"))
    for client in provided(data, "env"):
        ready, go = os.pipe(), os.pipe()
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(in_child(client, ready[1], go[0]))
            children.append(child)
        for _ in children:
            assert os.read(ready[0], 1) == b"1"
        publish(data, write_flag(data, "second"))
        os.write(go[1], b"1" * len(children))
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
        assert client.get_string_value("a", "", USER) == "second"


def in_child(client: OpenFeatureClient, ready: int, go: int) -> int:
    """The SDK's handlers aren't looked at: it runs them in threads that a child doesn't have."""
    try:
        before = client.get_string_value("a", "", USER)
        os.write(ready, b"1")
        os.read(go, 1)
        provider: Any = client.provider
        wait_until(lambda: provider._changes == 1)  # by the thread alone, nothing was asked
        return 0 if (before, client.get_string_value("a", "", USER)) == ("first", "second") else 2
    except BaseException:
        return 3


def test_a_server_on_the_store_goes_on_beside_processes_that_come_and_go(
    data: Path, serve: Callable[..., Running]
) -> None:
    publish(data, WORLD)
    running = serve("--workers", "1", data=data)
    for number in range(3):
        for client in provided(data):
            assert client.get_boolean_value("plain", False, USER) is True
        publish(data, WORLD)
        answer = running.ask(
            "POST", "/ofrep/v1/evaluate/flags/plain", {"context": {"targetingKey": f"u{number}"}}, key=SERVER
        )
        assert answer.json()["value"] is True
