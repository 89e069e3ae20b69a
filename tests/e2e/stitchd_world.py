"""The world that stitchd's tests against a real server ask: the conformance data, published, and some more.

All scenarios name one environment and don't contradict each other, so they are one source. Hash vectors become
percentages that are cut at the vectors' buckets: the variant that is answered says the bucket.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.e2e.server import Answer, Running, publish
from tests.unit.stitchd_worlds import ENVIRONMENT, GOLDEN, SCENARIOS, flag, leaf

OTHER_ENVIRONMENT = "11111111-2222-3333-4444-555555555555"
UNSERVED_ENVIRONMENT = "11111111-2222-3333-4444-666666666666"
KEY = "sdk_live_stitchd_one"
UNSERVED_KEY = "sdk_live_stitchd_three"
OTHER_KEY = "sdk_live_stitchd_two"
CLIENT_KEY = "sdk_live_stitchd_client"
EVENTS_KEY = "sdk_live_stitchd_events"
FEATHER_KEY = "sk_feather_of_stitchd"

SEGMENTS: dict[str, Any] = {
    "rule_segments": [
        {"id": "s-pro", "key": "seg-pro", "condition": leaf("Eq", "plan", value="pro")},
        {
            "id": "s-not-pro",
            "key": "seg-not-pro",
            "condition": {"op": "Not", "child": leaf("Eq", "plan", value="pro")},
        },
        {
            "id": "s-anyone",
            "key": "seg-anyone",
            "condition": {"op": "Not", "child": {"op": "Or", "children": [leaf("Eq", "plan", value="pro")]}},
        },
    ],
    "list_segments": [
        {
            "id": "s-beta",
            "key": "beta-users",
            "context_type": "user",
            "include": ["user-123", "ü", "1.2.3", "out"],
            "exclude": ["out"],
            "lists": {"org": {"include": ["acme"]}},
        }
    ],
}
EVENTS = [
    {"key": "button_click", "value_type": "bool"},
    {"key": "page_view", "value_type": "count"},
    {"key": "purchase", "value_type": "double"},
    {"key": "items", "value_type": "int"},
]
FLAGS = [
    flag({"op": "InSegment", "segment_id": "s-beta"}, key="for-beta"),
    flag({"op": "And", "children": []}, key="off", enabled=False),
    flag(leaf("SemverCaret", "app", version="1.2.0"), key="by version"),
    flag(leaf("Eq", "count", value=5), leaf("Eq", "big", value=1e30), key="typed/key"),
]
NATIVE = {
    "plain": {"type": "boolean", "default_value": False, "rules": [
        {"id": "r", "conditions": [{"attribute": "userId", "operator": "equals", "value": "u1"}], "value": True}
    ]},
    "named": {
        "type": "string",
        "default_value": "#00f",
        "client_safe": True,
        "variants": [{"key": "blue", "value": "#00f"}],
    },
    "number": {"type": "number", "default_value": 1.5, "enabled": False},
    "object": {"type": "json", "default_value": {"a": 1}},
}  # fmt: skip


NATIVE_SEGMENTS = {
    "native-list": {"list": {"include": ["n1", "n2"], "exclude": ["n2"]}},
    "native-rule": {"conditions": [{"attribute": "userId", "operator": "starts_with", "value": "n"}]},
}


def scenario_files() -> tuple[dict[str, Any], dict[str, Any]]:
    """All scenarios' flags and segments, each once, and who is in their lists."""
    flags: dict[str, Any] = {}
    rule_segments = {segment["key"]: segment for segment in SEGMENTS["rule_segments"]}
    list_segments = {segment["key"]: segment for segment in SEGMENTS["list_segments"]}
    included: dict[str, list[str]] = defaultdict(list)
    for name in SCENARIOS:
        folder = GOLDEN / "evaluation" / name
        read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        flags |= {one["key"]: one for one in read["flag_definitions"]["flags"]}
        rule_segments |= {one["key"]: one for one in read["segment_definitions"]["rule_segments"]}
        list_segments |= {one["key"]: one for one in read["segment_definitions"]["list_segments"]}
        held = read.get("list_segment_memberships", {"preseed_lru": [], "on_miss_responses": []})
        known = [(one["context_key"], one["memberships"]) for one in held["preseed_lru"]]
        known += [
            (one["match_query"]["context_key"], one["return_memberships"])
            for one in held["on_miss_responses"]
        ]
        for key, memberships in known:
            for segment, member in memberships.items():
                included[segment] += [key] if member else []
    for one in list_segments.values():
        if included[one["id"]]:
            one["include"] = included[one["id"]]
    document = {"flags": [*flags.values(), *FLAGS], "events": EVENTS}
    return document, {"rule_segments": [*rule_segments.values()], "list_segments": [*list_segments.values()]}


def vectors() -> list[tuple[str, str, list[str], int]]:
    """Environment id, flag key, targets and bucket. Where a vector has no environment, the last letter of its flag
    key is taken for one: the hash joins them without a separator. The empty input and "a" can't be asked."""
    found = []
    for file in ("hashing/reference_vectors.json", "derived/murmur3_bucket_vectors.json"):
        for vector in json.loads((GOLDEN / file).read_text())["vectors"]:
            key, environment = vector["flag_key"], vector["env_id"]
            if not environment:
                key, environment = key[:-1], key[-1:]
            if key:
                found.append((environment, key, vector["target_values"], vector["expected_bucket"]))
    return found


def vector_flags() -> dict[str, list[dict[str, Any]]]:
    """Environment id -> flags whose variants are the buckets that its vectors expect."""
    groups: dict[tuple[str, str], list[tuple[list[str], int]]] = defaultdict(list)
    for environment, key, targets, bucket in vectors():
        groups[environment, key].append((targets, bucket))
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (environment, key), asked in groups.items():
        count = max(len(targets) for targets, _ in asked)
        low, weights = 0, []
        for bucket in sorted({bucket for _, bucket in asked}):
            weights += [("other", bucket - low), (str(bucket), 1)]
            low = bucket + 1
        weights.append(("other", 10_000 - low))
        rollout = {
            "targets": [
                {"context_type": "user", "field": "Parameter", "param": f"t{n}"} for n in range(count)
            ],
            "weights": [{"variant_key": name, "weight": weight} for name, weight in weights],
        }
        names = {name for name, _ in weights}
        made[environment].append(
            {
                "key": f"{key}",
                "value_type": "string",
                "variants": [{"key": name, "value": name} for name in sorted(names)],
                "default_rule": {"variant_assignment": {"percentage_rollout": rollout}},
            }
        )
    return made


def vector_key(environment: str) -> str:
    return f"sdk_live_vectors_{environment.encode().hex()}"


def publish_world(data: Path) -> int:
    """Writes the files beside the data directory and publishes them."""
    folder = data.with_name("definitions")
    folder.mkdir(exist_ok=True)
    flags, segments = scenario_files()
    files = {"flags": flags, "segments": segments, "other": {"flags": [flag(key="elsewhere")]}}
    keys = [
        {"key": KEY, "dialects": ["stitchd"]},
        {"key": CLIENT_KEY, "kind": "client"},
        {"key": EVENTS_KEY, "scopes": ["events"]},
        {"key": FEATHER_KEY, "dialects": ["feather"]},
    ]
    source = {"format": "stitchd", "path": "flags.json", "files": {"segments": "segments.json"}}
    environments: dict[str, Any] = {
        "one": {
            "id": "env_one",
            "identifiers": {"stitchd": {"environment": ENVIRONMENT}},
            "keys": keys,
            "sources": [source],
        },
        "three": {
            "id": UNSERVED_ENVIRONMENT,
            "dialects": ["feather"],
            "keys": [{"key": UNSERVED_KEY}],
        },
        "two": {
            "id": OTHER_ENVIRONMENT,
            "keys": [{"key": OTHER_KEY}],
            "sources": [{"format": "stitchd", "path": "other.json"}],
        },
    }
    projects: dict[str, Any] = {
        "p": {"environments": environments, "flags": NATIVE, "segments": NATIVE_SEGMENTS}
    }
    for number, (environment, flags_of) in enumerate(vector_flags().items()):
        files[f"vectors{number}"] = {"flags": flags_of}
        projects[f"v{number}"] = {
            "environments": {
                "v": {
                    "id": f"vectors-{number}",
                    "identifiers": {"stitchd": {"environment": environment}},
                    "keys": [{"key": vector_key(environment)}],
                    "sources": [{"format": "stitchd", "path": f"vectors{number}.json"}],
                }
            }
        }
    files["world"] = {"fanion": 1, "organisations": {"o": {"projects": projects}}}
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return publish(data, folder / "world.json")


def ask(
    server: Running,
    rest: str,
    document: Any = None,
    *,
    key: str | None = KEY,
    environment: str = ENVIRONMENT,
    body: bytes | None = None,
    prefix: str = "",
    headers: dict[str, str] | None = None,
    method: str = "POST",
) -> Answer:
    """One request to a route of an environment."""
    sent = {**({"x-sdk-key": key} if key is not None else {}), **(headers or {})}
    path = f"{prefix}/v1/environments/{environment}{rest}"
    return server.ask(method, path, document, body=body, key=None, headers=sent)


def evaluate(server: Running, flag_key: str, *, key: str = KEY, **members: Any) -> Answer:
    environment = members.pop("environment", ENVIRONMENT)
    request = {"flag_key": flag_key, "context_type": "user", "context_key": "u1", **members}
    return ask(server, "/evaluate", request, key=key, environment=environment)
