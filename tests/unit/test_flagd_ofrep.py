"""flagd's flags through OFREP: whole answers, tags, the manifest (docs/apis/flagd.md, docs/apis/ofrep.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion.dialects.ofrep import evaluate
from fanion.model import shape
from fanion.model.api_key import hash_key
from tests.unit.http_standins import Answered, Caller
from tests.unit.ofrep_schema import SINGLE, check_answer
from tests.unit.ofrep_world import CLIENT, FLAGS, SERVER, make_caller, post

STAFF = {"ends_with": [{"var": "email"}, "@example.com"]}
SET: dict[str, Any] = {
    "metadata": {"team": "web", "version": 3, "ratio": 0.5},
    "flags": {
        "static": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"},
        "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
        "open": {"state": "ENABLED", "variants": {"on": True}, "metadata": {"team": "core"}},
        "whole": {"state": "ENABLED", "variants": {"one": 1, "half": 0.5}, "defaultVariant": "one"},
        "object": {"state": "ENABLED", "variants": {"a": {"x": [1, {"y": 1.5}]}}, "defaultVariant": "a"},
        "staff": {
            "state": "ENABLED",
            "variants": {"on": "yes", "off": "no"},
            "defaultVariant": "off",
            "targeting": {"if": [{"$ref": "staff"}, "on"]},
        },
        "lost": {
            "state": "ENABLED",
            "variants": {"on": "yes"},
            "defaultVariant": "on",
            "targeting": {"if": [{"$ref": "gone"}, "on"]},
        },
        "wrong": {
            "state": "ENABLED",
            "variants": {"on": "yes"},
            "defaultVariant": "on",
            "targeting": {"if": [STAFF, "gone", "on"]},
        },
        "half": {
            "state": "ENABLED",
            "variants": {"a": "a", "b": "b"},
            "defaultVariant": "a",
            "targeting": {"fractional": [["b", 1]]},
        },
        "hidden": {
            "state": "ENABLED",
            "variants": {"on": True},
            "defaultVariant": "on",
            "metadata": {"clientSafe": False},
        },
    },
    "$evaluators": {"staff": STAFF},
}
TIMED = {
    "state": "ENABLED",
    "variants": {"before": "before", "after": "after"},
    "defaultVariant": "before",
    "targeting": {"if": [{">=": [{"var": "$flagd.timestamp"}, 1000]}, "after"]},
}
OWN = {"source": "flagd", "team": "web", "version": 3, "ratio": 0.5}

Make = Callable[[dict[str, Any]], Caller]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(flags: dict[str, Any]) -> Caller:
        (tmp_path / "flags.json").write_text(json.dumps(flags))
        keys = [
            {"key": f"sha256:{hash_key(raw.encode()).hex()}", "kind": kind}
            for raw, kind in ((SERVER, "server"), (CLIENT, "client"))
        ]
        environment = {"id": "env", "keys": keys, "sources": [{"format": "flagd", "path": "flags.json"}]}
        projects = {"p": {"environments": {"production": environment}}}
        (tmp_path / "world.json").write_text(json.dumps({"organisations": {"o": {"projects": projects}}}))
        return make_caller(tmp_path / "world.json")

    return made


def ask(caller: Caller, key: str, context: dict[str, Any] | None = None, by: str = SERVER) -> Answered:
    answer = post(caller, f"{FLAGS}/{key}", json.dumps({"context": context or {}}).encode(), by)
    check_answer(SINGLE, answer.status, answer.headers, answer.json())
    return answer


@pytest.mark.parametrize(
    ("key", "context", "answer"),
    [
        ("static", {}, {"value": True, "reason": "STATIC", "variant": "on", "metadata": OWN}),
        ("off", {}, {"reason": "DISABLED", "metadata": OWN}),
        ("open", {}, {"reason": "DEFAULT", "metadata": {**OWN, "team": "core"}}),
        ("whole", {}, {"value": 1.0, "reason": "STATIC", "variant": "one", "metadata": OWN}),
        (
            "object",
            {},
            {"value": {"x": [1, {"y": 1.5}]}, "reason": "STATIC", "variant": "a", "metadata": OWN},
        ),
        (
            "staff",
            {"email": "a@example.com"},
            {"value": "yes", "reason": "TARGETING_MATCH", "variant": "on", "metadata": OWN},
        ),
        ("staff", {"email": 1}, {"value": "no", "reason": "DEFAULT", "variant": "off", "metadata": OWN}),
        (
            "half",
            {"targetingKey": "u"},
            {
                "value": "b",
                "reason": "TARGETING_MATCH",
                "variant": "b",
                "metadata": {**OWN, "fractional": "v2"},
            },
        ),
        (
            "half",
            {},
            {"value": "a", "reason": "DEFAULT", "variant": "a", "metadata": {**OWN, "fractional": "v2"}},
        ),
    ],
)
def test_a_flag_is_answered_as_a_whole(
    make: Make, key: str, context: dict[str, Any], answer: dict[str, Any]
) -> None:
    found = ask(make(SET), key, context)
    assert json.dumps(found.json(), sort_keys=True) == json.dumps({"key": key, **answer}, sort_keys=True)


@pytest.mark.parametrize(("key", "code"), [("lost", "PARSE_ERROR"), ("wrong", "GENERAL")])
def test_rules_that_name_no_variant_are_an_error(make: Make, key: str, code: str) -> None:
    found = ask(make(SET), key, {"email": "a@example.com"})
    assert (found.status, found.json()["errorCode"]) == (400, code)


def test_client_keys_see_flags_that_do_not_say_otherwise(make: Make) -> None:
    caller = make(SET)
    assert ask(caller, "static", by=CLIENT).status == 200
    assert ask(caller, "hidden", by=CLIENT).status == 404
    assert ask(caller, "hidden").status == 200


def test_the_manifest_leaves_out_flags_without_a_value_of_their_own(make: Make) -> None:
    answer = make(SET).call("GET", "/openfeature/v0/manifest", b"", key=SERVER.encode())
    found = {one["key"]: (one["type"], one["defaultValue"]) for one in answer.json()["flags"]}
    assert found.keys() == SET["flags"].keys() - {"off", "open"}
    assert found["whole"] == ("float", 1.0)
    assert found["staff"] == ("string", "no")


def test_a_tag_holds_for_its_second_where_a_flag_reads_the_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 998
    for module in (shape, evaluate):
        monkeypatch.setattr(module, "seconds_now", lambda: now)
    caller = make({"flags": {"timed": TIMED}})
    first = post(caller, FLAGS, b"{}")
    tag = first.headers["etag"]
    assert post(caller, FLAGS, b"{}", if_none_match=tag).status == 304
    now = 1000
    second = post(caller, FLAGS, b"{}", if_none_match=tag)
    assert second.status == 200
    assert [one.json()["flags"][0]["value"] for one in (first, second)] == ["before", "after"]


def test_a_tag_holds_on_where_no_flag_reads_the_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 998
    monkeypatch.setattr(evaluate, "seconds_now", lambda: now)
    caller = make(SET)
    tag = post(caller, FLAGS, b"{}").headers["etag"]
    now = 1000
    assert post(caller, FLAGS, b"{}", if_none_match=tag).status == 304
