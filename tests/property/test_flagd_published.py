"""flagd's rules come to what the published evaluator @openfeature/flagd-core makes of them.

FLAGD_NODE_MODULES names a folder in which it was installed by npm, FLAGD_TREES how many rules are drawn. The twin
is asked, as one computed slot: the branches and the core are held to it elsewhere. Where the published evaluator
raises, or its compiled and its interpreted form differ, it says nothing; `EXCEPTIONS` are where it says otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.sources.flagd.steps import StepWriter
from fanion.engine.expression import compute
from fanion.engine.expression_values import Beyond, Root
from fanion.engine.reference import bind
from fanion.model.context import EvaluationContext
from fanion.model.program import Kind
from fanion.model.shape import ContextShape
from tests.property.flagd_interpreter import walk
from tests.property.flagd_random import Drawing
from tests.property.test_flagd_lowering import read_flag, targeted
from tests.rounds import rounds

TREES = rounds(500, 5_000, "FLAGD_TREES")
SEED = int(os.environ.get("FLAGD_SEED", "20261128"))
MODULES = os.environ.get("FLAGD_NODE_MODULES")
NODE = shutil.which("node")
CONTEXTS = 4
AT_ONCE = 5000
"""Rules that one process of Node answers, and that stand in memory with their answers."""
OTHER = {"other": True}
RAISED = {"raised": True}
SHAPE = ContextShape(subject="targetingKey", keyless=True)

Case = tuple[int, Any, list[tuple[str | None, dict[str, Any]]]]


def drawn(first: int) -> Iterator[Case]:
    for number in range(first, min(first + AT_ONCE, SEED + TREES)):
        drawing = Drawing(number)
        yield number, drawing.targeting(), [drawing.context() for _ in range(CONTEXTS)]


def published(cases: list[Case]) -> list[list[list[Any]]]:
    lines = []
    for _, rule, contexts in cases:
        flat = [{} if key is None else {"targetingKey": key} for key, _ in contexts]
        given = [one | attributes for one, (_, attributes) in zip(flat, contexts, strict=True)]
        lines.append(json.dumps({"rule": rule, "contexts": given}))
    assert NODE is not None
    run = subprocess.run(
        [NODE, str(Path(__file__).with_name("flagd_core.mjs"))],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=1800,
    )
    return [json.loads(line, parse_int=float) for line in run.stdout.splitlines()]


def ours(rule: Any, contexts: list[tuple[str | None, dict[str, Any]]]) -> list[Any]:
    flag = read_flag(targeted(rule))
    assert flag.rule is not None
    builder = Builder("env")
    slot = StepWriter(builder, flag.key, flag.hashing).slot(flag.rule)
    found = []
    for context in contexts:
        asked: EvaluationContext = SHAPE.context(*context)

        def load(number: int, asked: EvaluationContext = asked) -> Any:
            value = bind(builder.slots[number], asked)
            return None if value.kind is Kind.MISSING else lookup(builder, number, asked)

        try:
            value = compute(builder.slots[slot].steps, load, Root(asked.members, asked.attributes))
        except Beyond:
            value = OTHER
        found.append(shown(value))
    return found


def lookup(builder: Builder, number: int, asked: EvaluationContext) -> Any:
    name = builder.slots[number].name
    return asked.members.get(name, asked.attributes.get(name))


def shown(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return OTHER
    return value if value is None or isinstance(value, bool | float | str) else OTHER


def same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


Context = tuple[str | None, dict[str, Any]]


def parts(rule: Any) -> Iterator[tuple[str, Any]]:
    """Each operation in a rule, with its operands."""
    if isinstance(rule, dict):
        for name, operands in rule.items():
            yield name, operands
            yield from parts(operands)
    elif isinstance(rule, list):
        for one in rule:
            yield from parts(one)


def found_by(operand: Any, context: Context) -> Any:
    """What a plain look at an attribute finds."""
    path = operand.get("var") if isinstance(operand, dict) else None
    path = path[0] if isinstance(path, list) and path else path
    return walk(context[1], path)[1] if isinstance(path, str) else None


def hashes_beyond_ascii(rule: Any, context: Context) -> bool:
    """It hashes the lower halves of UTF-16 units; the rest of the field, and Fanion, UTF-8."""
    text = json.dumps([rule, context], ensure_ascii=False)
    return any(name == "fractional" for name, _ in parts(rule)) and not text.isascii()


def shares_are_computed(rule: Any, context: Context) -> bool:
    """It reads a list that is computed as the first share of `fractional`; here shares are written out."""
    for name, operands in parts(rule):
        first = operands[0] if name == "fractional" and isinstance(operands, list) and operands else None
        if not isinstance(first, dict) or "cat" in first:
            continue
        if "var" not in first or isinstance(found_by(first, context), list):
            return True
    return False


def loops_over_no_list(rule: Any, context: Context) -> bool:
    """It mostly raises, and in some operands of others takes it for true; here there are no items."""
    loops = ("all", "some", "none", "map", "filter", "reduce")
    found = [operands[0] for name, operands in parts(rule) if name in loops]
    return any(not isinstance(found_by(one, context), list) for one in found)


def looks_below_nothing(rule: Any, context: Context) -> bool:
    """What it finds below false, 0 and "" is that value itself; here, as elsewhere in the field, it is null."""
    looks = [operands for name, operands in parts(rule) if name == "var"]
    paths = [one[0] if isinstance(one, list) else one for one in looks]
    below = [path.partition(".")[0] for path in paths if isinstance(path, str) and "." in path]
    return any(name in context[1] and not context[1][name] for name in below)


def defaults_for_null(rule: Any, context: Context) -> bool:
    """Its two forms take a default for null in different places; here it always counts."""
    given = [one for name, one in parts(rule) if name == "var" and isinstance(one, list) and len(one) > 1]
    return any(found_by({"var": one}, context) is None for one in given)


def takes_a_list_for_operands(rule: Any, context: Context) -> bool:
    """Its `!` and `!!` of a computed list look at the first item: one form always, both where nothing is read; here
    a list is true that holds something."""
    given = [
        one[0] if isinstance(one, list) and one else one for name, one in parts(rule) if name in ("!", "!!")
    ]
    return any(
        isinstance(one, dict) and not one.keys().isdisjoint(("merge", "map", "filter")) for one in given
    )


EXCEPTIONS = (
    hashes_beyond_ascii,
    shares_are_computed,
    loops_over_no_list,
    looks_below_nothing,
    defaults_for_null,
    takes_a_list_for_operands,
)
"""Where the published evaluator says otherwise than Fanion means to."""


@pytest.mark.skipif(MODULES is None or NODE is None, reason="FLAGD_NODE_MODULES names no folder, or no node")
@pytest.mark.timeout(300 + TREES // 50)
def test_rules_come_to_what_the_published_evaluator_makes_of_them() -> None:
    differing: list[str] = []
    asked = sum(hold(list(drawn(first)), differing) for first in range(SEED, SEED + TREES, AT_ONCE))
    assert not differing, "\n".join(differing[:20])
    assert asked > TREES * CONTEXTS // 2, "the published evaluator says something most times"


def hold(cases: list[Case], differing: list[str]) -> int:
    """Holds ours to the published answers, and adds what differs. Returns how many there were."""
    asked = 0
    for (seed, rule, contexts), answers in zip(cases, published(cases), strict=True):
        own = ours(rule, contexts)
        for context, compiled, interpreted, found in zip(contexts, *answers, own, strict=True):
            if compiled == RAISED or not same(compiled, interpreted):
                continue
            asked += 1
            if not same(compiled, found) and not any(one(rule, context) for one in EXCEPTIONS):
                asked_of = f"FLAGD_SEED={seed}: {json.dumps(rule)} of {json.dumps(context)}"
                differing.append(f"{asked_of}: {compiled!r}, not {found!r}")
    return asked
