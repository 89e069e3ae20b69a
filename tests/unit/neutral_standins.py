"""The neutral API over stand-ins, and its OpenAPI document as it was written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema

from fanion.config import Config
from fanion.dialects.neutral.routes import DIALECT
from fanion.model.api_key import KeyRecord
from tests.unit.http_standins import Answered, Caller, FakeWindow, View, make_services

ROOT = Path(__file__).parents[2]
CASES = json.loads((ROOT / "tests" / "golden" / "neutral" / "events.json").read_text())
DOCUMENT = json.loads((ROOT / "tests" / "golden" / "neutral" / "openapi.json").read_text())
PATH = "/fanion/v1/events"
OPERATION = DOCUMENT["paths"][PATH]["post"]

KEY, CLIENT, SCOPED, OTHER_SCOPE = b"k_server", b"k_client", b"k_events", b"k_evaluate"
ELSEWHERE, OTHER_API, GONE = b"k_elsewhere", b"k_other_api", b"k_gone"
UNIT = {"kind": "userId", "id": "user_123"}
METRIC = {"type": "metric", "id": "order-1", "unit": UNIT, "metric": "purchase", "value": 9.5}
EXPOSURE = {"type": "exposure", "id": "seen-1", "unit": UNIT, "flag": "new-checkout", "variant": "on"}


EXPERIMENTS = json.dumps({"copy": {}, "café": {}}).encode()


def make_caller(config: Config | None = None, organisation: dict[str, Any] | None = None) -> Caller:
    """`organisation`: its record as a bundle carries it."""
    services: Any = make_services(config)
    services.event_ids = FakeWindow()
    document = json.dumps({"id": "org", **(organisation or {})}).encode()
    bundle: Any = SimpleNamespace(
        environment="production",
        identifiers={"neutral": {}},
        document={"organisation": document, "experiments": EXPERIMENTS}.get,
    )
    elsewhere: Any = SimpleNamespace(environment="elsewhere", identifiers={}, document=lambda name: None)
    snapshot = services.snapshots.snapshot
    snapshot.views = {
        "production": View({"neutral": DIALECT.bind(bundle)}),
        "elsewhere": View({"neutral": DIALECT.bind(elsewhere)}),
    }

    def record(environment: str = "production", kind: Any = "server", **more: Any) -> KeyRecord:
        return KeyRecord(id="k", environment=environment, organisation="org", kind=kind, **more)

    snapshot.keys = {
        KEY: record(),
        CLIENT: record(kind="client", dialects=("neutral",)),
        SCOPED: record(scopes=("events",)),
        OTHER_SCOPE: record(scopes=("evaluate",)),
        ELSEWHERE: record("elsewhere"),
        OTHER_API: record(dialects=("feather",)),
        GONE: record("gone"),
    }
    return Caller(services, (DIALECT,))


def _validate(document: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(document)


def is_batch(document: Any) -> bool:
    """Whether the OpenAPI document has it for a request."""
    try:
        _validate(document, OPERATION["requestBody"]["content"]["application/json"]["schema"])
    except jsonschema.ValidationError:
        return False
    return True


def check_answer(status: int, headers: dict[str, str], body: Any) -> None:
    response = OPERATION["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    assert headers["content-type"] == "application/json"
    assert headers["access-control-allow-origin"] == "*"
    for name, header in response.get("headers", {}).items():
        _validate(headers[name.lower()], header["schema"])
    _validate(body, response["content"]["application/json"]["schema"])


def send(caller: Caller, *events: Any, key: bytes | None = KEY, path: str = PATH, **headers: str) -> Answered:
    """A batch, whose answer is as the document has it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = caller.call("POST", path, json.dumps({"events": events}).encode(), named, key=key)
    check_answer(answer.status, answer.headers, answer.json())
    return answer


def stored(caller: Caller) -> list[Any]:
    """The events of the one record."""
    (record,) = caller.parts.journal.records
    assert record["whole"]
    events: list[Any] = json.loads(record["body"])["events"]
    return events
