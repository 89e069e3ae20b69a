"""The world that Traffical's tests against a real server ask: the recorded bundles, each in a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.server import publish

GOLDEN = Path(__file__).parent.parent / "golden" / "traffical"

FEATURES_KEY = "traffical_sk_features"
WIRE_KEY = "traffical_sk_wire"
WIRE_BROWSER_KEY = "traffical_pk_wire"
BROWSER_PROJECT_KEY = "traffical_pk_browser"
READ_KEY = "traffical_sk_read_only"
WRITE_KEY = "traffical_sk_write_only"
EXPIRED_KEY = "traffical_sk_expired"
NATIVE_KEY = "traffical_sk_native"
FEATHER_KEY = "sk_feather_only_here"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def environment(bundle: str, keys: list[dict[str, Any]], weights: str | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"format": "traffical", "path": bundle}
    if weights is not None:
        source["files"] = {"weights": weights}
    return {"sources": [source], "keys": keys}


def edge_policy(id: str, count: int | None) -> dict[str, Any]:
    """A policy whose entity is the unit, as js-client prefetches it."""
    config: dict[str, Any] = {"entityKeys": ["userId"], "resolutionMode": "edge"}
    if count is None:
        config["dynamicAllocations"] = {"countKey": "imageCount"}
    names = [f"variant_{'abcdef'[n]}" for n in range(count or 0)]
    allocations = [{"name": name, "bucketRange": [0, 0], "overrides": {"ui.color": name}} for name in names]
    return {
        "id": id,
        "state": "running",
        "kind": "adaptive",
        "conditions": [],
        "allocations": allocations,
        "entityConfig": config,
    }


EVENT_DEFINITIONS = [
    {
        "name": "strict",
        "schemaEnforcement": "reject",
        "properties": {"total": {"type": "number", "required": True}},
    },
    {
        "name": "loose",
        "properties": {
            "total": {"type": "number", "minimum": 0},
            "code": {"type": "string", "pattern": "^[A-Z]{3}$", "maxLength": 3},
            "at": {"format": "date-time"},
            "items": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "properties": {"id": {"format": "uuid"}}},
            },
        },
        "additionalProperties": False,
    },
    {"name": "unchecked", "schemaEnforcement": "off", "properties": {"total": {"type": "number"}}},
]


def write_world(folder: Path) -> list[Path]:
    """The files to publish; version "v" of the wire bundle is `wire.json`."""
    folder.mkdir(exist_ok=True)
    ids = {"orgId": "org_test", "projectId": "proj test/1", "env": "production"}
    wire = golden("upstream/bundle_basic.json") | ids | {"eventDefinitions": EVENT_DEFINITIONS}
    wire["hashing"]["bucketCount"] = 1000
    edges = golden("upstream/bundle_basic.json") | ids | {"projectId": "proj_test"}
    policies = [edge_policy("policy_edge_fixed", 2), edge_policy("policy_edge_dynamic", None)]
    edges["layers"] += [{"id": f"layer_{policy['id']}", "policies": [policy]} for policy in policies]
    documents = {
        "features.json": golden("bundle_features.json"),
        "weights.json": golden("entity_weights_features.json"),
        "wire.json": wire,
        "edges.json": edges,
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
    server, browser = {"kind": "server"}, {"kind": "client"}
    world = {
        "fanion": 1,
        "organisations": {
            "org_acc": {
                "projects": {
                    "features": {
                        "environments": {
                            "production": environment(
                                "features.json", [{"key": FEATURES_KEY}], "weights.json"
                            )
                        }
                    }
                }
            },
            "org_test": {
                "projects": {
                    "wire": {
                        "environments": {
                            "production": environment(
                                "wire.json",
                                [
                                    {"key": WIRE_KEY, **server},
                                    {"key": WIRE_BROWSER_KEY, **browser},
                                    {"key": READ_KEY, "scopes": ["sdk:read"]},
                                    {"key": WRITE_KEY, "scopes": ["sdk:write"]},
                                    {"key": EXPIRED_KEY, "expires": "2020-01-01"},
                                    {"key": FEATHER_KEY, "dialects": ["feather"]},
                                ],
                            )
                        }
                    },
                    "browser": {
                        "environments": {
                            "production": environment("edges.json", [{"key": BROWSER_PROJECT_KEY, **browser}])
                        }
                    },
                }
            },
            "org_native": {
                "projects": {
                    "flags": {
                        "environments": {"production": {"keys": [{"key": NATIVE_KEY}]}},
                        "flags": {
                            "banner": {"type": "string", "default_value": "none", "rules": RULES},
                            "shade": {"type": "json", "default_value": {"dark": True}},
                        },
                    }
                }
            },
        },
    }
    (folder / "world.yaml").write_text(yaml.safe_dump(world))
    return [folder / "world.yaml"]


RULES = [
    {
        "id": "germans",
        "value": "servus",
        "conditions": [{"attribute": "country", "operator": "equals", "value": "DE"}],
    },
    {
        "id": "ann",
        "value": "hello ann",
        "conditions": [{"attribute": "userId", "operator": "equals", "value": "ann"}],
    },
]


def publish_world(data: Path) -> None:
    publish(data, *write_world(data.with_name("definitions")))
