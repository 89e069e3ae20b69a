"""The world that Red Pennon's tests against a real server ask: one set of features, six organisations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.server import Answer, Running, publish

OPEN = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a10"
STAGING = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a11"
SUSPENDED = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a12"
INACTIVE = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a13"
CAPPED = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a14"
RATED = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a15"
SMALL = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a16"
FEATHER_ONLY = "sk_feather_only_key"

ORGANISATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "org-open": (OPEN, {"plan": "enterprise"}),
    "org-suspended": (SUSPENDED, {"plan": "free", "suspended": True}),
    "org-inactive": (INACTIVE, {"plan": "basic", "subscription_active": False}),
    "org-capped": (CAPPED, {"plan": "free", "limits": {"monthly_active_users": 2}}),
    "org-rated": (RATED, {"plan": "enterprise", "limits": {"rate_per_s": 0.01, "burst": 2}}),
    "org-small": (SMALL, {"plan": "enterprise", "limits": {"batch_keys": 2, "batch_events": 2}}),
}

ANYONE = {"property": "user_id", "operator": "is_not", "values": ["nobody"]}


def feature(variable: str, **members: Any) -> dict[str, Any]:
    return {
        "variables": {variable: {"type": "string"}},
        "variations": {"control": {variable: "C"}, "variant-a": {variable: "A"}},
        **members,
    }


def targeting(*rules: dict[str, Any], **members: Any) -> dict[str, Any]:
    block = {"targeting": "on", "default_variation": "control", "rules": list(rules), **members}
    return {"production": block, "staging": block}


FEATURES: dict[str, Any] = {
    "checkout": feature(
        "checkout-flow",
        environments=targeting(
            {
                "conditions": [{"property": "country", "operator": "is", "values": ["DE"]}],
                "variation": "variant-a",
            },
            self_targeting={"dev@example.com": "variant-a"},
        ),
    ),
    "split": feature(
        "split",
        environments=targeting(
            {
                "conditions": [ANYONE],
                "distribution": [
                    {"variation": "control", "weight": 50},
                    {"variation": "variant-a", "weight": 50},
                ],
            }
        ),
    ),
    "plain": feature("plain", environments=targeting()),
    "off": feature("off", environments=targeting(targeting="off")),
    "done": feature("done", status="complete", final_variation="variant-a"),
    "old": feature("old", status="archived"),
    "gone": feature("gone", status="deleted"),
    "types": {
        "variables": {
            "t-bool": {"type": "boolean"},
            "t-number": {"type": "number"},
            "t-json": {"type": "json"},
            "weird/Key": {"type": "string"},
            "a b": {"type": "string"},
            "q?x=1": {"type": "string"},
            "p%2Fq": {"type": "string"},
            "café": {"type": "string"},
        },
        "variations": {
            "on": {
                "t-bool": True,
                "t-number": 2.5,
                "t-json": {"a": [1, None]},
                "weird/Key": "w",
                "a b": "s",
                "q?x=1": "q",
                "p%2Fq": "p",
                "café": "c",
            }
        },
        "environments": targeting(default_variation="on"),
    },
}


def write_world(folder: Path) -> Path:
    """The definition files; returns the one to publish."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"redpennon": 1, "environments": ["production", "staging"], "features": FEATURES}
    (folder / "features.json").write_text(json.dumps(document))
    source = [{"format": "redpennon", "path": "features.json"}]
    organisations: dict[str, Any] = {}
    for id, (key, settings) in ORGANISATIONS.items():
        production = {"keys": [{"key": key}], "sources": source}
        organisations[id] = {**settings, "projects": {"shop": {"environments": {"production": production}}}}
    project = organisations["org-open"]["projects"]["shop"]
    project["environments"]["staging"] = {"keys": [{"key": STAGING}], "sources": source}
    project["environments"]["other"] = {"dialects": ["feather"], "keys": [{"key": FEATHER_ONLY}]}
    project["flags"] = {
        "native-flag": {
            "type": "boolean",
            "default_value": False,
            "rules": [
                {
                    "id": "vip",
                    "conditions": [{"attribute": "plan", "operator": "equals", "value": "pro"}],
                    "value": True,
                },
                {
                    "id": "de",
                    "conditions": [{"attribute": "country", "operator": "equals", "value": "DE"}],
                    "value": True,
                },
                {
                    "id": "me",
                    "conditions": [{"attribute": "userId", "operator": "equals", "value": "u9"}],
                    "value": True,
                },
            ],
        },
        "native-off": {"type": "string", "default_value": "x", "enabled": False},
    }
    (folder / "world.json").write_text(json.dumps({"fanion": 1, "organisations": organisations}))
    return folder / "world.json"


def publish_world(data: Path) -> None:
    publish(data, write_world(data.with_name("definitions")))


def ask(
    server: Running,
    path: str,
    document: object = None,
    *,
    key: str | None = OPEN,
    body: bytes | None = None,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Answer:
    sent = {**({} if key is None else {"X-API-Key": key}), **(headers or {})}
    return server.ask(method, path, document, body=body, key=None, headers=sent)


def evaluate(server: Running, variable: str, user: object = None, key: str = OPEN) -> dict[str, Any]:
    answer = ask(server, f"/v1/variables/{variable}", {} if user is None else {"user": user}, key=key)
    assert answer.status == 200, answer
    result: dict[str, Any] = answer.json()
    return result
