"""Nested native conditions, segments and flag references answer as plain recursion over them does."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion import definitions
from fanion.dialects import vocabulary
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext
from fanion.model.definition import Operator
from tests.property import feather_rules
from tests.rounds import rounds

NAMES = ["plan", "country", "n", "userId"]
TEXTS = ["", "a", "ab", "DE", "de", "1", "1.5", "x"]
values = st.one_of(st.sampled_from(TEXTS), st.integers(-2, 3), st.booleans(), st.sampled_from([0.5, 1.0]))
ORDERS = {"gt": 0, "gte": 1, "lt": 2, "lte": 3}


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    attribute = draw(st.sampled_from(NAMES))
    operator = draw(st.sampled_from(sorted(get_args(Operator))))
    made: dict[str, Any] = {"attribute": attribute, "operator": operator}
    if operator in ("in", "not_in", "geo_country"):
        made["value"] = draw(st.lists(values, min_size=1, max_size=3))
    elif operator in ORDERS:
        made["value"] = draw(st.one_of(st.integers(-2, 3), st.sampled_from([" 1 ", "0.5", 1.5])))
    elif operator == "regex":
        made["value"] = draw(st.sampled_from(["^a", "b$", "", "^[0-9]"]))
    elif operator not in ("is_set", "is_not_set"):
        made["value"] = draw(values)
    return made


def trees(references: list[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.one_of(leaves(), st.sampled_from(references)) if references else leaves(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda each: {"all": each}),
            st.lists(inner, max_size=3).map(lambda each: {"any": each}),
            inner.map(lambda one: {"not": one}),
        ),
        max_leaves=8,
    )


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    segments: dict[str, Any] = {}
    for number in range(2):
        known = [{"segment": key} for key in segments]
        segments[f"s{number}"] = {
            "conditions": draw(st.lists(trees(known), max_size=3)),
            "condition_operator": draw(st.sampled_from(["AND", "OR"])),
        }
    flags: dict[str, Any] = {}
    for number in range(3):
        known = [{"segment": key} for key in segments]
        known += [{"flag": key, "is": value} for key in flags for value in (True, False)]
        rule = {
            "id": "r",
            "conditions": draw(st.lists(trees(known), min_size=1, max_size=3)),
            "condition_operator": draw(st.sampled_from(["AND", "OR"])),
            "value": True,
        }
        flags[f"f{number}"] = {"type": "boolean", "default_value": False, "rules": [rule]}
    return {"environments": {"e": {}}, "segments": segments, "flags": flags}


def holds(condition: Any, world: Any, context: dict[str, Any]) -> bool:
    if "all" in condition:
        return all(holds(one, world, context) for one in condition["all"])
    if "any" in condition:
        return any(holds(one, world, context) for one in condition["any"])
    if "not" in condition:
        return not holds(condition["not"], world, context)
    if "segment" in condition:
        return joined(world["segments"][condition["segment"]], world, context)
    if "flag" in condition:
        served = joined(world["flags"][condition["flag"]]["rules"][0], world, context)
        return served is condition["is"]
    operator = condition["operator"]
    if operator in ORDERS:
        found = feather_rules.look_up(condition["attribute"], context)
        left = None if found is feather_rules.ABSENT else feather_rules.number(found)
        right = feather_rules.number(condition["value"])
        if left is None or right is None:
            return False
        return (left > right, left >= right, left < right, left <= right)[ORDERS[operator]]
    value = condition.get("value")
    texts = (
        [feather_rules.text(one) for one in value] if isinstance(value, list) else feather_rules.text(value)
    )
    return feather_rules.test({**condition, "value": texts}, context)


def joined(holder: Any, world: Any, context: dict[str, Any]) -> bool:
    results = [holds(one, world, context) for one in holder["conditions"]]
    return not results or (any(results) if holder["condition_operator"] == "OR" else all(results))


@settings(max_examples=rounds(50, 300))
@given(
    world=worlds(),
    asked=st.lists(st.dictionaries(st.sampled_from(NAMES), values), min_size=1, max_size=6),
)
def test_nested_conditions_hold_as_written(tmp_path_factory: Any, world: Any, asked: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "world.json"
    path.write_text(json.dumps({"organisations": {"o": {"projects": {"p": world}}}}))
    (lowered,) = definitions.load([path], vocabulary()).environments
    for attributes in asked:
        for parameter in lowered.parameters:
            result = evaluate(
                lowered,
                parameter.decision,
                EvaluationContext({}, attributes),
                lambda _op, pattern, text: re.search(pattern, text) is not None,
            )
            expected = joined(world["flags"][parameter.key]["rules"][0], world, {"attributes": attributes})
            served = parameter.answers[result.outcome].value
            assert served == ("true" if expected else "false"), (parameter.key, attributes)
