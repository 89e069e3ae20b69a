"""Random stitchd definitions: lowering, twin and core answer as the plain interpreter of docs/apis/stitchd.md
does."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.model.context import TypedContext
from tests.property.stitchd_interpreter import Contexts, Engine
from tests.rounds import rounds
from tests.unit.stitchd_worlds import ENVIRONMENT, World

WORLDS = rounds(200, 1_000, "PROPERTY_PROGRAMS") // 4
CONTEXTS = 20

TYPES = ["user", "org", "device"]
PARAMS = ["plan", "age", "app", "beta"]
VERSIONS = [
    "1.2.3",
    "1.2.4",
    "0.2.3",
    "0.0.3",
    "0.0.4",
    "1.3.0-rc.1",
    "1.2.3-rc.1",
    "1.2.3-rc.2",
    "2.0.0",
    "1.2.3+b1",
]
VERSIONS += [
    "0.0.0-0",
    "1.0.0",
    "18446744073709551615.0.0",
    "1.18446744073709551615.2",
    "0.0.18446744073709551615",
]
REQUIREMENTS = [
    *VERSIONS,
    "1",
    "0",
    "1.2",
    "0.2",
    "0.0",
    " 1.2.3 ",
    "",
    "x",
    "1.2.3.4",
    "01.2.3",
    "1.2-rc",
    "18446744073709551616",
]
VALUES: list[Any] = [
    "pro",
    "free",
    "",
    "pr",
    "1.2",
    "true",
    True,
    False,
    0,
    5,
    -1,
    2**63 - 1,
    2**63,
    5.0,
    0.5,
    -0.0,
]
VALUES += [1e21, 1e-7, *VERSIONS]
KEYS = ["alice", "bob", "acme", "u-1", "ü", "1.2.3", ""]
FLAGS = ["alpha", "beta", "gamma", "delta"]
SEGMENTS = [
    "11111111-1111-1111-1111-111111111111",
    "22222222-2222-2222-2222-222222222222",
    "33333333-0000-0000-0000-000000000000",
]


class Maker:
    """Draws definitions that refer only to flags before them, so that none asks itself."""

    def __init__(self, source: random.Random) -> None:
        self.r = source

    def condition(self, depth: int, flags: list[str], *, segment: bool = False) -> dict[str, Any]:
        pick = self.r.randrange(10)
        if depth and pick < 4:
            children = [self.condition(depth - 1, flags, segment=segment) for _ in range(self.r.randrange(4))]
            return {"op": self.r.choice(["And", "Or"]), "children": children}
        if depth and pick == 4:
            return {"op": "Not", "child": self.condition(depth - 1, flags, segment=segment)}
        if not segment and pick == 5:
            return {"op": self.r.choice(["InSegment", "NotInSegment"]), "segment_id": self.r.choice(SEGMENTS)}
        if not segment and pick == 6 and flags:
            names = {"flag_key": self.r.choice(flags), "variant_key": self.r.choice("abcz")}
            return {"op": "FlagEvaluatedAs", **names}
        return self.leaf()

    def leaf(self) -> dict[str, Any]:
        op = self.r.choice(
            ["Eq", "Ne", "Lt", "Lte", "Gt", "Gte", "Contains", "StartsWith", "EndsWith"]
            + ["SemverGte", "SemverTilde", "SemverCaret"] * 2
        )
        names = {"Contains": "substr", "StartsWith": "prefix", "EndsWith": "suffix"}
        if op.startswith("Semver"):
            operand: dict[str, Any] = {"version": self.r.choice(REQUIREMENTS)}
        elif op in names:
            operand = {names[op]: self.r.choice(["pr", "o", "", "ro"])}
        else:
            operand = {"value": self.r.choice(VALUES)}
        return {"op": op, "context_type": self.r.choice(TYPES), "param": self.r.choice(PARAMS), **operand}

    def rollout(self) -> dict[str, Any]:
        targets: list[dict[str, Any]] = [
            {"context_type": self.r.choice(TYPES), "field": "Key"}
            if self.r.random() < 0.5
            else {"context_type": self.r.choice(TYPES), "field": "Parameter", "param": self.r.choice(PARAMS)}
            for _ in range(self.r.randrange(1, 4))
        ]
        weights = [
            {"variant_key": self.r.choice("abcz"), "weight": self.r.choice([0, 1, 3000, 5000, 10000])}
            for _ in range(self.r.randrange(4))
        ]
        rollout: dict[str, Any] = {"targets": targets, "weights": weights}
        if self.r.random() < 0.4:
            low = self.r.randrange(10_000)
            gate = {"group_salt": "g", "bucket_lo": low, "bucket_hi": self.r.choice([low, 10_000])}
            if self.r.random() < 0.5:
                gate["context_type"] = self.r.choice(TYPES)
            rollout["exclusion_gate"] = gate
        return rollout

    def flag(self, key: str, earlier: list[str]) -> dict[str, Any]:
        rules = []
        for number in range(self.r.randrange(4)):
            assignment: dict[str, Any] = {"specific_variant": self.r.choice("abc")}
            if self.r.random() < 0.4:
                assignment = {"percentage_rollout": self.rollout()}
            condition = self.condition(3, earlier)
            rules.append({"rule_id": f"r{number}", "condition": condition, "variant_assignment": assignment})
        flag: dict[str, Any] = {
            "key": key,
            "value_type": "string",
            "enabled": self.r.random() < 0.85,
            "variants": [{"key": name, "value": name.upper()} for name in "abc"],
            "rules": rules,
        }
        if self.r.random() < 0.8:
            flag["default_rule"] = {"variant_assignment": {"specific_variant": self.r.choice("abc")}}
        if self.r.random() < 0.3:
            names = self.r.sample("abcz", 2)
            shares = [
                {"variant_key": names[0], "percentage_bp": 4000},
                {"variant_key": names[1], "percentage_bp": 6000},
            ]
            flag["default_rule_distribution"] = {"allocations": shares}
        if earlier and self.r.random() < 0.4:
            flag["prerequisites"] = [
                {
                    "prerequisite_flag": self.r.choice([*earlier, "absent"]),
                    "required_variant": self.r.choice("abc"),
                }
                for _ in range(self.r.randrange(1, 3))
            ]
            if self.r.random() < 0.5:
                flag["fallback_variant"] = self.r.choice("abc")
        return flag

    def segments(self) -> dict[str, Any]:
        listed = {
            "id": SEGMENTS[1],
            "key": "listed",
            "context_type": "user",
            "include": ["alice", "u-1"],
            "exclude": ["u-1"],
        }
        listed["lists"] = {"org": {"include": ["acme", "bob"], "exclude": self.r.choice([[], ["bob"]])}}
        rule = {"id": SEGMENTS[0], "key": "ruled", "condition": self.condition(3, [], segment=True)}
        return {"rule_segments": [rule], "list_segments": [listed]}

    def contexts(self) -> Contexts:
        types = self.r.sample(TYPES, self.r.randrange(1, 4))
        return [
            (t, self.r.choice(KEYS), {p: self.r.choice(VALUES) for p in PARAMS if self.r.random() < 0.6})
            for t in types
        ]


def stored(node: dict[str, Any]) -> dict[str, Any]:
    """A flat condition in storage form."""
    op, rest = node["op"], {key: value for key, value in node.items() if key != "op"}
    if op in ("And", "Or"):
        return {op: [stored(child) for child in node["children"]]}
    if op == "Not":
        return {"Not": stored(node["child"])}
    return {"Leaf": {op: node.get("segment_id", rest)}}


def stored_flag(flag: dict[str, Any]) -> dict[str, Any]:
    """The same flag with its rules as the server stores them."""
    rules = []
    for rule in flag["rules"]:
        assignment = rule["variant_assignment"]
        output: dict[str, Any] = {"Variant": assignment.get("specific_variant")}
        if "percentage_rollout" in assignment:
            rollout = assignment["percentage_rollout"]
            targets = [
                {
                    "context_type": target["context_type"],
                    "field": "Key" if target["field"] == "Key" else {"Parameter": target["param"]},
                }
                for target in rollout["targets"]
            ]
            weights = [[one["variant_key"], one["weight"]] for one in rollout["weights"]]
            output = {"Percentage": rollout | {"targets": targets, "weights": weights}}
        rules.append({"id": rule["rule_id"], "condition": stored(rule["condition"]), "output": output})
    return flag | {"rules": rules}


@settings(max_examples=WORLDS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_lowered_definitions_answer_as_the_interpreter_of_the_contract(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    flags = [make.flag(key, FLAGS[:number]) for number, key in enumerate(FLAGS)]
    segments = make.segments()
    worlds = [World(flags, segments), World([stored_flag(flag) for flag in flags], segments)]
    for world in worlds:
        assert world.problems == []
    for _ in range(CONTEXTS):
        contexts = make.contexts()
        engine = Engine(flags, segments, ENVIRONMENT, contexts)
        typed = [TypedContext(*context) for context in contexts]
        for world in worlds:
            for key in FLAGS:
                answer = world.ask(key, *typed)
                assert (answer["variant_key"], answer["outcome"]) == engine.evaluate(key), (
                    flags,
                    segments,
                    contexts,
                )
            for segment in ("ruled", "listed"):
                id = SEGMENTS[segment == "listed"]
                assert world.is_member(segment, *typed) == engine.in_segment(id), (segments, contexts)
