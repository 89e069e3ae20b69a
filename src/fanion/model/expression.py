"""Computed slots: rules that compute values, as flat postfix steps beside the decision program.

A slot whose source is COMPUTED has steps instead of a name. They run on a stack, when a node first reads the slot;
what is left on it becomes the slot's value, and the request keeps it. Kernel and nodes know nothing of it. What the
steps mean is JSONLogic's, on values of JSON; every number is a double, text is counted in UTF-16 units:

- *Falsy* are null, false, 0, NaN, "", an empty list, an empty object.
- *Number* of null and false is 0, of true 1, of text what ECMAScript reads in it, of a list or an object NaN.
- *Text* of null, in `CAT` alone, is empty, elsewhere "null"; of a number as ECMAScript writes it; of a list its
  items' joined by commas, null as nothing; of an object "[object Object]".
- Two lists or objects are the same only where both are one and the same of the context.
- Nothing raises: where ECMAScript would, a step gives null, NaN, false or an empty list, as written beside it.

Limits. Proven before a run (`fanion.model.expression_proof`): `STEPS_MAX`, `STACK_MAX`, `LOOPS_MAX`, `NESTED_MAX`.
Kept to by each run: `LIST_MAX`, `BUDGET` and `ARENA_BYTES_MAX`, `TEXT_DEPTH_MAX`; beyond them the value is OTHER.
A result that is a list, an object or not a finite number is OTHER too; numbers are DOUBLE, null is NULL.

Decisions written here
    2026-11-28  Options: new nodes and registers in the kernel; a leaf that stops the kernel as a pattern does; a
                slot that is computed. The slot costs programs without expressions nothing, and what it gives is
                tested, hashed and kept like any other value.
    2026-11-28  Limits count for each slot's run, not for a request: a flag's answer must not depend on which
                others were asked for before it.
    2026-11-28  Where evaluators of JSONLogic differ, the published one that is most used for flags counts wherever
                it answers, alike compiled and interpreted; where it raises or differs from itself, ECMAScript does.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

STEPS_MAX = 10_000
"""Steps of one slot."""
STACK_MAX = 32
LOOPS_MAX = 4
"""How deep loops stand in each other."""
NESTED_MAX = 4
"""How deep computed slots load each other."""
LIST_MAX = 1_000
"""Items of a list that a run meets or makes."""
BUDGET = 32_768
"""What a run may spend: each step, each turn of a loop, each item or member looked at costs 1, and reading a text
1 for each 256 bytes."""
ARENA_BYTES_MAX = 65_536
"""What a run may make: a text takes its bytes and 1 to 8 more, a list 16 for each item."""
TEXT_DEPTH_MAX = 16
"""How deep the lists stand in each other that a text is made of, and what a CBOR hash is made of."""
SPREAD = -1
"""A count: the one value on the stack is a list of the operands. Anything but a list is the only operand."""

Constant: TypeAlias = "bool | int | float | str | tuple[Constant, ...] | None"


class StepOp(enum.IntEnum):
    """What a step does. `a b c` are taken off the stack, c from its top; one value is put there unless said
    otherwise. `operand` is what the step's number means, where it means something."""

    CONSTANT = 0  # puts `value`
    LOAD = 1  # puts a slot's value; null where it is missing. operand: the slot, lower than the step's own
    ROOT = 2  # puts the context: an object with the members and, behind them, the attributes
    ITEM = 3  # in a loop: puts the item
    ACCUMULATOR = 4  # in a reducing loop: puts what the turns before made
    FIELD = (
        5  # a: its member `value` (one name), a list's item by index, "length" of a list or text; else null
    )
    PATH = 6  # a b: as FIELD for each part of the text of b; an empty or null b is a itself
    JUMP = 7  # puts nothing; operand: the step to go to
    JUMP_FALSY = 8  # a; puts nothing; goes where a is falsy
    JUMP_TRUTHY = 9
    KEEP_FALSY = 10  # a: goes with a left on the stack where it is falsy, else takes it off and goes on
    KEEP_TRUTHY = 11
    KEEP_VALUE = 12  # the same where a is not null
    NOT = 13
    TRUTH = 14
    EQUAL = 15  # loosely. operand: how many are compared, each with the next, all have to hold
    NOT_EQUAL = 16
    SAME = 17  # strictly
    NOT_SAME = 18
    LESS = 19
    LESS_EQUAL = 20
    GREATER = 21
    GREATER_EQUAL = 22
    NUMBER = 23
    NEGATE = 24
    ADD = 25  # a b, as numbers
    SUBTRACT = 26
    MULTIPLY = 27
    DIVIDE = 28
    REMAINDER = 29  # the sign is a's
    MIN = 30  # operand: of how many, or SPREAD; of none NaN
    MAX = 31
    CAT = 32  # operand as MIN: their texts joined
    SUBSTR = (
        33  # operand 2: text, start; 3: text, start, length or, negative, how much is left off at the end
    )
    IN = 34  # a b: is a an item of the list b (NaN is NaN), is the text of a within the text b; else false
    STARTS = 35  # a b: null unless both are text
    ENDS = 36
    SEMVER = (
        37  # a, operator, b: = != < <= > >= ^ (same major) ~ (same minor); null unless all three can be read
    )
    LIST = 38  # operand: of how many, a list of them
    MERGE = 39  # operand as MIN: the items of lists and whatever else stands there
    MISSING = 40  # scope, keys: those of the keys (a list, or one) that the scope has not, as PATH walks
    MISSING_SOME = 41  # scope, need, keys: as MISSING; none where at least `need` of the keys are there
    FRACTION = 42  # value, entries: see FractionKind, which is the operand
    MAP = (
        43  # a: a list, else there are no items. operand: the step behind the loop; its body leaves one value
    )
    FILTER = 44
    ALL = 45  # false of no items
    SOME = 46
    NONE = 47
    REDUCE = 48  # a, initial
    REDUCE_FIRST = 49  # a: the first item is the initial value; of no items null


class FractionKind(enum.IntEnum):
    """Entries are a list of a name and a weight in turn. Weights are whole numbers, below 0 counts as 0; names are
    text, numbers, true, false or null. Anything else, a sum of 0 or above 2**31 - 1, no value: null. The name is
    the first whose running sum exceeds (hash * sum) >> 32, where the hash is MurmurHash3 x86 32 of:

    TEXT: the value, which has to be a text. CBOR: the deterministic CBOR (RFC 8949, 4.2.1; whole numbers in
    -2**63 .. 2**64 - 1 as integers) of any value but null and lists. CBOR_LIST: the same of a list alone.
    """

    TEXT = 0
    CBOR = 1
    CBOR_LIST = 2


class Step(msgspec.Struct, frozen=True, gc=False):
    """`value` is a constant, or the name of FIELD; equal steps may still differ in its type (1, true, 1.0)."""

    op: StepOp
    operand: int = 0
    value: Constant = None


Steps: TypeAlias = tuple[Step, ...]

JUMPS = frozenset(
    {
        StepOp.JUMP,
        StepOp.JUMP_FALSY,
        StepOp.JUMP_TRUTHY,
        StepOp.KEEP_FALSY,
        StepOp.KEEP_TRUTHY,
        StepOp.KEEP_VALUE,
    }
)
LOOPS = frozenset(
    {
        StepOp.MAP,
        StepOp.FILTER,
        StepOp.ALL,
        StepOp.SOME,
        StepOp.NONE,
        StepOp.REDUCE,
        StepOp.REDUCE_FIRST,
    }
)
REDUCING = frozenset({StepOp.REDUCE, StepOp.REDUCE_FIRST})
COMPARISONS = frozenset(range(StepOp.EQUAL, StepOp.GREATER_EQUAL + 1))
VARIADIC = frozenset({StepOp.MIN, StepOp.MAX, StepOp.CAT, StepOp.LIST, StepOp.MERGE})
"""Take as many values as their operand says; all but LIST may SPREAD."""

TAKES: dict[StepOp, int] = {
    StepOp.CONSTANT: 0,
    StepOp.LOAD: 0,
    StepOp.ROOT: 0,
    StepOp.ITEM: 0,
    StepOp.ACCUMULATOR: 0,
    StepOp.FIELD: 1,
    StepOp.PATH: 2,
    StepOp.NOT: 1,
    StepOp.TRUTH: 1,
    StepOp.NUMBER: 1,
    StepOp.NEGATE: 1,
    StepOp.ADD: 2,
    StepOp.SUBTRACT: 2,
    StepOp.MULTIPLY: 2,
    StepOp.DIVIDE: 2,
    StepOp.REMAINDER: 2,
    StepOp.IN: 2,
    StepOp.STARTS: 2,
    StepOp.ENDS: 2,
    StepOp.SEMVER: 3,
    StepOp.MISSING: 2,
    StepOp.MISSING_SOME: 3,
    StepOp.FRACTION: 2,
}
"""How many values a step of a fixed kind takes off the stack; it puts one there."""


def taken(step: Step) -> int:
    """How many values a step takes off the stack, where it puts one there; not for jumps and loops."""
    if step.op in VARIADIC:
        return 1 if step.operand == SPREAD else step.operand
    if step.op in COMPARISONS or step.op is StepOp.SUBSTR:
        return step.operand
    return TAKES[step.op]
