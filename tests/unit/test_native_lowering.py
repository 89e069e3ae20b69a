"""What native definitions serve, run by the reference twin."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from pathlib import Path

import pytest

from fanion import definitions
from fanion.dialects import vocabulary
from fanion.model.program import Op, Resolution, Source
from tests.unit.native_files import (
    Write,
    ask,
    environment,
    flag,
    problems,
    rule,
    with_condition,
    writer,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_segments_flags_and_nesting_decide_together(write: Write) -> None:
    segments = {
        "staff": {"conditions": [{"attribute": "email", "operator": "ends_with", "value": "@us"}]},
        "adults": {"conditions": [{"attribute": "age", "operator": "gte", "value": 18}]},
        "everyone": {"conditions": []},
    }
    conditions = [
        {"any": [{"segment": "staff"}, {"all": [{"segment": "adults"}, {"flag": "open", "is": True}]}]},
        {"not": {"attribute": "banned", "operator": "equals", "value": True}},
        {"segment": "everyone"},
    ]
    opened = flag(
        rules=[rule(conditions=[{"attribute": "country", "operator": "geo_country", "value": "de"}])]
    )
    path = write(segments=segments, flags={"f": flag(rules=[rule(conditions=conditions)]), "open": opened})
    lowered = environment(definitions.load([path], vocabulary()))
    assert [
        ask(lowered, "f", **attributes).value
        for attributes in (
            {},
            {"email": "a@us"},
            {"email": "a@us", "banned": "true"},
            {"age": 18},
            {"age": 18, "country": "DE"},
            {"age": 17.9, "country": "DE"},
            {"age": " 1.8e1 ", "country": "DE", "banned": False},
        )
    ] == ["false", "true", "false", "false", "true", "false", "true"]


def test_all_of_nothing_is_true_and_any_of_nothing_is_false(write: Write) -> None:
    flags = {"all": with_condition({"all": []}), "any": with_condition({"any": []})}
    lowered = environment(definitions.load([write(flags=flags)], vocabulary()))
    assert [ask(lowered, key).value for key in ("all", "any")] == ["true", "false"]


def test_split_serves_every_part_by_its_weight(write: Write) -> None:
    parts = [{"weight": 20.25, "value": "a"}, {"weight": 0, "value": "z"}, {"weight": 79.75, "value": "b"}]
    path = write(
        flags={"f": {"type": "string", "default_value": "d", "rules": [{"id": "r", "split": parts}]}}
    )
    lowered = environment(definitions.load([path], vocabulary()))
    answers = [ask(lowered, "f", userId=f"user_{n}") for n in range(4000)]
    assert {(a.resolution, a.rule_id) for a in answers} == {(Resolution.SPLIT, "r")}
    counted = sum(answer.value == '"a"' for answer in answers)
    assert {a.value for a in answers} == {'"a"', '"b"'}
    assert abs(counted - 4000 * 0.2025) < 120
    assert ask(lowered, "f").value == '"d"'
    assert ask(lowered, "f", anonymousId="x").resolution is Resolution.SPLIT


def test_raising_a_rollout_never_removes_a_subject(write: Write) -> None:
    served: list[set[int]] = []
    for percentage in (0, 0.01, 5, 12.5, 50, 99.99, 100):
        path = write(flags={"f": flag(rules=[rule(rollout_percentage=percentage)])})
        lowered = environment(definitions.load([path], vocabulary()))
        served.append({n for n in range(1000) if ask(lowered, "f", userId=f"user_{n}").value == "true"})
    assert all(before <= after for before, after in itertools.pairwise(served))
    assert (len(served[0]), len(served[-1])) == (0, 1000)


def test_a_features_variables_change_together(write: Write) -> None:
    feature = {
        "id": "feat_1",
        "client_safe": True,
        "variables": {
            "checkout.color": {"type": "string"},
            "size": {"type": "number"},
            "extra": {"type": "json"},
        },
        "variations": {
            "control": {"checkout.color": "grey", "size": 1, "extra": {}},
            "big": {"checkout.color": "red", "size": 2.5, "extra": {"a": [1]}},
        },
        "default_variation": "control",
        "rules": [{"id": "r", "variation": "big", "conditions": [{"attribute": "x", "operator": "is_set"}]}],
    }
    lowered = environment(definitions.load([write(features={"checkout": feature})], vocabulary()))
    assert len(lowered.decisions) == 1
    values = [(ask(lowered, key, x=1).value, ask(lowered, key, x=1).variant) for key in feature["variables"]]  # type: ignore[attr-defined]
    assert values == [('"red"', "big"), ("2.5", "big"), ('{"a":[1]}', "big")]
    assert {(p.group, p.group_id, p.client_safe) for p in lowered.parameters} == {
        ("checkout", "feat_1", True)
    }


def test_features_that_do_not_fit_are_refused(write: Write) -> None:
    feature = {
        "variables": {"a": {"type": "string"}, "b": {"type": "number"}},
        "variations": {"x": {"a": 1}, "y": {"a": "", "b": 1, "c": 1}},
        "default_variation": "z",
        "rules": [{"id": "r", "variation": "w"}, {"id": "s", "value": 1}],
    }
    assert {place for place, _, _ in problems(write(features={"f": feature}))} == {
        "features.f.variations.x.a",
        "features.f.variations.x.b",
        "features.f.variations.y.c",
        "features.f.default_variation",
        "features.f.rules[0].variation",
        "features.f.rules[1]",
        "features.f.rules[1].value",
    }


def test_a_variable_and_a_flag_of_one_key_are_refused(write: Write) -> None:
    feature = {
        "variables": {"f": {"type": "string"}},
        "variations": {"x": {"f": ""}},
        "default_variation": "x",
    }
    found = problems(write(flags={"f": flag()}, features={"g": feature}))
    assert [place for place, _, _ in found] == ["features.g.variables.f"]


def test_list_segments_name_their_lists_and_exclude_wins(write: Write, tmp_path: Path) -> None:
    (tmp_path / "many.gz").write_bytes(gzip.compress(b"u1\nu2\n"))
    segment = {"list": {"include": ["u0"], "exclude": ["u2"], "include_file": "many.gz"}}
    path = write(segments={"beta": segment}, flags={"f": with_condition({"segment": "beta"})})
    loaded = definitions.load([path], vocabulary())
    lowered = environment(loaded)
    assert set(lowered.lists) == {"o/p/beta/include", "o/p/beta/exclude"}
    assert {one.name: (one.members, one.file and Path(one.file).name) for one in loaded.lists} == {
        "o/p/beta/include": (("u0",), "many.gz"),
        "o/p/beta/exclude": (("u2",), None),
    }
    members = {"o/p/beta/include": {"u0", "u1", "u2"}, "o/p/beta/exclude": {"u2"}}

    def external(op: int, operand: str, text: str) -> bool:
        assert op == Op.LIST_MEMBER
        return text in members[operand]

    assert [ask(lowered, "f", external, userId=u).value for u in ("u0", "u1", "u2", "u3")] == [
        "true",
        "true",
        "false",
        "false",
    ]
    assert ask(lowered, "f", external).value == "false"
    segment["list"]["include_file"] = "none.gz"
    assert [place for place, _, _ in problems(write(segments={"beta": segment}))] == [
        "segments.beta.list.include_file"
    ]


def test_slots_are_shared_and_identities_are_members(write: Write) -> None:
    conditions = [
        {"attribute": name, "operator": "is_set"} for name in ("userId", "plan", "plan", "anonymousId")
    ]
    path = write(
        flags={k: flag(rules=[rule(conditions=conditions, rollout_percentage=5)]) for k in ("f", "g")}
    )
    slots = environment(definitions.load([path], vocabulary())).slots
    assert [(slot.name, slot.source) for slot in slots] == [
        ("userId", Source.MEMBER_OR_ATTRIBUTE),
        ("plan", Source.ATTRIBUTE),
        ("anonymousId", Source.MEMBER_OR_ATTRIBUTE),
    ]


def test_governance_and_events_travel_as_documents(tmp_path: Path) -> None:
    project = {"environments": {"e": {}}, "events": {"purchase": {"type": "double", "unit": "EUR"}}}
    organisation = {
        "plan": "pro",
        "suspended": True,
        "limits": {"rate_per_s": 50},
        "projects": {"p": project},
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"organisations": {"o": organisation}}))
    (lowered,) = definitions.load([path], vocabulary()).environments
    said = json.loads(lowered.documents["organisation"])
    assert (said["plan"], said["suspended"], said["limits"]["rate_per_s"]) == ("pro", True, 50)
    assert json.loads(lowered.documents["events"]) == {"purchase": {"type": "double", "unit": "EUR"}}


def test_the_demo_world_loads_and_answers_as_its_page_says() -> None:
    loaded = definitions.load([definitions.DEMO], vocabulary())
    lowered = environment(loaded, "env_01hx")
    assert lowered.identifiers["feather"]["environment"] == "env_01hx"
    assert lowered.identifiers["feather"]["organisation"] == "org_01hx"
    hashes = {key.hash: key.record.kind for key in loaded.keys}
    assert hashes[hashlib.sha256(b"sk_demo_server").digest()] == "server"
    assert hashes[hashlib.sha256(b"pk_demo_client").digest()] == "client"
    one = ask(lowered, "new-checkout", userId="user_123", country="DE")
    assert (one.value, one.resolution) == ("true", Resolution.DEFAULT)
    two = ask(lowered, "checkout-copy", userId="user_123", country="DE")
    assert (two.value, two.resolution, two.variant) == ('"variant-b"', Resolution.SPLIT, "b")
    assert {p.client_safe for p in lowered.parameters} == {True, False}
