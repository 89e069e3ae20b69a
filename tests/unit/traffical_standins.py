"""Traffical over stand-ins and a real bundle: what the tests of its endpoints share."""

from __future__ import annotations

import json
import re
from typing import Any

from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.traffical.source import FORMAT
from fanion.dialects.redpennon.routes import DIALECT as REDPENNON
from fanion.dialects.traffical.routes import DIALECT
from fanion.engine.evaluator import open_environment
from fanion.model.api_key import KeyRecord
from tests.e2e.traffical_world import EVENT_DEFINITIONS, edge_policy, golden
from tests.unit.http_standins import Answered, Caller, FakeWindow, View, make_services

KEY = b"traffical_sk_unit"
BROWSER = b"traffical_pk_unit"
READ, WRITE = b"traffical_sk_read", b"traffical_sk_write"
OTHER = b"sk_other_system"
IDS = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
TRACK = {"type": "track", "unitKey": "u", "timestamp": "2026-05-21T10:35:00Z", "event": "purchase"}
ULID = re.compile(r"dec_[0-7][0-9A-HJKMNP-TV-Z]{25}")


def bundle_bytes(**changes: Any) -> bytes:
    document = golden("upstream/bundle_basic.json") | IDS | {"eventDefinitions": EVENT_DEFINITIONS} | changes
    policies = [edge_policy("edge_fixed", 2), edge_policy("edge_dynamic", None)]
    document["layers"] += [{"id": f"lay_{policy['id']}", "policies": [policy]} for policy in policies]
    source = SourceFile(
        "bundle.json", json.dumps(document).encode(), {"weights": json.dumps(WEIGHTS).encode()}
    )
    report = Report()
    builder = Builder("production", {"traffical": {}})
    FORMAT.lower(FORMAT.parse(source, report), source, builder, report)
    assert report.problems == []
    return compile_bundle(builder.finish(), {"traffical": DIALECT.render})


WEIGHTS = {
    "edge_fixed": {
        "_global": {"weights": [0.5, 0.5], "computedAt": "global"},
        "entities": {"mine": {"weights": [0.0, 1.0], "computedAt": "entity"}},
    }
}

BEYOND_A_DOUBLE = (b"1e999", b"-1E+999", b"1" + b"0" * 200 + b"e110")


def make_caller(config: Config | None = None, **changes: Any) -> Caller:
    services: Any = make_services(config)
    services.event_ids = FakeWindow()
    snapshot = services.snapshots.snapshot
    environment = open_environment("production", bundle_bytes(**changes))
    snapshot.views = {"production": View({"traffical": DIALECT.bind(environment), "redpennon": None})}

    def record(kind: Any = "server", **more: Any) -> KeyRecord:
        return KeyRecord(id="k", environment="production", organisation="org_t", kind=kind, **more)

    snapshot.keys = {
        KEY: record(),
        BROWSER: record("client"),
        READ: record(scopes=("sdk:read",)),
        WRITE: record(scopes=("sdk:write",)),
        OTHER: record(dialects=("feather",)),
    }
    return Caller(services, (REDPENNON, DIALECT))


def post(caller: Caller, path: str, document: Any, key: bytes | None = KEY, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.call("POST", path, json.dumps(document).encode(), named, key=key)


def send(caller: Caller, *events: Any, **more: Any) -> Any:
    answer = post(caller, "/v1/events/batch", {"events": list(events)}, **more)
    assert answer.status == 200, answer
    return answer.json()
