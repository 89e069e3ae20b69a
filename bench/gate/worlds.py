"""What the gate's rows ask: definitions in every format, the request of each endpoint. All by public formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FEATHER, REDPENNON = "sk_feather_gate", "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a10"
TRAFFICAL, TRAFFICAL_LARGE, TRAFFICAL_EDGE = "traffical_sk_gate", "traffical_sk_large", "traffical_sk_edge"
STITCHD, STITCHD_ENVIRONMENT = "sdk_live_gate", "5b1f6a52-0000-4000-8000-00000000a001"
EVENTS = 100
"""Events of an ingest batch."""


class Request(NamedTuple):
    """`body` may hold ID: a new one in its place with every request."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


ID = b"01M7Y3BWW3############"


def native_flags() -> dict[str, Any]:
    """Two conditions joined by AND, then a half."""
    conditions = [
        {"attribute": "country", "operator": "in", "value": ["DE", "AT", "CH"]},
        {"attribute": "plan", "operator": "equals", "value": "pro"},
    ]
    rule = {"id": "half", "conditions": conditions, "value": True, "rollout_percentage": 50}
    flag = {"type": "boolean", "client_safe": True, "default_value": False, "rules": [rule]}
    return {f"flag-{n}": {"id": f"flag_{n:06}", **flag} for n in range(1_000)}


def redpennon_features() -> dict[str, Any]:
    rule = {
        "conditions": [
            {"property": "country", "operator": "is", "values": ["DE", "AT", "CH"]},
            {"property": "custom_property", "custom_key": "plan", "operator": "is", "values": ["pro"]},
        ],
        "distribution": [{"variation": "control", "weight": 50}, {"variation": "variant-a", "weight": 50}],
    }
    targeting = {"targeting": "on", "default_variation": "control", "rules": [rule]}
    return {
        f"feature-{n}": {
            "variables": {f"variable-{n}": {"type": "string"}},
            "variations": {"control": {f"variable-{n}": "C"}, "variant-a": {f"variable-{n}": "A"}},
            "environments": {"production": targeting},
        }
        for n in range(100)
    }


def traffical_bundle(project: str, layers: int, parameters: int, **policy: Any) -> dict[str, Any]:
    def layer(number: int) -> dict[str, Any]:
        overrides = {f"p{number}.k{n}": "t" for n in range(parameters)}
        allocations = [
            {"name": "control", "bucketRange": [0, 4999], "overrides": {}},
            {"name": "treatment", "bucketRange": [5000, 9999], "overrides": overrides},
        ]
        conditions = [
            {"field": "country", "op": "in", "values": ["DE", "AT", "CH"]},
            {"field": "plan", "op": "eq", "value": "pro"},
        ]
        made = {"id": f"policy_{number}", "state": "running", "kind": "static", "conditions": conditions}
        return {"id": f"layer_{number}", "policies": [{**made, "allocations": allocations, **policy}]}

    return {
        "version": "2026-05-21T10:30:00.000Z",
        "orgId": "o",
        "projectId": project,
        "env": "e",
        "hashing": {"unitKey": "userId", "bucketCount": 10_000},
        "parameters": [
            {"key": f"p{number}.k{n}", "type": "string", "default": "d", "layerId": f"layer_{number}"}
            for number in range(layers)
            for n in range(parameters)
        ],
        "layers": [layer(number) for number in range(layers)],
    }


def stitchd_flags() -> dict[str, Any]:
    def leaf(param: str, value: Any) -> dict[str, Any]:
        return {"op": "Eq", "context_type": "user", "param": param, "value": value}

    rollout = {
        "targets": [{"context_type": "user", "field": "Key"}],
        "weights": [{"variant_key": "on", "weight": 5_000}, {"variant_key": "off", "weight": 5_000}],
    }
    listed = {"op": "InSegment", "segment_id": "s-beta"}
    condition = {"op": "And", "children": [leaf("country", "DE"), leaf("plan", "pro"), listed]}
    rule = {"rule_id": "r", "condition": condition, "variant_assignment": {"percentage_rollout": rollout}}
    flag = {
        "value_type": "bool",
        "variants": [{"key": "on", "value": True}, {"key": "off", "value": False}],
        "default_rule": {"variant_assignment": {"specific_variant": "off"}},
        "rules": [rule],
    }
    return {
        "flags": [{"key": f"gate-{n}", **flag} for n in range(100)],
        "events": [{"key": "page_view", "value_type": "count"}],
    }


BETA = {
    "id": "s-beta",
    "key": "beta-users",
    "context_type": "user",
    "include": [f"user_{n}" for n in range(1_000)],
}


RULED = {
    "id": "s-ruled",
    "key": "ruled-users",
    "condition": {"op": "Eq", "context_type": "user", "param": "country", "value": "DE"},
}


def write(folder: Path) -> Path:
    """The definition files; returns the one to publish."""
    edge = {"entityKeys": ["userId"], "resolutionMode": "edge"}
    bundles = {
        "small": (TRAFFICAL, traffical_bundle("small", 1, 3)),
        "large": (TRAFFICAL_LARGE, traffical_bundle("large", 10, 10)),
        "edge": (TRAFFICAL_EDGE, traffical_bundle("edge", 1, 3, entityConfig=edge)),
    }
    files: dict[str, Any] = {
        "redpennon": {"redpennon": 1, "environments": ["production"], "features": redpennon_features()},
        "stitchd": stitchd_flags(),
        "segments": {"rule_segments": [RULED], "list_segments": [BETA]},
        **{name: bundle for name, (_, bundle) in bundles.items()},
    }
    stitchd = {"format": "stitchd", "path": "stitchd.json", "files": {"segments": "segments.json"}}
    production = {
        "id": "env_gate",
        "identifiers": {"stitchd": {"environment": STITCHD_ENVIRONMENT}},
        "keys": [{"key": FEATHER}, {"key": REDPENNON}, {"key": STITCHD}],
        "sources": [{"format": "redpennon", "path": "redpennon.json"}, stitchd],
    }
    projects: dict[str, Any] = {"p": {"flags": native_flags(), "environments": {"production": production}}}
    for name, (key, _) in bundles.items():
        source = {"format": "traffical", "path": f"{name}.json"}
        projects[name] = {"environments": {"e": {"keys": [{"key": key}], "sources": [source]}}}
    files["world"] = {"fanion": 1, "organisations": {"o": {"plan": "enterprise", "projects": projects}}}
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder / "world.json"


def text(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def ofrep(name: str, path: str, context: Any, **headers: str) -> Request:
    sent = {"authorization": f"Bearer {FEATHER}", "content-type": "application/json"}
    sent |= {header.replace("_", "-"): value for header, value in headers.items()}
    return Request(
        f"ofrep {name}", "POST", f"/ofrep/v1/evaluate/flags{path}", sent, text({"context": context})
    )


def feather(name: str, method: str, path: str, document: Any = None) -> Request:
    headers = {"authorization": f"Bearer {FEATHER}", "content-type": "application/json"}
    return Request(f"feather {name}", method, path, headers, b"" if document is None else text(document))


def redpennon(name: str, path: str, document: Any) -> Request:
    headers = {"x-api-key": REDPENNON, "content-type": "application/json"}
    return Request(f"redpennon {name}", "POST", path, headers, text(document))


def traffical(name: str, path: str, document: Any = None, key: str = TRAFFICAL, **headers: str) -> Request:
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent |= {header.replace("_", "-"): value for header, value in headers.items()}
    if document is None:
        return Request(f"traffical {name}", "GET", path, sent)
    return Request(f"traffical {name}", "POST", path, sent, text(document))


def stitchd(name: str, rest: str, document: Any) -> Request:
    headers = {"x-sdk-key": STITCHD, "content-type": "application/json"}
    path = f"/v1/environments/{STITCHD_ENVIRONMENT}{rest}"
    return Request(f"stitchd {name}", "POST", path, headers, text(document))


def neutral(name: str, document: Any) -> Request:
    headers = {"authorization": f"Bearer {FEATHER}", "content-type": "application/json"}
    return Request(f"neutral {name}", "POST", "/fanion/v1/events", headers, text(document))


def requests() -> Iterator[Request]:
    """One of each endpoint of each API; ingest with a batch."""
    context = {"userId": "user_123", "attributes": {"country": "DE", "plan": "pro"}}
    yield feather("evaluate", "POST", "/v1/evaluate", {"flagKey": "flag-7", "context": context})
    for count in (2, 100):
        keys = [f"flag-{n * 7}" for n in range(count)]
        yield feather(f"bulk of {count}", "POST", "/v1/evaluate/bulk", {"flags": keys, "context": context})
    yield feather("context", "GET", "/v1/sdk/context")
    yield feather("events", "POST", "/v1/telemetry/events", {"events": [FEATHER_EVENT] * EVENTS})

    user = {"id": "user_123", "country": "DE", "custom_data": {"plan": "pro"}}
    keys = [f"variable-{n}" for n in range(50)]
    yield redpennon("variable", "/v1/variables/variable-7", {"user": user})
    yield redpennon("variables of 50", "/v1/variables", {"keys": keys, "user": user})
    yield redpennon("events", "/v1/events", {"events": [REDPENNON_EVENT] * EVENTS})

    flat = {"userId": "user_123", "country": "DE", "plan": "pro"}
    decide = {"entityId": "e", "unitKeyValue": "user_123", "allocationCount": 2}
    yield traffical("config", "/v1/config/large", key=TRAFFICAL_LARGE)
    yield traffical("config, known", "/v1/config/large", key=TRAFFICAL_LARGE, if_none_match="*")
    yield traffical("resolve of 3", "/v1/resolve", {"context": flat, "env": "e"})
    yield traffical("resolve of 100", "/v1/resolve", {"context": flat, "env": "e"}, key=TRAFFICAL_LARGE)
    yield traffical("decide", "/v1/decide/policy_0", decide, key=TRAFFICAL_EDGE)
    for name in ("decide/batch", "decide/entity/batch"):
        items = [{"policyId": "policy_0", **decide}] * 10
        yield traffical(name, f"/v1/{name}", {"requests": items}, key=TRAFFICAL_EDGE)
    yield traffical("event", "/v1/events", {"events": [TRAFFICAL_EVENT]})
    yield traffical("events", "/v1/events/batch", {"events": [TRAFFICAL_EVENT] * EVENTS})

    asked = {"flag_key": "gate-7", "context_type": "user", "context_key": "user_123"}
    pair = {"segment_key": "beta-users", "context_type": "user", "context_key": "user_123"}
    event = {"metric_key": "page_view", "context_type": "user", "context_key": "user_123"}
    yield stitchd("evaluate", "/evaluate", {**asked, "attributes": {"country": "DE", "plan": "pro"}})
    yield stitchd("event", "/events", event)
    yield stitchd("events", "/events/batch", {"events": [event] * EVENTS})
    yield stitchd("list-check", "/segments/list-check", pair)
    yield stitchd("list-check of 100", "/segments/batch-list-check", [pair] * 100)
    ruled = {**pair, "segment_key": "ruled-users"}
    yield stitchd("rule-check of 100", "/segments/batch-list-check", [ruled] * 100)

    person = {"targetingKey": "user_123", "country": "DE", "plan": "pro"}
    named = {"fanion": {"flags": [f"flag-{n * 7}" for n in range(50)]}}
    yield ofrep("flag", "/flag-7", person)
    yield ofrep("flags, 50", "", person | named)
    yield ofrep("flags, known", "", person, if_none_match="*")

    for name, event in (("metrics", NEUTRAL_METRIC), ("exposures", NEUTRAL_EXPOSURE)):
        yield neutral(name, {"events": [event] * EVENTS})
    yield neutral("event", {"events": [NEUTRAL_METRIC]})


def wrong() -> Iterator[Request]:
    """Batches that a native judge tells apart: as many events, each wrong in itself, or with a member that is read
    over."""
    for request in requests():
        body = json.loads(request.body) if request.body.count(b"},{") == EVENTS - 1 else {}
        if "events" not in body:
            continue
        first, *others = body["events"][0]
        events = [
            {**{name: event[name] for name in others}, first: number, f"zz{number}": 1}
            for number, event in enumerate(body["events"])
        ]
        yield request._replace(name=f"{request.name}, wrong", body=text({"events": events}))


FEATHER_EVENT = {
    "flagKey": "flag-1",
    "flagId": "flag_000001",
    "environmentId": "env_gate",
    "orgId": "o",
    "value": True,
    "reason": "ROLLOUT",
    "ruleId": "half",
    "userIdHash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "sdkType": "server",
    "sdkVersion": "1.0.0",
    "evaluatedAt": "2026-11-21T10:00:00.000Z",
}
REDPENNON_EVENT = {"event": "buy", "variable": "variable-7", "variation": "control"}
TRAFFICAL_EVENT = {
    "type": "exposure",
    "id": f"exp_{ID.decode()}",
    "orgId": "o",
    "projectId": "small",
    "env": "e",
    "unitKey": "user_123",
    "timestamp": "2026-11-21T03:45:56.611Z",
    "assignments": {"p0.k0": "t"},
    "layers": [{"layerId": "layer_0", "bucket": 893, "policyId": "policy_0", "allocationName": "treatment"}],
}
NEUTRAL_METRIC = {
    "type": "metric",
    "id": f"order-{ID.decode()}",
    "time": "2026-11-21T03:45:56.611Z",
    "unit": {"kind": "userId", "id": "user_123"},
    "metric": "purchase",
    "value": 9.5,
}
NEUTRAL_EXPOSURE = {
    "type": "exposure",
    "id": f"seen-{ID.decode()}",
    "time": "2026-11-21T03:45:56.611Z",
    "unit": {"kind": "userId", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "flag": "flag-1",
    "variant": "on",
    "reason": "SPLIT",
}
