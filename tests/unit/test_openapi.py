"""OpenAPI documents: those that are checked in are what the generator makes, they leave out no route and no
refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from fanion.app.describing import documents
from fanion.config import Config, Limits
from fanion.dialects import NAMES, description_of, served
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.openapi import PORT
from tests.unit.neutral_standins import CASES, is_batch

FOLDER = Path(__file__).parents[2] / "docs" / "apis"
DIALECTS = {dialect.name: dialect for dialect in served()}


def made(name: str, config: Config | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(documents(config or Config(), PORT)[name]())
    return document


def names_of(document: dict[str, Any]) -> set[str]:
    """The endpoints' names, without the numbers of those that stand at several paths."""
    return {
        operation["operationId"].rstrip("0123456789").removesuffix("_")
        for methods in document["paths"].values()
        for operation in methods.values()
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_document_that_is_checked_in_is_what_the_routes_and_structs_say(name: str) -> None:
    kept = FOLDER / f"{name}.openapi.json"
    assert kept.read_bytes() == documents(Config(), PORT)[name](), (
        "python -m fanion.cli.schema writes it anew"
    )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_described_that_no_route_has(name: str) -> None:
    assert names_of(made(name)) == set(description_of(name).endpoints(Limits()))


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_and_example_of_a_document_holds(name: str) -> None:
    document = made(name)
    jsonschema.Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})
    for methods in document["paths"].values():
        for operation in methods.values():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if media is not None and "example" in media:
                assert valid(document, media["schema"], media["example"])


def valid(document: dict[str, Any], schema: dict[str, Any], value: object) -> bool:
    whole = {**schema, "components": document["components"]}
    return bool(jsonschema.Draft202012Validator(whole).is_valid(value))


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("dialect", served(), ids=lambda dialect: dialect.name)
def test_every_refusal_has_the_shape_that_its_document_says(dialect: Dialect, kind: FaultKind) -> None:
    for fault in (Fault(kind, "text"), Fault(kind, "text", path="a[0]", retry_after_s=1, allow=b"GET")):
        _, body = dialect.refuse(fault)
        msgspec.json.decode(body, type=description_of(dialect.name).refusal)


def test_a_document_says_the_limits_in_force() -> None:
    narrow = Config(limits=Limits(flags_per_request_max=7))
    for config, most in ((Config(), 100), (narrow, 7)):
        text = json.dumps(made("feather", config)["components"]["schemas"]["Bulk"])
        assert f'"maxItems": {most}' in text


def test_a_document_names_the_port_of_the_api() -> None:
    document = json.loads(documents(Config(), 9_090)["feather"]())
    assert document["servers"][0]["variables"]["port"]["default"] == "9090"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.get("name", ""))[:40])
def test_the_neutral_document_takes_what_the_one_written_by_hand_takes(case: dict[str, Any]) -> None:
    document = made("neutral")
    body = document["paths"]["/fanion/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    batch = {"events": [case["event"]]}
    assert valid(document, body["schema"], batch) == is_batch(batch)
