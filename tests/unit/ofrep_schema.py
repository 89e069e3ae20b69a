"""Validates requests and answers against the protocol's own OpenAPI document, in `tests/golden/ofrep`.

Read otherwise than it stands, since no server could answer so:

- A success is "one of" five types of value and the code default, whose schema has no member: so every answer with a
  value fits the code default too, a whole number fits integer and float, and a strict reader would refuse them all.
  The code default is read as an answer without a value, and a whole number as either kind of number.
- Values may be lists, as the published providers read them; the document names objects only.
- `DEFAULT` is a reason, as flagd sends it and the document's own link has it.
- 401 and 403 have no schema; what we send has to look like the other errors.
- A context needs no targeting key, and a body no context: providers leave both out.
"""

from __future__ import annotations

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
    return document


DOCUMENT = _document()
UNCODED = {"type": "object", "required": ["errorCode", "errorDetails"]}


def _validate(document: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(document)


def check_request(path: str, body: Any) -> None:
    """`path`: SINGLE or BULK."""
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    _validate(body, content["application/json"]["schema"])


def check_answer(path: str, status: int, headers: dict[str, str], body: Any) -> None:
    """`body`: decoded, None where there is none."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    assert str(status) in responses, f"{status} is no status of {path}"
    response = responses[str(status)]
    if "content" in response:
        assert headers["content-type"] == "application/json"
        _validate(body, response["content"]["application/json"]["schema"])
    elif status == 304:
        assert body is None
    else:
        _validate(body, UNCODED)
    if status == 429:
        assert int(headers["retry-after"]) >= 1
    if path == BULK and status in (200, 304):
        assert headers["etag"]
