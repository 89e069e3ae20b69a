"""Every scenario of flagd's evaluator kit, through the twin, the core, OFREP and in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion import Evaluator, app
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.dialects.ofrep.emit import REASONS
from fanion.engine.evaluator import open_environment
from fanion.engine.reference import evaluate
from fanion.errors import EvaluationError
from fanion.model.api_key import hash_key
from fanion.model.program import Answer, Cause, Lowered, Resolution, Source
from fanion.model.program import Test as Leaf
from tests.golden.flagd_kit import FLAGS, Scenario, scenarios, typed
from tests.unit.ofrep_schema import SINGLE, check_answer
from tests.unit.ofrep_world import make_caller

KEY = "kit_server_key"
ENVIRONMENT = "env"
KINDS = {"Boolean": bool, "String": str, "Integer": int, "Float": float, "Object": dict}

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Key and context -> value, reason, errorCode, metadata; what isn't there is left out."""


def world(folder: Path) -> Path:
    """A native file that refers to the kit's flags."""
    reference = {"format": "flagd", "path": FLAGS.resolve().as_posix()}
    key = {"key": f"sha256:{hash_key(KEY.encode()).hex()}", "kind": "server"}
    environment = {"id": ENVIRONMENT, "keys": [key], "sources": [reference]}
    document = {"organisations": {"org": {"projects": {"p": {"environments": {"production": environment}}}}}}
    path = folder / "world.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    return load([world(tmp_path_factory.mktemp("kit"))], vocabulary()).environments[0]


def computing(lowered: Lowered) -> set[str]:
    """The flags whose rules compute."""
    computed = {number for number, slot in enumerate(lowered.slots) if slot.source is Source.COMPUTED}
    return {
        one.key
        for one in lowered.parameters
        if any(
            isinstance(node, Leaf) and node.slot in computed for node in lowered.decisions[one.decision].nodes
        )
    }


def details(answer: Answer, metadata: dict[str, Any]) -> dict[str, Any]:
    """An answer in flagd's words."""
    if answer.resolution is Resolution.ERROR:
        return {"errorCode": "PARSE_ERROR" if answer.cause is Cause.UNREADABLE else "GENERAL"}
    found: dict[str, Any] = {"reason": REASONS[answer.cause], "metadata": metadata}
    if answer.value is not None:
        found |= {"value": json.loads(answer.value), "variant": answer.variant}
    return found


@pytest.fixture(scope="module", params=["twin", "core", "ofrep", "in process"])
def ask(request: pytest.FixtureRequest, lowered: Lowered, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    if request.param == "ofrep":
        return through_ofrep(world(tmp_path_factory.mktemp("kit")))
    if request.param == "in process":
        return in_process(world(tmp_path_factory.mktemp("kit")))
    parameters = {one.key: one for one in lowered.parameters}
    told = json.loads(lowered.documents["metadata"])
    shape = lowered.shapes["flagd"]
    bundle = open_environment(ENVIRONMENT, compile_bundle(lowered, {})) if request.param == "core" else None

    def ask(key: str, context: dict[str, Any]) -> dict[str, Any]:
        parameter = parameters.get(key)
        if parameter is None:
            return {"errorCode": "FLAG_NOT_FOUND"}
        attributes = dict(context)
        asked = shape.context(attributes.pop("targetingKey", None), attributes)
        if bundle is None:
            outcome = evaluate(lowered, parameter.decision, asked).outcome
        else:
            outcome = bundle.ask(asked.members, asked.attributes, ()).evaluate(parameter.decision)[0]
        return details(parameter.answers[outcome], told.get(f"flagd:{key}", {}))

    return ask


def through_ofrep(path: Path) -> Ask:
    caller = make_caller(path)

    def ask(key: str, context: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"context": context}).encode()
        answer = caller.call("POST", f"/ofrep/v1/evaluate/flags/{key}", body, key=KEY.encode())
        found: dict[str, Any] = json.loads(answer.body)
        check_answer(SINGLE, answer.status, answer.headers, found)
        metadata = found.get("metadata", {})
        assert "errorCode" in found or metadata.pop("source") == "flagd"  # which OFREP says of every flag
        return found

    return ask


def in_process(path: Path) -> Ask:
    data = path.with_name("data")
    app.publish(data, load([path], vocabulary()), Config())
    evaluator = Evaluator.open(data, ENVIRONMENT)

    def ask(key: str, context: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = evaluator.evaluate(key, context)
        except EvaluationError as error:
            return {"errorCode": error.code}
        metadata = dict(answer.metadata)
        assert metadata.pop("source") == "flagd"
        found: dict[str, Any] = {"reason": answer.reason, "metadata": metadata}
        return found if answer.value is None else found | {"value": answer.value, "variant": answer.variant}

    return ask


def check(scenario: Scenario, ask: Ask) -> None:
    context: dict[str, Any] = {}
    found: dict[str, Any] = {}
    kind = key = fallback = ""
    for step in scenario.steps:
        match step.name, step.values:
            case "flag", (kind, key, fallback):
                pass
            case "attribute", (name, type_name, text):
                context[name] = typed(type_name, text)
            case "targeting", (text,):
                context["targetingKey"] = text
            case "nested", (outer, inner, text):
                context[outer] = {inner: text}
            case "evaluated", ():
                found = ask(key, context)
                if "value" in found and type(found["value"]) is not KINDS[kind]:
                    found = {"errorCode": "TYPE_MISMATCH"}
            case "value", (text,):
                value = found.get("value", typed(kind, fallback))
                assert (value, type(value)) == (typed(kind, text), KINDS[kind])
            case "reason", (text,):
                assert found["reason"] == text
            case "code", (text,):
                assert found["errorCode"] == text
            case "metadata", ():
                for row in step.table:
                    value = found["metadata"][row["key"]]
                    assert value == typed(row["metadata_type"], row["value"])
                    assert type(value) is KINDS[row["metadata_type"]]
            case "no metadata", ():
                assert found["metadata"] == {}


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one.name)
def test_the_kits_scenario_holds(ask: Ask, scenario: Scenario) -> None:
    check(scenario, ask)


def test_most_flags_of_the_kit_run_without_computing(lowered: Lowered) -> None:
    assert (len(lowered.parameters), len(computing(lowered))) == (60, 14)


def test_the_kit_is_read_whole() -> None:
    assert len(scenarios()) == 125
    assert len({step.values[1] for one in scenarios() for step in one.steps if step.name == "flag"}) == 61
