"""The native format: every defect is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.definitions.reading import limits
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError
from tests.unit.native_files import (
    PLACE,
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


def test_all_defects_of_all_files_are_reported_at_once(write: Write, tmp_path: Path) -> None:
    one = write(
        "a.json",
        flags={
            "ok": flag(),
            "Bad Key": flag(),
            "typo": flag(enabeld=True),
            "types": flag(default_value="no", rules=[rule(value=1), rule(id="", value=False)]),
            "new-checkout": flag(
                rules=[
                    rule(
                        conditions=[
                            {"attribute": "a", "operator": "eqals", "value": "x"},
                            {"attribute": "a", "operator": "regex", "value": "(?=x)"},
                            {"segment": "none"},
                        ],
                        rollout_percentage=101,
                    )
                ]
            ),
        },
    )
    two = tmp_path / "b.yaml"
    two.write_text("organisations: [1, 2")
    three = tmp_path / "c.json"
    three.write_text('{"organisations": {}, "organisations": {}}')
    with pytest.raises(DefinitionError) as caught:
        definitions.load([one, two, three], vocabulary())
    found = {(Path(p.file).name, p.path.removeprefix(f"{PLACE}.")) for p in caught.value.problems}
    assert found == {
        ("a.json", "flags['Bad Key']"),
        ("a.json", "flags.typo.enabeld"),
        ("a.json", "flags.types.default_value"),
        ("a.json", "flags.types.rules[0].value"),
        ("a.json", "flags.types.rules[1].id"),
        ("a.json", "flags.new-checkout.rules[0].conditions[0].operator"),
        ("a.json", "flags.new-checkout.rules[0].conditions[1].value"),
        ("a.json", "flags.new-checkout.rules[0].conditions[2].segment"),
        ("a.json", "flags.new-checkout.rules[0].rollout_percentage"),
        ("b.yaml", "line 2, column 1"),
        ("c.json", "key 'organisations'"),
    }
    assert all(p.found and p.allowed for p in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "document: an empty file; definitions"),
        ("# nothing", "document: null; an object of fanion, organisations"),
        ("fanion: 2\norganisations: {}", "fanion: 2; 1"),
        ("organisations: {o: 5}", "organisations.o: 5; an object (organisation)"),
        (
            "organisations: {o: {plan: gold}}",
            "organisations.o.plan: 'gold'; one of free, basic, pro, business, enterprise",
        ),
        (
            "organisations: {o: {projects: {p: {flags: {A B: {type: boolean, default_value: true}}}}}}",
            "organisations.o.projects.p.flags['A B']: 'A B'; lower-case letters, digits and _ -, at most 128",
        ),
    ],
)
def test_a_problem_says_what_is_allowed_in_words(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        definitions.load([path], vocabulary())
    assert f"{path}: {told}" in str(caught.value).splitlines()


CONDITION_DEFECTS: list[tuple[Any, str, str]] = [
    ({"attribute": "a", "operator": "like", "value": "x"}, ".operator", "'like'"),
    ({"attribute": "a", "operator": "regex", "value": "("}, ".value", "the pattern '('"),
    ({"attribute": "a", "operator": "regex", "value": "a(?!b)"}, ".value", "the pattern"),
    ({"attribute": "a", "operator": "regex", "value": r"^\p{L}{1,64}$"}, ".value", "the pattern"),
    ({"attribute": "a", "operator": "regex", "value": 5}, ".value", "5"),
    ({"attribute": "a", "operator": "regex", "value": "x" * 513}, ".value", "a pattern of 513 characters"),
    ({"attribute": "a", "operator": "gt", "value": "ten"}, ".value", "'ten'"),
    ({"attribute": "a", "operator": "gt", "value": True}, ".value", "true"),
    ({"attribute": "a", "operator": "gt", "value": ["1"]}, ".value", "a list"),
    ({"attribute": "a", "operator": "lte", "value": "1e999"}, ".value", "'1e999'"),
    ({"attribute": "a", "operator": "equals"}, "", "equals without a value"),
    ({"attribute": "a", "operator": "equals", "value": ["x"]}, ".value", "a list"),
    ({"attribute": "a", "operator": "is_set", "value": "x"}, ".value", "'x'"),
    ({"attribute": "a", "operator": "in", "value": []}, ".value", "0 values"),
    ({"attribute": "a", "operator": "in", "value": [None]}, ".value[0]", "null"),
    ({"attribute": "a"}, "", "attribute"),
    ({"operator": "equals", "value": "x"}, "", "none of these"),
    ({}, "", "none of these"),
    ({"segment": "s", "flag": "f"}, "", "segment and flag"),
    ({"attribute": "a", "operator": "is_set", "segment": "s"}, "", "an attribute and something else"),
    ({"not": {"all": [{"any": [{"segment": "nope"}]}]}}, ".not.all[0].any[0].segment", "the segment 'nope'"),
    ({"flag": "nope", "is": True}, ".flag", "the flag 'nope'"),
    ({"flag": "other"}, "", "a flag without a value"),
    ({"flag": "other", "is": "x"}, ".is", "'x'"),
    ({"attribute": "", "operator": "is_set"}, ".attribute", "''"),
]


@pytest.mark.parametrize(("condition", "place", "found"), CONDITION_DEFECTS)
def test_condition_that_makes_no_sense_is_refused_at_its_place(
    write: Write, condition: Any, place: str, found: str
) -> None:
    ((path, seen, allowed),) = problems(write(flags={"f": with_condition(condition), "other": flag()}))
    assert path == f"flags.f.rules[0].conditions[0]{place}"
    assert seen.startswith(found)
    assert allowed


RULE_DEFECTS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": "r"}, "", "a rule that serves nothing"),
    ({"id": "r", "variation": "x"}, ".variation", "a variation"),
    (rule(value="text"), ".value", "'text'"),
    (rule(value=None), ".value", "null"),
    (rule(rollout_percentage=-1), ".rollout_percentage", "-1"),
    (rule(split=[{"weight": 100, "value": True}]), "", "a value and a split"),
    ({"id": "r", "split": []}, ".split", "0 parts"),
    ({"id": "r", "split": [{"weight": 50, "value": True}]}, ".split", "weights that sum to 50"),
    ({"id": "r", "split": [{"weight": 100}]}, ".split[0]", "a part without its value"),
    ({"id": "r", "split": [{"weight": 100, "value": 1}]}, ".split[0].value", "1"),
    (
        {"id": "r", "split": [{"weight": 33.333, "value": True}, {"weight": 66.667, "value": False}]},
        ".split[0].weight",
        "33.333",
    ),
    (
        {"id": "r", "split": [{"weight": 100, "value": True}], "rollout_percentage": 5},
        ".rollout_percentage",
        "a rollout of a split",
    ),
    (rule(condition_operator="XOR"), ".condition_operator", "'XOR'"),
    (rule(enabled="yes"), ".enabled", "'yes'"),
]


@pytest.mark.parametrize(("bad", "place", "found"), RULE_DEFECTS)
def test_rule_that_makes_no_sense_is_refused_at_its_place(
    write: Write, bad: dict[str, Any], place: str, found: str
) -> None:
    seen = problems(write(flags={"f": flag(rules=[bad])}))
    assert (f"flags.f.rules[0]{place}", found) in [(path, what) for path, what, _ in seen]


@pytest.mark.parametrize(
    ("kind", "value", "fine"),
    [
        ("boolean", True, True),
        ("boolean", 1, False),
        ("boolean", "true", False),
        ("string", "x", True),
        ("string", True, False),
        ("number", 1, True),
        ("number", 1.5, True),
        ("number", True, False),
        ("number", "1", False),
        ("number", 2**63 - 1, True),
        ("number", 2**63, False),
        ("json", {"a": [1, None]}, True),
        ("json", [1], True),
        ("json", "x", False),
        ("json", {"a": 2**64}, False),
    ],
)
def test_values_match_their_flags_type(write: Write, kind: str, value: Any, fine: bool) -> None:
    path = write(flags={"f": {"type": kind, "default_value": value}})
    if fine:
        (parameter,) = definitions.load([path], vocabulary()).environments[0].parameters
        assert json.loads(parameter.answers[0].value or "") == value
    else:
        assert [place for place, _, _ in problems(path)] == ["flags.f.default_value"]


def test_duplicate_rule_ids_and_variant_keys_are_refused(write: Write) -> None:
    variants = [{"key": "a", "value": True}, {"key": "a", "value": False}]
    path = write(flags={"f": flag(rules=[rule(), rule()], variants=variants)})
    assert {place for place, _, _ in problems(path)} == {"flags.f.rules[1].id", "flags.f.variants[1].key"}


def test_circles_of_segments_and_flags_are_refused_once_each(write: Write) -> None:
    segments = {
        "a": {"conditions": [{"segment": "b"}]},
        "b": {"conditions": [{"not": {"segment": "a"}}]},
        "self": {"conditions": [{"segment": "self"}]},
    }
    flags = {"f": with_condition({"flag": "g", "is": True}), "g": with_condition({"flag": "f", "is": True})}
    found = [what for _, what, _ in problems(write(segments=segments, flags=flags))]
    assert found == [
        "a circle: segment a → segment b → segment a",
        "a circle: segment self → segment self",
        "a circle: flag f → flag g → flag f",
    ]


def test_references_as_deep_as_the_stack_are_fine_and_one_deeper_is_refused(write: Write) -> None:
    def chain(length: int) -> dict[str, Any]:
        made: dict[str, Any] = {"s1": {"conditions": [{"attribute": "a", "operator": "is_set"}]}}
        for number in range(2, length + 1):
            made[f"s{number}"] = {"conditions": [{"segment": f"s{number - 1}"}]}
        return made

    flags = {"f": with_condition({"segment": "s31"})}
    lowered = environment(definitions.load([write(segments=chain(31), flags=flags)], vocabulary()))
    assert ask(lowered, "f", a="x").value == "true"
    flags = {"f": with_condition({"segment": "s32"})}
    ((place, found, _),) = problems(write(segments=chain(32), flags=flags))
    assert (place, found) == ("flags.f.rules[0].conditions[0].segment", "references too deep")
    assert problems(write(segments=chain(3000)))[0][1] == "references too deep"


def test_limits_hold_at_the_bound_and_one_past_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = {"attribute": "a", "operator": "is_set"}
    cases: list[tuple[str, Callable[[int], Any], str]] = [
        ("RULES_MAX", lambda n: flag(rules=[rule(id=f"r{i}") for i in range(n)]), "rules"),
        ("CONDITIONS_MAX", lambda n: flag(rules=[rule(conditions=[condition] * n)]), "rules[0].conditions"),
        (
            "OPERANDS_MAX",
            lambda n: with_condition({"attribute": "a", "operator": "in", "value": ["x"] * n}),
            "rules[0].conditions[0].value",
        ),
        (
            "VARIANTS_MAX",
            lambda n: flag(variants=[{"key": f"{i}", "value": True} for i in range(n)]),
            "variants",
        ),
    ]
    for name, make, place in cases:
        monkeypatch.setattr(limits, name, 3)
        assert definitions.load([write(flags={"f": make(3)})], vocabulary())
        assert [path for path, _, _ in problems(write(flags={"f": make(4)}))] == [f"flags.f.{place}"]


def test_conditions_nest_to_their_bound_and_no_deeper(write: Write) -> None:
    def nested(depth: int) -> Any:
        made: Any = {"attribute": "a", "operator": "is_set"}
        for _ in range(depth - 1):
            made = {"not": made}
        return made

    path = write(flags={"f": with_condition(nested(limits.CONDITION_DEPTH_MAX))})
    assert ask(environment(definitions.load([path], vocabulary())), "f").value == "true"
    for depth in (limits.CONDITION_DEPTH_MAX + 1, 200, 5000):
        found = problems(write(flags={"f": with_condition(nested(depth))})) if depth < 900 else None
        assert found is None or [what for _, what, _ in found] == ["nesting too deep"]
