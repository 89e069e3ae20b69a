"""Validates requests and answers against the protocol's own OpenAPI document, in `tests/golden/ofrep`.

Read otherwise than it stands, since no server could answer so:

- A success is "one of" five types of value and the code default, whose schema has no member: so every answer with a
  value fits the code default too, a whole number fits integer and float, and a strict reader would refuse them all.
  The code default is read as an answer without a value, and a whole number as either kind of number.
- Values may be lists, as the published providers read them; the document names objects only.
- `DEFAULT` is a reason, as flagd sends it and the document's own link has it.
- 401, 403 and 429 have no schema; what we send has to look like the other errors.
- `Retry-After` of one flag has to be a date there; by its own description it may be a number of seconds.
- A context needs no targeting key, and a body no context: providers leave both out.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import yaml

from tests.unit.ofrep_world import FOLDER

SINGLE, BULK = "/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags"


def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "openapi.yaml").read_text())
    schemas = document["components"]["schemas"]
    success = schemas["evaluationSuccess"]
    success["allOf"][0]["properties"]["reason"]["enum"].append("DEFAULT")
    (types,) = [part["oneOf"] for part in success["allOf"] if "oneOf" in part]
    success["allOf"][1] = {
        "anyOf": [*types, {"properties": {"value": {"type": "array"}}, "required": ["value"]}]
    }
    schemas["codeDefaultFlag"]["not"] = {"required": ["value"]}
    schemas["context"]["required"] = []
    for name in ("evaluationRequest", "bulkEvaluationRequest"):
        schemas[name]["required"] = []
    for path in (SINGLE, BULK):
        retry_after = document["paths"][path]["post"]["responses"]["429"]["headers"]["Retry-After"]
        retry_after["schema"] = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    return document


DOCUMENT = _document()
UNCODED = {"type": "object", "required": ["errorCode", "errorDetails"]}


def _validate(document: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(document)


def statuses(path: str) -> set[int]:
    """Those that the document has for an operation."""
    return {int(status) for status in DOCUMENT["paths"][path]["post"]["responses"]}


def check_request(path: str, body: Any) -> None:
    """`path`: SINGLE or BULK."""
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    _validate(body, content["application/json"]["schema"])


def check_answer(path: str, status: int, headers: dict[str, str], body: Any) -> None:
    """`body`: decoded, None where there is none."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    assert str(status) in responses, f"{status} is no status of {path}"
    response = responses[str(status)]
    for name, header in response.get("headers", {}).items():
        _validate(headers[name.lower()], header["schema"])
    if status == 304:
        assert body is None
        assert headers["etag"], "as HTTP has it"
        return
    assert headers["content-type"] == "application/json"
    content = response.get("content", {"application/json": {"schema": UNCODED}})
    _validate(body, content["application/json"]["schema"])


def check_own_error(headers: dict[str, str], body: Any) -> None:
    """An answer whose status the document doesn't have: it has to look like the others."""
    assert headers["content-type"] == "application/json"
    _validate(body, UNCODED)


def check_message(message: dict[str, Any]) -> None:
    """Of an event stream: its fields as they came."""
    schemas = DOCUMENT["components"]["schemas"]
    _validate(message, schemas["sseEvent"])
    data = json.loads(message["data"])
    _validate(data, schemas["sseEventData"])
    assert data["type"] == "refetchEvaluation"
