"""What each step of a computed slot gives, and what is refused of steps, by cases written by hand."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.expressions import StepAssembler
from fanion.engine.expression import compute
from fanion.engine.expression_values import Beyond, Root
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext
from fanion.model.expression import LIST_MAX, SPREAD, STACK_MAX, FractionKind, Step, Steps
from fanion.model.expression import StepOp as S
from fanion.model.expression_proof import depth_of
from fanion.model.program import Op, Outcome, Resolution, Slot, Source
from fanion.model.program import Test as LeafTest

C = S.CONSTANT
CONTEXT = {
    "text": "abcdef",
    "rocket": "a🚀b",
    "list": [1, "2", None, True],
    "users": [{"age": 17, "name": "x"}, {"age": 40, "name": "y"}, {}],
    "deep": {"a": {"b": 7}, "list": [4, 5]},
    "seven": 7,
    "empty": {},
}


def step(op: S, value: Any = None) -> Step:
    named = op is C or op is S.FIELD
    return Step(op, value=value) if named else Step(op, value or 0)


def run(*steps: tuple[Any, ...] | S) -> Any:
    made = tuple(step(one) if isinstance(one, S) else step(*one) for one in steps)
    assert depth_of(made, 0, ()) == 1
    return compute(made, lambda slot: pytest.fail("nothing is loaded"), Root({"targetingKey": "u"}, CONTEXT))


def of(op: S, *values: Any, operand: int = 0) -> Any:
    return run(*[(C, value) for value in values], (op, operand))


def var(path: str) -> list[tuple[Any, ...] | S]:
    return [S.ROOT, *[(S.FIELD, part) for part in path.split(".")]]


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        (S.EQUAL, (1, "1"), True),
        (S.EQUAL, (None, 0), True),
        (S.EQUAL, (None, False), True),
        (S.EQUAL, (None, ""), False),
        (S.EQUAL, (True, "1.0"), True),
        (S.EQUAL, ("a", 1), False),
        (S.EQUAL, ((1,), (1,)), False),
        (S.EQUAL, ("", 0), True),
        (S.NOT_EQUAL, (1, 2, 1), True),
        (S.SAME, (1, 1.0), True),
        (S.SAME, (1, True), False),
        (S.SAME, ("1", 1), False),
        (S.NOT_SAME, (None, None), False),
        (S.LESS, (1, 2, 3), True),
        (S.LESS, (1, 3, 2), False),
        (S.LESS, ("10", 9), False),
        (S.LESS, ("10", "9"), True),
        (S.LESS, ("🚀", "\uffff"), True),
        (S.LESS_EQUAL, (None, 0), True),
        (S.GREATER, ("b", "a"), True),
        (S.GREATER_EQUAL, ("x", 1), False),
    ],
)
def test_comparison(op: S, values: tuple[Any, ...], expected: bool) -> None:
    assert of(op, *values, operand=len(values)) is expected


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        (S.ADD, ("5", True), 6.0),
        (S.SUBTRACT, (5, "0x10"), -11.0),
        (S.MULTIPLY, ("1e2", " 2 "), 200.0),
        (S.DIVIDE, (-1, 0), -math.inf),
        (S.REMAINDER, (-5, 3), -2.0),
        (S.REMAINDER, (5, -3), 2.0),
        (S.NUMBER, ("Infinity",), math.inf),
        (S.NUMBER, ("\ufeff",), 0.0),
        (S.NUMBER, (None,), 0.0),
        (S.NEGATE, ("3",), -3.0),
        (S.NOT, ((),), True),
        (S.TRUTH, ("0",), True),
        (S.TRUTH, (0,), False),
        (S.IN, ("cd", "abcdef"), True),
        (S.IN, (1, (True, "1", 1)), True),
        (S.IN, ("1", (1,)), False),
        (S.IN, (None, "anull"), True),
        (S.IN, (1, None), False),
        (S.STARTS, ("abc", "ab"), True),
        (S.ENDS, ("abc", "bc"), True),
        (S.STARTS, (1, "1"), None),
        (S.SEMVER, ("1.2.3", ">", "1.2"), True),
        (S.SEMVER, ("v1.0.0", "=", "V1.0.0+b"), True),
        (S.SEMVER, (1.2, "~", "1.2.9"), True),
        (S.SEMVER, ("3.1.0", "^", 3), True),
        (S.SEMVER, ("1.2.3-rc.1", "<", "1.2.3"), True),
        (S.SEMVER, ("1.2.3.4", "=", "1.2.3"), None),
        (S.SEMVER, ("1.2.3", "===", "1.2.3"), None),
    ],
)
def test_step_of_a_fixed_kind(op: S, values: tuple[Any, ...], expected: Any) -> None:
    found = of(op, *values)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("left", "right"), [("a", 1), ((1,), 1), (0, 0)])
def test_what_is_no_number_computes_to_none(left: Any, right: Any) -> None:
    assert math.isnan(of(S.DIVIDE, left, right))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("abcdef", -3, -1), "de"),
        (("abcdef", 2), "cdef"),
        ((12345, 1, 2), "23"),
        (("abc", 1, None), ""),
        (("abc", None, 2), "ab"),
        (("abc", 5), ""),
        (("abc", -9, 1), "a"),
        (("abc", 0, -9), ""),
        (("a🚀b", 1, 2), "🚀"),
        (("a🚀b", 2), "\ufffdb"),
        (("a🚀b", 0, -2), "a\ufffd"),
    ],
)
def test_part_of_a_text_counts_utf16_units(values: tuple[Any, ...], expected: str) -> None:
    assert of(S.SUBSTR, *values, operand=len(values)) == expected


def test_texts_are_joined_as_ecmascript_writes_them() -> None:
    values = (1, 1e21, -0.0, 0.1, True, None, "x", (1, (2, None), "y"))
    assert of(S.CAT, *values, operand=len(values)) == "11e+2100.1truex1,2,,y"
    assert run(*var("users.0"), (S.CAT, 1)) == "[object Object]"


def test_least_and_largest_take_operands_or_the_items_of_a_list() -> None:
    assert of(S.MIN, 3, "1", 2, operand=3) == 1
    assert run(*var("deep.list"), (S.MAX, SPREAD)) == 5
    assert of(S.MAX, 3, operand=SPREAD) == 3
    assert math.isnan(of(S.MIN, 1, "x", operand=2))


def test_merge_takes_lists_apart_once() -> None:
    assert of(S.MERGE, 1, (2, (3,)), None, operand=3) == [1, 2, [3], None]
    assert run(*var("list"), (S.MERGE, SPREAD)) == [1, "2", None, True]
    assert of(S.LIST, 1, (2,), operand=2) == [1, [2]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("deep.a.b", 7),
        ("deep.list.1", 5),
        ("deep.list.01", None),
        ("list.length", 4),
        ("text.length", 6),
        ("text.1", "b"),
        ("rocket.length", 4),
        ("seven.x", None),
        ("targetingKey", "u"),
        ("nothing.at.all", None),
    ],
)
def test_fields_and_paths_walk_alike(path: str, expected: Any) -> None:
    assert run(*var(path)) == expected
    assert run(S.ROOT, (C, path), S.PATH) == expected


def test_a_number_and_an_escaped_dot_are_paths_too() -> None:
    assert run(*var("list"), (C, 1), S.PATH) == "2"
    assert run(S.ROOT, (C, "a\\.b"), S.PATH) is None
    assert run(*var("deep"), (C, ""), S.PATH) == CONTEXT["deep"]


def test_absent_members_are_missing_and_null_ones_are_not() -> None:
    keys = ("text", "deep.a", "deep.c", "list.2", "list.9", "seven.x", "")
    assert run(S.ROOT, (C, keys), S.MISSING) == ["deep.c", "list.9", "seven.x"]
    assert run(S.ROOT, (C, 1), (C, ("a", "text")), S.MISSING_SOME) == []
    assert run(S.ROOT, (C, 2), (C, ("a", "text")), S.MISSING_SOME) == ["a"]


def test_loops_over_lists_and_over_what_is_none() -> None:
    older = [S.ITEM, (S.FIELD, "age"), (C, 18), (S.GREATER_EQUAL, 2)]
    users = var("users")

    def loop(op: S, *body: Any, over: list[Any] = users) -> Any:
        return run(*over, (op, len(over) + 1 + len(body)), *body)

    assert loop(S.MAP, S.ITEM, (S.FIELD, "age")) == [17, 40, None]
    assert loop(S.FILTER, *older) == [{"age": 40, "name": "y"}]
    assert (loop(S.SOME, *older), loop(S.ALL, *older), loop(S.NONE, *older)) == (True, False, False)
    for op, expected in ((S.MAP, []), (S.FILTER, []), (S.ALL, False), (S.SOME, False), (S.NONE, True)):
        assert loop(op, *older, over=var("text")) == expected
    add = [S.ACCUMULATOR, S.ITEM, S.ADD]
    assert run(*var("deep.list"), (C, 10), (S.REDUCE, 8), *add) == 19
    assert run(*var("deep.list"), (S.REDUCE_FIRST, 7), *add) == 9
    assert run(*var("empty"), (S.REDUCE_FIRST, 6), *add) is None


def test_jumps_choose_and_keep() -> None:
    def chosen(value: Any) -> Any:
        return run((C, value), (S.JUMP_FALSY, 4), (C, "yes"), (S.JUMP, 5), (C, "no"))

    assert (chosen(1), chosen(())) == ("yes", "no")
    assert run((C, 0), (S.KEEP_FALSY, 3), (C, 5)) == 0
    assert run((C, 0), (S.KEEP_TRUTHY, 3), (C, 5)) == 5
    assert run((C, None), (S.KEEP_VALUE, 3), (C, 5)) == 5


def test_fractions_choose_by_hash_and_weight() -> None:
    entries = ("clubs", 25, "diamonds", 25, "hearts", 25, "spades", 25)
    found = [
        of(S.FRACTION, f"fractional-flag{name}", entries) for name in ("jack", "queen", "ten", "nine", "3")
    ]
    assert found == ["hearts", "spades", "clubs", "diamonds", "clubs"]
    assert of(S.FRACTION, "x", ("one", -50, "two", 100)) == "two"
    assert of(S.FRACTION, "x", (True, 1)) is True
    for value, bad in ((1, entries), (None, entries), ("x", ("a", 0)), ("x", ("a", 1.5)), ("x", ("a", "1"))):
        assert of(S.FRACTION, value, bad) is None
    assert of(S.FRACTION, "x", ("a", 2**31 - 1, "b", 1)) is None
    assert of(S.FRACTION, "x", ((1,), 1)) is None


def test_fractions_of_the_cbor_of_a_value() -> None:
    entries = tuple(one for number in range(100) for one in (number, 1))
    # MurmurHash3 x86 32 of a value's CBOR, by two independent libraries
    for value, expected in CBOR_BUCKETS:
        assert of(S.FRACTION, value, entries, operand=FractionKind.CBOR) == expected, value
    assert of(S.FRACTION, None, entries, operand=FractionKind.CBOR) is None
    assert of(S.FRACTION, ("a",), entries, operand=FractionKind.CBOR) is None
    pair = of(S.FRACTION, ("flag", "user"), entries, operand=FractionKind.CBOR_LIST)
    assert pair == 21
    CONTEXT["nested"] = {"b": 1, "aa": [1, {"x": None}], "a": "y"}
    assert run(*var("nested"), (C, entries), (S.FRACTION, FractionKind.CBOR)) == 79
    del CONTEXT["nested"]
    assert of(S.FRACTION, "flag", entries, operand=FractionKind.CBOR_LIST) is None


CBOR_BUCKETS: list[tuple[Any, float]] = [
    ("jack", 41),
    ("", 15),
    ("ü🚀" * 20, 96),
    (True, 19),
    (False, 2),
    (0, 31),
    (23, 83),
    (24, 43),
    (-1, 49),
    (-500, 66),
    (65536, 42),
    (2**53, 36),
    (0.1, 2),
    (1.5, 8),
    (1e300, 69),
    (-0.25, 4),
    (3.4e38, 34),
    (5.960464477539063e-08, 89),
]


def test_beyond_a_limit_there_is_no_value() -> None:
    CONTEXT["long"] = list(range(LIST_MAX + 1))
    with pytest.raises(Beyond):
        run(*var("long"))
    CONTEXT["long"] = list(range(LIST_MAX))
    item = [S.ITEM, (C, 1), S.ADD]
    assert len(run(*var("long"), (S.MAP, 6), *item)) == LIST_MAX
    with pytest.raises(Beyond):
        run(*var("long"), *var("long"), (S.MERGE, 2))
    with pytest.raises(Beyond):  # a loop of 1,000 in one of 1,000
        run(*var("long"), (S.MAP, 9), *var("long"), (S.MAP, 9), *item)
    with pytest.raises(Beyond):  # each turn makes a longer text
        run(*var("long"), (S.REDUCE_FIRST, 6), S.ACCUMULATOR, S.ITEM, (S.CAT, 2))
    CONTEXT["long"] = "x" * 65_537
    with pytest.raises(Beyond):
        run(*var("long"))
    del CONTEXT["long"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((), "0 steps"),
        ((S.NOT,), "takes 1 values of 0"),
        (((C, 1), (C, 2)), "the end has 2"),
        (((C, 1), (S.JUMP, 1)), "jumps to 1"),
        (((C, 1), (S.JUMP, 9)), "jumps to 9"),
        (((C, 1), (S.JUMP, 3), (C, 2)), "no way leads here"),
        (((C, 1), (S.JUMP_FALSY, 3), (C, 2), (C, 3)), "would have"),
        (((S.LOAD, 0),), "loads slot 0"),
        ((S.ITEM,), "outside of a loop"),
        (((C, 1), (S.MAP, 3), S.ACCUMULATOR), "outside of a reducing"),
        (((C, 1), (S.MAP, 2), S.NOT), "a loop to 2"),
        (((C, 1), (S.MAP, 3), S.NOT), "takes 1 values of 0"),
        (((C, 1), (S.MAP, 4), (C, 1), (C, 2)), "leaves 2"),
        (((C, 1), (S.KEEP_TRUTHY, 4), (C, 1), (S.MAP, 5), S.ITEM, (C, 2), (S.ADD)), "into the loop"),
        (tuple((C, 1) for _ in range(STACK_MAX + 1)), "a stack of 33"),
        (((C, 1), (S.LESS, 1)), "LESS of 1"),
        (((C, 1), (S.SUBSTR, 4)), "SUBSTR of 4"),
        (((C, 1), (C, 1), (S.FRACTION, 3)), "fraction 3"),
        (((S.LIST, SPREAD),), "LIST of -1"),
        (((C, tuple(range(LIST_MAX + 1))),), "a list of 1001"),
        (((C, "x" * 65_537),), "a text of 65537"),
    ],
)
def test_steps_that_a_run_could_trip_over_are_refused(steps: Any, words: str) -> None:
    made: Steps = tuple(step(one) if isinstance(one, S) else step(*one) for one in steps)
    with pytest.raises(ValueError, match=words):
        depth_of(made, 0, ())


def test_loops_and_loads_of_computed_slots_are_bounded() -> None:
    def nested(deep: int) -> Steps:
        inner: list[Step] = [Step(S.ITEM)]
        for level in range(deep):
            at = deep - level - 1
            start = [Step(C if at == 0 else S.ITEM)]
            inner = [*start, Step(S.MAP, -1), *inner]
        return tuple(Step(S.MAP, len(inner)) if one.op is S.MAP else one for one in inner)

    assert depth_of(nested(4), 0, ()) == 1
    with pytest.raises(ValueError, match="4 deep"):
        depth_of(nested(5), 0, ())
    load = (Step(S.LOAD, 0),)
    assert [depth_of(load, 1, [depth]) for depth in (0, 1, 3)] == [1, 2, 4]
    with pytest.raises(ValueError, match="5 deep"):
        depth_of(load, 1, [4])


def test_equal_steps_share_a_slot_and_steps_that_differ_in_type_do_not() -> None:
    builder = Builder("env")
    slots = [builder.computed((Step(C, value=value),)) for value in (1, 1, True, 1.0, "1", None)]
    assert slots == [0, 0, 1, 2, 3, 4]


def test_an_assembler_gathers_more_values_than_the_stack_holds() -> None:
    for count in (0, 1, 8, 9, 100):
        code = StepAssembler()
        code.gather([functools.partial(code.constant, number) for number in range(count)])
        steps = code.finish()
        depth_of(steps, 0, ())
        assert compute(steps, lambda slot: None, Root({}, {})) == list(range(count))
    code = StepAssembler()
    code.gather([lambda: code.constant("ab")] * 40, S.CAT)
    assert compute(code.finish(), lambda slot: None, Root({}, {})) == "ab" * 40


def test_the_twin_runs_a_computed_slot_when_a_test_reads_it_and_keeps_its_value() -> None:
    builder = Builder("env")
    name = builder.slot(Slot(Source.ATTRIBUTE, "name"))
    code = StepAssembler()
    code.add(S.LOAD, name)
    code.constant("!")
    code.add(S.CAT, 2)
    shout = builder.computed(code.finish())
    outer = StepAssembler()
    outer.add(S.LOAD, shout)
    outer.field("length")
    size = builder.computed(outer.finish())
    nodes = [
        LeafTest(Op.EQ_STRING, shout, "ann!", 1, 2, 2, 2),
        LeafTest(Op.EQ_NUMBER, size, 4.0, 3, 2, 2, 2),
        Outcome(Resolution.DEFAULT),
        Outcome(Resolution.MATCHED),
    ]
    decision = builder.decision("d", nodes)
    lowered = builder.finish()
    for who, expected in (("ann", 1), ("bob", 0), (None, 0), (["ann"], 1)):
        context = EvaluationContext(attributes={"name": who})
        assert evaluate(lowered, decision, context).outcome == expected, who
