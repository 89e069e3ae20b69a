"""Flags of every source say through OFREP what they say through their own API: random definitions and contexts.

How a flat context reads in each API stands here once more, from docs/apis/ofrep.md: Contexts, in plain Python.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion import dialects
from fanion.definitions import load
from fanion.dialects import served
from fanion.model.api_key import KeyRecord
from tests.golden.oracle import draw_contexts, vocabulary
from tests.property import test_definitions_feather_rules as feather_random
from tests.property import test_redpennon_rules as redpennon_random
from tests.property import test_stitchd_lowering as stitchd_random
from tests.property.flagd_interpreter import answer as flagd_answer
from tests.property.flagd_random import Drawing
from tests.rounds import rounds
from tests.unit.http_standins import make_services
from tests.unit.ofrep_world import WorldSnapshot
from tests.unit.redpennon_standins import FakeUsers

CONTEXTS = rounds(200, 1_000, "OFREP_CONTEXTS")
"""Of each source."""
PER_WORLD = 25
GOLDEN = Path(__file__).parents[1] / "golden"
TEXTS = ["", "u", "user-1", "user-2", "ü", "1.2.3", "a", "alice"]


class Asked:
    """One environment, asked by handlers without a server."""

    def __init__(self, folder: Path, environment: dict[str, Any], **project: Any) -> None:
        world = {"p": {"environments": {"production": {"id": "env", **environment}}, **project}}
        document = {"fanion": 1, "organisations": {"org": {"projects": world}}}
        (folder / "world.json").write_text(json.dumps(document))
        self.loaded = load([folder / "world.json"], dialects.vocabulary())
        self.snapshot: Any = WorldSnapshot(self.loaded)
        services: Any = make_services()
        services.active_users = FakeUsers()
        self.handlers: dict[tuple[str, str], Any] = {
            (dialect.name, endpoint.name): endpoint.handler
            for dialect in served()
            for route in dialect.routes(services)
            for endpoint in route.methods.values()
        }
        self.flags: dict[str, Any] = {}
        self.record = KeyRecord(id="k", environment="env", organisation="org", kind="server")

    def ask(self, api: str, endpoint: str, document: Any, tail: bytes = b"") -> Any:
        body = json.dumps(document).encode()
        _, answer = self.handlers[api, endpoint](self.snapshot, self.record, body, tail, {})
        return json.loads(answer)

    def through_ofrep(self, context: dict[str, Any]) -> dict[str, Any]:
        return {flag["key"]: flag for flag in self.ask("ofrep", "flags", {"context": context})["flags"]}


World = tuple[Asked, Callable[[], dict[str, Any]]]
"""What is asked, and what draws a flat context for it."""


def person(source: random.Random) -> dict[str, Any]:
    return {} if source.random() < 0.1 else {"targetingKey": source.choice([*TEXTS, f"u-{source.random()}"])}


def same(one: Any, other: Any) -> bool:
    """Equal, and a boolean is no number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


# -- Feather, and native flags, which it serves


REASONS = {
    "RULE_MATCH": {"TARGETING_MATCH", "STATIC"},
    "ROLLOUT": {"SPLIT"},
    "DEFAULT": {"DEFAULT", "STATIC"},
    "DISABLED": {"DISABLED"},
}


def scalar(source: random.Random) -> Any:
    return source.choice([*feather_random.TEXTS, True, False, 0, 1, 5, -3, 0.5, 2.0, 99.25, 2**63 - 1])


def feather_rule(source: random.Random, number: int, operators: list[str]) -> dict[str, Any]:
    conditions = []
    for _ in range(source.randrange(3)):
        operator = source.choice(operators)
        condition: dict[str, Any] = {"attribute": source.choice(feather_random.NAMES), "operator": operator}
        if operator == "regex":
            condition["value"] = source.choice(feather_random.PATTERNS)
        elif operator in ("in", "not_in", "geo_country"):
            condition["value"] = [source.choice(feather_random.TEXTS) for _ in range(2)]
        elif operator in ("gt", "lt"):
            condition["value"] = source.choice(["1", "1.5", "-3"])
        elif operator not in ("is_set", "is_not_set"):
            condition["value"] = source.choice(feather_random.TEXTS)
        conditions.append(condition)
    rule = {"id": f"r{number}", "enabled": True, "conditions": conditions}
    share = source.choice([None, None, 0, 33.33, 50, 100])
    return rule if share is None else {**rule, "share": share}


def typed_value(source: random.Random, kind: str) -> Any:
    return {
        "boolean": source.random() < 0.5,
        "string": source.choice(feather_random.TEXTS),
        "number": source.choice([0, 1, 2.5, -1]),
    }[kind]


def feather_world(folder: Path, source: random.Random) -> World:
    flags: dict[str, Any] = {}
    for number in range(6):
        kind = source.choice(["boolean", "string", "number"])
        rules = []
        for at in range(source.randrange(4)):
            rule = feather_rule(source, at, sorted(feather_random.feather.OPERATORS))
            share = rule.pop("share", None)
            more = {} if share is None else {"rolloutPercentage": share}
            rules.append({**rule, **more, "name": "", "value": typed_value(source, kind)})
        default = typed_value(source, kind)
        flags[f"f{number}"] = {
            "enabled": source.random() < 0.9,
            "defaultValue": default,
            "rules": rules,
            "variants": [{"key": "named", "value": default}] if source.random() < 0.5 else [],
        }
    flags["broken"] = {"enabled": True, "defaultValue": 1, "rules": 1}
    (folder / "feather.json").write_text(json.dumps(flags))
    asked = Asked(folder, {"sources": [{"format": "feather", "path": "feather.json"}]})
    return asked, lambda: feather_context(source)


def native_world(folder: Path, source: random.Random) -> World:
    operators = ["equals", "not_equals", "contains", "in", "not_in", "is_set", "gt", "lt", "starts_with"]
    flags: dict[str, Any] = {}
    for number in range(6):
        kind = source.choice(["boolean", "string", "number"])
        rules = []
        for at in range(source.randrange(4)):
            rule = feather_rule(source, at, operators)
            share = rule.pop("share", None)
            if source.random() < 0.3:
                parts = [{"weight": weight, "value": typed_value(source, kind)} for weight in (30, 70)]
                rules.append({**rule, "split": parts})
            else:
                more = {} if share is None else {"rollout_percentage": share}
                rules.append({**rule, **more, "value": typed_value(source, kind)})
        enabled = source.random() < 0.9
        flags[f"n{number}"] = {
            "type": kind,
            "enabled": enabled,
            "default_value": typed_value(source, kind),
            "rules": rules,
        }
    return Asked(folder, {}, flags=flags), lambda: feather_context(source)


def feather_context(source: random.Random) -> dict[str, Any]:
    attributes = {name: scalar(source) for name in feather_random.NAMES if source.random() < 0.6}
    return {**person(source), **attributes}


def check_feather(asked: Asked, context: dict[str, Any]) -> int:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    own: dict[str, Any] = {"attributes": attributes}
    if "targetingKey" in context:
        own["userId"] = context["targetingKey"]
    found = asked.through_ofrep(context)
    results = asked.ask("feather", "evaluate_bulk", {"flags": list(found), "context": own})["results"]
    checked = 0
    for key, flag in found.items():
        result = results[key]
        if result["reason"] == "ERROR":
            assert flag["errorCode"] == "GENERAL"
        elif flag.get("errorCode") == "TARGETING_KEY_MISSING":
            assert "targetingKey" not in context
        else:
            assert same(flag["value"], result["value"]), (key, context)
            assert flag["reason"] in REASONS[result["reason"]], (key, context)
            assert flag["metadata"].get("ruleId") == result.get("ruleId")
            assert flag["variant"] == result.get("variant", flag["variant"])
            checked += 1
    return checked


# -- Red Pennon


def redpennon_world(folder: Path, source: random.Random) -> World:
    make = redpennon_random.Maker(source)
    audiences = make.audiences()
    features = {}
    for slug in ("a", "b", "c"):
        feature = make.feature(list(audiences))
        names = {"v": f"{slug}-v", "n": f"{slug}-n"}
        feature["variables"] = {names[key]: value for key, value in feature["variables"].items()}
        feature["variations"] = {
            name: {names[key]: value for key, value in values.items()}
            for name, values in feature["variations"].items()
        }
        features[slug] = feature
    document = {"redpennon": 1, "environments": ["production"], "audiences": audiences, "features": features}
    (folder / "redpennon.json").write_text(json.dumps(document))
    asked = Asked(folder, {"sources": [{"format": "redpennon", "path": "redpennon.json"}]})

    def context() -> dict[str, Any]:
        user = make.user()
        drawn = {**person(source)}
        for name in ("email", "organisation_id", "ip", "app_version", "platform", "country"):
            if isinstance(user.get(name), str):
                drawn[name] = user[name]
        if "audiences" in user:
            drawn["audiences"] = user["audiences"]
        custom = user.get("custom_data", {})
        return drawn | {name: value for name, value in custom.items() if name != "email"}

    return asked, context


def check_redpennon(asked: Asked, context: dict[str, Any]) -> int:
    own = ("email", "organisation_id", "ip", "app_version", "platform", "country", "audiences")
    user: dict[str, Any] = {name: value for name, value in context.items() if name in own}
    if "targetingKey" in context:
        user["id"] = context["targetingKey"]
    user["custom_data"] = {k: v for k, v in context.items() if k not in (*own, "targetingKey")}
    found = asked.through_ofrep(context)
    document = {"keys": list(found), "user": user}
    results = asked.ask("redpennon", "variables", document)["results"]
    checked = 0
    for key, flag in found.items():
        if "errorCode" in flag:
            assert (flag["errorCode"], "targetingKey" in context) == ("TARGETING_KEY_MISSING", False)
            continue
        result = results[key]
        assert same(flag.get("value"), result["value"]), (key, context)
        assert flag.get("variant") == result["variation"]
        assert flag["metadata"]["group"] == result["feature"]
        checked += 1
    return checked


# -- stitchd


def stitchd_world(folder: Path, source: random.Random) -> World:
    make = stitchd_random.Maker(source)
    names = stitchd_random.FLAGS
    flags = [make.flag(key, names[:number]) for number, key in enumerate(names)]
    (folder / "flags.json").write_text(json.dumps({"flags": flags}))
    (folder / "segments.json").write_text(json.dumps(make.segments()))
    files = {"segments": "segments.json"}
    asked = Asked(folder, {"sources": [{"format": "stitchd", "path": "flags.json", "files": files}]})

    def context() -> dict[str, Any]:
        values = stitchd_random.VALUES
        attributes = {name: source.choice(values) for name in stitchd_random.PARAMS if source.random() < 0.6}
        return {"targetingKey": source.choice(stitchd_random.KEYS), **attributes}

    return asked, context


def check_stitchd(asked: Asked, context: dict[str, Any]) -> int:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    person = {"context_type": "user", "context_key": context["targetingKey"], "attributes": attributes}
    found = asked.through_ofrep(context)
    for key, flag in found.items():
        result = asked.ask("stitchd", "evaluate", {"flag_key": key, **person}, b"env")
        assert flag.get("variant", "") == result["variant_key"], (key, context)
        assert (flag["reason"] == "DISABLED") == (not result["is_enabled"])
        assert ("value" in flag) == bool(result["variant_key"])
    return len(found)


# -- Traffical


def traffical_world(folder: Path, source: random.Random) -> World:
    for name in ("bundle_features.json", "entity_weights_features.json"):
        (folder / name).write_text((GOLDEN / "traffical" / name).read_text())
    files = {"weights": "entity_weights_features.json"}
    named = {"format": "traffical", "path": "bundle_features.json", "files": files}
    asked = Asked(folder, {"sources": [named]})
    words = vocabulary(asked.loaded.environments[0])
    drawn: Iterator[Any] = iter(())

    def context() -> dict[str, Any]:
        nonlocal drawn
        found = next(drawn, None)
        if found is None:
            drawn = iter(draw_contexts(words, str(source.random())))
            found = next(drawn)
        attributes = dict(found.attributes)
        if source.random() < 0.7:
            attributes.pop("userId", None)
        return {**person(source), **attributes}

    return asked, context


def check_traffical(asked: Asked, context: dict[str, Any]) -> int:
    own = {name: value for name, value in context.items() if name != "targetingKey"}
    if "targetingKey" in context:
        own.setdefault("userId", context["targetingKey"])
    found = asked.through_ofrep(context)
    results = asked.ask("traffical", "resolve", {"context": own})["assignments"]
    checked = 0
    for key, flag in found.items():
        alone = asked.ask("ofrep", "flag", {"context": context}, key.encode())
        assert alone == flag, "one flag and all flags are one answer"
        if "errorCode" in flag:
            assert (flag["errorCode"], "targetingKey" in context) == ("TARGETING_KEY_MISSING", False)
            continue
        assert same(flag.get("value"), results[key]), (key, context)
        checked += 1
    return checked


# -- flagd, whose own API is OFREP: an interpreter of its definitions stands in for its evaluator


def flagd_world(folder: Path, source: random.Random) -> World:
    drawing = Drawing(source.getrandbits(32))
    flags = {f"f{number}": drawing.flag() for number in range(6)}
    (folder / "flags.json").write_text(json.dumps({"flags": flags, "metadata": {"fractional": "v2"}}))
    asked = Asked(folder, {"sources": [{"format": "flagd", "path": "flags.json"}]})
    asked.flags = flags

    def context() -> dict[str, Any]:
        key, attributes = drawing.context()
        return attributes if key is None else {**attributes, "targetingKey": key}

    return asked, context


def check_flagd(asked: Asked, context: dict[str, Any]) -> int:
    found = asked.through_ofrep(context)
    for key, flag in found.items():
        alone = asked.ask("ofrep", "flag", {"context": context}, key.encode())
        assert alone == flag, "one flag and all flags are one answer"
        reason, variant = flagd_answer(asked.flags[key], key, context)
        if reason == "ERROR":
            assert flag["errorCode"] == "GENERAL", (key, context)
        else:
            assert (flag["reason"], flag.get("variant"), flag.get("value")) == (reason, variant, variant), (
                context
            )
            assert flag["metadata"] == {"source": "flagd", "fractional": "v2"}
    return len(found)


SOURCES: dict[str, tuple[Callable[[Path, random.Random], World], Callable[[Asked, dict[str, Any]], int]]] = {
    "native": (native_world, check_feather),
    "feather": (feather_world, check_feather),
    "flagd": (flagd_world, check_flagd),
    "redpennon": (redpennon_world, check_redpennon),
    "stitchd": (stitchd_world, check_stitchd),
    "traffical": (traffical_world, check_traffical),
}


@pytest.mark.parametrize("name", SOURCES)
def test_flags_say_through_ofrep_what_their_own_api_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(stitchd_random, "TYPES", ["user"])  # its API takes one context a request
    seed = int(os.environ.get("OFREP_SEED", "20261128"))
    make, check = SOURCES[name]
    checked = 0
    for number in range(max(1, CONTEXTS // PER_WORLD)):
        source = random.Random(f"{seed} {name} {number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        asked, context = make(folder, source)
        for _ in range(PER_WORLD):
            checked += check(asked, context())
    assert checked > CONTEXTS, "most answers were compared"
