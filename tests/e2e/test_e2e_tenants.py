"""Two tenants with the same flags in all APIs: on no route does a key of one learn or add what is the other's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.dialects import NAMES
from tests.e2e.server import Answer, Running, publish, run, start

ROOT = Path(__file__).parents[2]
SECRET = {"a": "secret-of-a", "b": "secret-of-b"}
ENVIRONMENT = {tenant: f"5b1f6a52-0000-4000-8000-00000000000{tenant}" for tenant in SECRET}
KINDS = ("server", "client", "edge")
STRANGERS = (None, "", "x" * 8, "5b1f6a52-0000-4000-8000-0000000000ff")
CLOSED = (401, 403, 404)

EXPOSED = {
    "id": "1",
    "type": "metric",
    "unit": {"kind": "userId", "id": "u"},
    "metric": "purchase",
    "value": 1,
}
TRACKED = {
    "type": "track",
    "id": "t-1",
    "event": "purchase",
    "unitKey": "u",
    "timestamp": "2026-11-01T00:00:00Z",
}
COUNTED = {"metric_key": "page_view", "context_type": "user", "context_key": "u"}
CONVERTED = {"event": "purchase", "variable": "banner-text", "variation": SECRET["a"], "user": {"id": "u"}}
PAIR = {"segment_key": "beta", "context_type": "user", "context_key": SECRET["a"]}
REPORTED = {
    "flagKey": "native",
    "flagId": "f",
    "environmentId": "env_a",
    "orgId": "org_a",
    "value": 1,
    "reason": "DEFAULT",
    "sdkType": "server",
    "sdkVersion": "1",
    "evaluatedAt": "2026-11-01T00:00:00Z",
}
DECIDED = {"context": {"userId": "u"}}
ASKED: dict[str, Any] = {
    "POST /v1/evaluate": {"flagKey": "native", "context": {"userId": "u"}},
    "POST /v1/evaluate/bulk": {"flags": ["native"], "context": {}},
    "POST /v1/telemetry/events": {"events": [REPORTED]},
    "GET /v1/sdk/context": None,
    "GET /v1/projects/{projectId}/flags/{flagKey}/usage": None,
    "POST /fanion/v1/events": {"events": [EXPOSED]},
    "GET /fanion/v1/experiments/{key}/results": None,
    "GET /fanion/v1/flags/{key}/usage": None,
    "POST /ofrep/v1/evaluate/flags": {"context": {"targetingKey": "u"}},
    "POST /ofrep/v1/evaluate/flags/{key}": {"context": {"targetingKey": "u"}},
    "GET /openfeature/v0/manifest": None,
    "GET /ofrep/v1/streams": None,
    "POST /v1/variables": {"keys": ["banner-text"], "user": {"id": "u"}},
    "POST /v1/variables/{key}": {"user": {"id": "u"}},
    "POST /v1/events": {"events": [CONVERTED]},
    "POST /v1/environments/{environment}/evaluate": {
        "flag_key": "my-flag",
        "context_type": "user",
        "context_key": "u",
    },
    "POST /v1/environments/{environment}/events": COUNTED,
    "POST /v1/environments/{environment}/events/batch": {"events": [COUNTED]},
    "POST /v1/environments/{environment}/segments/list-check": PAIR,
    "POST /v1/environments/{environment}/segments/batch-list-check": {"pairs": [PAIR]},
    "POST /v1/environments/{environment}/segments/list-check/batch": {"pairs": [PAIR]},
    "POST /v1/resolve": {"context": {"userId": "u"}, "orgId": "org_a"},
    "POST /v1/decide/batch": {"orgId": "org_a", "items": [{"policyId": "p", **DECIDED}]},
    "POST /v1/decide/entity/batch": {"orgId": "org_a", "items": [{"policyId": "p", **DECIDED}]},
    "POST /v1/decide/{policy}": {"orgId": "org_a", **DECIDED},
    "POST /v1/events/batch": {"orgId": "org_a", "events": [TRACKED]},
    "GET /v1/config/{project}": None,
}
"""By method and path of the OpenAPI documents; all of it names what is a's."""
NAMED = {
    "projectId": "proj_a",
    "project": "proj_a",
    "flagKey": "native",
    "policy": "p",
    "environment": ENVIRONMENT["a"],
}
KEYS = {"/v1/variables/{key}": "banner-text"}
TOLD = {
    "POST /v1/evaluate",
    "POST /v1/evaluate/bulk",
    "POST /ofrep/v1/evaluate/flags",
    "POST /ofrep/v1/evaluate/flags/{key}",
    "POST /v1/variables",
    "POST /v1/variables/{key}",
    "POST /v1/environments/{environment}/evaluate",
    "POST /v1/resolve",
    "GET /v1/config/{project}",
}
"""Where a's own key is told what must not be told to others."""
CHANNEL = "GET /ofrep/v1/streams"
"""Opened by an address that an answer hands out, not by a key."""


def documented() -> Iterator[tuple[str, str]]:
    """(dialect, method and path) of every route."""
    for name in NAMES:
        document = json.loads((ROOT / "docs" / "apis" / f"{name}.openapi.json").read_text())
        for path, methods in document["paths"].items():
            for method in methods.keys() & {"get", "post", "put", "patch", "delete"}:
                yield name, f"{method.upper()} {path}"


ROUTES = sorted(documented())


def key_of(tenant: str, kind: str) -> str:
    return f"5b1f6a52-0000-4000-8000-0000000{tenant}{KINDS.index(kind)}000"


def write(folder: Path, tenant: str) -> Path:
    secret, organisation, project = SECRET[tenant], f"org_{tenant}", f"proj_{tenant}"
    stitchd = {
        "flags": [
            {
                "key": "my-flag",
                "value_type": "string",
                "enabled": True,
                "environment_id": ENVIRONMENT[tenant],
                "description": "",
                "variants": [{"key": secret, "value": secret}],
                "default_rule": {"variant_assignment": {"specific_variant": secret}},
                "rules": [],
            }
        ],
        "rule_segments": [],
        "list_segments": [
            {
                "id": ENVIRONMENT[tenant][:-1] + "c",
                "key": "beta",
                "context_type": "user",
                "include": [secret],
            }
        ],
        "events": [{"key": "page_view", "value_type": "count"}],
    }
    traffical = {
        "version": "2026-05-21T10:30:00.000Z",
        "orgId": organisation,
        "projectId": project,
        "env": "production",
        "hashing": {"unitKey": "userId", "bucketCount": 10000, "algorithm": "sha256-v2"},
        "parameters": [
            {"key": "color", "type": "string", "default": secret, "layerId": "l", "namespace": "n"}
        ],
        "layers": [{"id": "l", "policies": []}],
        "eventDefinitions": [],
    }
    redpennon = {
        "redpennon": 1,
        "environments": ["production"],
        "features": {
            "banner": {
                "name": "Banner",
                "type": "release",
                "status": "live",
                "variables": {"banner-text": {"type": "string"}},
                "variations": {secret: {"banner-text": secret}},
                "environments": {"production": {"targeting": "on", "default_variation": secret}},
            }
        },
    }
    environment = {
        "id": f"env_{tenant}",
        "identifiers": {"stitchd": {"environment": ENVIRONMENT[tenant]}},
        "keys": [{"key": key_of(tenant, kind), "kind": kind} for kind in KINDS],
        "sources": [
            {"format": "redpennon", "path": f"redpennon_{tenant}.json"},
            {"format": "stitchd", "path": f"stitchd_{tenant}.json"},
            {"format": "traffical", "path": f"traffical_{tenant}.json"},
        ],
    }
    native = {
        "fanion": 1,
        "organisations": {
            organisation: {
                "plan": "enterprise",
                "projects": {
                    project: {
                        "environments": {"production": environment},
                        "flags": {"native": {"type": "string", "client_safe": True, "default_value": secret}},
                    }
                },
            }
        },
    }
    for name, document in (("redpennon", redpennon), ("stitchd", stitchd), ("traffical", traffical)):
        (folder / f"{name}_{tenant}.json").write_text(json.dumps(document))
    path = folder / f"native_{tenant}.json"
    path.write_text(json.dumps(native))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tenants")
    publish(folder / "data", *(write(folder, tenant) for tenant in SECRET))
    return folder / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    unlimited = {"FANION_LIMITER_BAD_KEYS_PER_MINUTE": "0"}  # strangers' keys are looked for each time
    log = data.with_name("log")
    running = start(log, "--workers", "1", data=data, environment=unlimited)
    yield running
    assert running.stop() == 0


def ask(server: Running, dialect: str, route: str, key: str | None) -> Answer:
    method, path = route.split(" ")
    named = {"key": KEYS.get(path, "native"), **NAMED}
    for name, value in named.items():
        path = path.replace(f"{{{name}}}", value)
    document = ASKED[route]
    if (dialect, route) == ("traffical", "POST /v1/events"):
        document = ASKED["POST /v1/events/batch"]
    sent = {"stitchd": "x-sdk-key", "redpennon": "x-api-key"}.get(dialect, "authorization")
    given = {} if key is None else {sent: f"Bearer {key}" if sent == "authorization" else key}
    path = f"/{dialect}{path}"
    return server.ask(method, path, document, key=None, headers=given)


def test_every_documented_route_is_asked() -> None:
    assert {route for _, route in ROUTES} == ASKED.keys()
    assert ASKED.keys() >= TOLD


@pytest.mark.heavy
@pytest.mark.parametrize(("dialect", "route"), ROUTES)
def test_no_key_of_another_tenant_is_told_anything(server: Running, dialect: str, route: str) -> None:
    own = ask(server, dialect, route, key_of("a", "server"))
    assert route == CHANNEL or own.status not in (401, 403, 405), own
    if route in TOLD:
        assert (own.status, SECRET["a"].encode() in own.body) == (200, True), own
    for kind in KINDS:
        found = ask(server, dialect, route, key_of("b", kind))
        assert SECRET["a"].encode() not in found.body, found
        if "{environment}" in route:
            assert found.status in CLOSED, found
    for key in STRANGERS:
        found = ask(server, dialect, route, key)
        assert found.status in (400, 401), found
        assert SECRET["a"].encode() not in found.body
        assert SECRET["b"].encode() not in found.body


@pytest.mark.heavy
def test_what_a_key_sends_is_its_own_tenants_whatever_it_names(server: Running, data: Path) -> None:
    def kept() -> Counter[str]:
        told = run(["journal", "cat", "--data", str(data)])
        assert told.returncode == 0, told.stderr
        return Counter(json.loads(line)["environment"] for line in told.stdout.splitlines())

    for dialect, route in ROUTES:
        ask(server, dialect, route, key_of("a", "server"))
    before = kept()
    assert before["env_a"]
    for dialect, route in ROUTES:
        for kind in KINDS:
            ask(server, dialect, route, key_of("b", kind))
    own = {"events": [{**EXPOSED, "id": "of b's own"}]}
    assert server.ask("POST", "/fanion/v1/events", own, key=key_of("b", "client")).json()["accepted"] == 1
    after = kept()
    assert after["env_a"] == before["env_a"]
    assert set(after) == {"env_a", "env_b"}
    assert after["env_b"] > before["env_b"]
