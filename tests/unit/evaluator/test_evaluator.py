"""Evaluating in process: one flag, all flags, errors, and opening what is there or isn't."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion import Evaluator
from fanion.errors import (
    ContextError,
    EnvironmentMissingError,
    EvaluationError,
    FlagNotFoundError,
    StoreError,
    StoreMissingError,
    TargetingKeyError,
)
from tests.unit.evaluator.stores import USER, WORLD, publish, small


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("inprocess") / "data"
    publish(data, WORLD)
    return data


@pytest.fixture
def flags(world: Path) -> Iterator[Evaluator]:
    with Evaluator.open(world, "env_ofrep") as made:
        yield made


# -- answers


def test_five_types_are_answered_with_variant_reason_and_metadata(flags: Evaluator) -> None:
    found = {key: flags.evaluate(key, USER) for key in ("plain", "country", "count", "price", "settings")}
    assert {key: (one.value, one.type) for key, one in found.items()} == {
        "plain": (True, "boolean"),
        "country": ("rest", "string"),
        "count": (1, "integer"),
        "price": (1.0, "float"),
        "settings": ({"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}, "object"),
    }
    assert (found["plain"].variant, found["plain"].reason) == ("on", "STATIC")
    assert found["plain"].metadata == {"source": "native"}
    assert isinstance(found["price"].value, float)


def test_an_object_is_the_asker_s_own(flags: Evaluator) -> None:
    flags.evaluate("settings", USER).value["colour"] = "spoiled"
    assert flags.evaluate("settings", USER).value["colour"] == "red"


def test_metadata_that_is_shared_cannot_be_changed(flags: Evaluator) -> None:
    metadata: Any = flags.evaluate("plain", USER).metadata
    with pytest.raises(TypeError):
        metadata["source"] = "spoiled"


def test_a_flag_without_a_value_leaves_it_to_the_caller_s_default(flags: Evaluator) -> None:
    found = flags.evaluate("r-gone", USER)
    assert (found.value, found.variant, found.reason, found.type) == (None, None, "DISABLED", "")


@pytest.mark.parametrize(
    ("key", "context", "kind", "code"),
    [
        ("half", {}, TargetingKeyError, "TARGETING_KEY_MISSING"),
        ("s-paid", {"plan": "pro"}, TargetingKeyError, "TARGETING_KEY_MISSING"),
        ("plain", {"targetingKey": 1}, ContextError, "INVALID_CONTEXT"),
        ("plain", {**USER, "fanion": 1}, ContextError, "INVALID_CONTEXT"),
        ("plain", 1, ContextError, "INVALID_CONTEXT"),
        ("shared", USER, EvaluationError, "GENERAL"),
        ("f-broken", USER, EvaluationError, "GENERAL"),
        ("nothing", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
        ("feather:plain", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
        ("half-\ud83d", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
    ],
)
def test_an_error_has_its_own_type_and_the_protocol_s_code(
    flags: Evaluator, key: str, context: Any, kind: type[EvaluationError], code: str
) -> None:
    for _ in range(2):
        with pytest.raises(kind) as caught:
            flags.evaluate(key, context)
        assert (type(caught.value), caught.value.code) == (kind, code)


def test_all_flags_are_answered_at_once_with_errors_among_them(flags: Evaluator) -> None:
    found = flags.evaluate_all({"country": "DE"})
    country, half = found["country"], found["half"]
    assert not isinstance(country, EvaluationError)
    assert country.value == "home"
    assert isinstance(half, TargetingKeyError)
    assert list(flags.evaluate_all({**USER, "fanion": {"flags": ["plain"]}})) == ["plain"]
    with pytest.raises(ContextError, match="targetingKey"):
        flags.evaluate_all({"targetingKey": 1})


def test_text_that_is_cut_inside_a_character_reads_as_over_http(flags: Evaluator) -> None:
    assert flags.evaluate("country", {**USER, "country": "\ud83d"}).value == "rest"
    assert flags.evaluate("half", {"targetingKey": "\ud83d\ude00"}) == flags.evaluate(
        "half", {"targetingKey": "\U0001f600"}
    )
    assert flags.evaluate("half", {"targetingKey": "a\ud83d"}) == flags.evaluate(
        "half", {"targetingKey": "a\ufffd"}
    )


def test_a_context_is_left_as_it_was(flags: Evaluator) -> None:
    context = {"targetingKey": "user-1", "email": "e@a.example", "plan": "pro", "nested": {"a": [1]}}
    before = repr(context)
    for key in flags.evaluate_all(context):
        try:
            flags.evaluate(key, context)
        except EvaluationError:
            continue
    assert repr(context) == before


# -- opening


def test_a_store_or_environment_that_is_not_there_has_its_own_error(data: Path) -> None:
    with pytest.raises(StoreMissingError):
        Evaluator.open(data / "nowhere", "env")
    with pytest.raises(EnvironmentMissingError, match="there is no environment other; there are: env"):
        Evaluator.open(data, "other")


def test_an_environment_that_has_no_such_answers_says_so(tmp_path: Path) -> None:
    publish(tmp_path / "data", small("a", dialects=["feather"]))
    with pytest.raises(StoreError, match="isn't served through"):
        Evaluator.open(tmp_path / "data", "env")


def test_a_closed_evaluator_raises_and_may_be_closed_again(data: Path) -> None:
    flags = Evaluator.open(data, "env")
    flags.close()
    flags.close()
    with pytest.raises(StoreError, match="closed"):
        flags.evaluate("a", USER)
    with pytest.raises(StoreError, match="closed"):
        flags.refresh()


def test_importing_and_evaluating_load_nothing_of_the_server(world: Path) -> None:
    script = (
        "import sys, fanion; first = set(sys.modules)\n"
        f"fanion.Evaluator.open({str(world)!r}, 'env_ofrep').evaluate('plain', {{}})\n"
        "heavy = {'granian', 'uvloop', 'click', 'rich', 'yaml', 'openfeature', 'zstandard'}\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "rooms = {'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('fanion.')}\n"
        "print(sorted(name for name in first if name.startswith('fanion.')), sorted(heavy & names),\n"
        "      sorted(rooms & {'fanion.http', 'fanion.process', 'fanion.app', 'fanion.cli', 'fanion.definitions',\n"
        "      'fanion.journal'}))\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["[]", "[]", "[]"]
