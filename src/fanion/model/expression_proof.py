"""Proves what a run of steps relies on, in plain Python: the oracle of the core's own proof of a mapped bundle.

Steps are walked once, in order. At every step the height of the stack is one number whichever way led there, so
every value that a step takes is there; jumps and loops lead forward, a jump never into or out of a loop's body.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanion.model.expression import (
    COMPARISONS,
    JUMPS,
    LIST_MAX,
    LOOPS,
    LOOPS_MAX,
    NESTED_MAX,
    REDUCING,
    SPREAD,
    STACK_MAX,
    STEPS_MAX,
    VARIADIC,
    Constant,
    FractionKind,
    Step,
    StepOp,
    Steps,
    taken,
)

TEXT_BYTES_MAX = 65_536
"""Of a constant, as `fanion.model.program` bounds every text."""


def depth_of(steps: Steps, slot: int, depths: Sequence[int]) -> int:
    """How deep a computed slot loads others: 1 where it loads looked-up ones only. `depths` has the numbers of the
    slots before it, 0 for looked-up ones. Raises ValueError with the step that breaks a rule."""
    if not 0 < len(steps) <= STEPS_MAX:
        raise ValueError(f"{len(steps)} steps; 1 to {STEPS_MAX}")
    heights: dict[int, int] = {0: 0}
    loops: list[tuple[int, int, bool]] = []
    """Of each loop around a step: the step behind it, the height below its body, whether it reduces."""
    depth = 1
    for at, step in enumerate(steps):
        _leave(at, heights, loops)
        height = heights.get(at)
        if height is None:
            raise ValueError(f"step {at}: no way leads here")
        _check(at, step, loops)
        if step.op is StepOp.LOAD:
            if not 0 <= step.operand < min(slot, len(depths)):
                raise ValueError(f"step {at}: loads slot {step.operand}; slots below {slot}")
            depth = max(depth, depths[step.operand] + 1)
        if step.op in JUMPS:
            _jump(at, step, height, len(steps), heights, loops)
            continue
        if step.op in LOOPS:
            _enter(at, step, height, len(steps), heights, loops)
            continue
        _reach(at, at + 1, _after(at, height, taken(step), loops), heights)
    _leave(len(steps), heights, loops)
    if heights.get(len(steps)) != 1:
        raise ValueError(f"the end has {heights.get(len(steps), 'no')} values; 1")
    if depth > NESTED_MAX:
        raise ValueError(f"loads computed slots {depth} deep; at most {NESTED_MAX}")
    return depth


def _after(at: int, height: int, takes: int, loops: list[tuple[int, int, bool]]) -> int:
    floor = loops[-1][1] if loops else 0
    if height - takes < floor:
        raise ValueError(f"step {at}: takes {takes} values of {height - floor}")
    if height - takes + 1 > STACK_MAX:
        raise ValueError(f"step {at}: a stack of {height - takes + 1}; at most {STACK_MAX}")
    return height - takes + 1


def _reach(at: int, target: int, height: int, heights: dict[int, int]) -> None:
    if heights.setdefault(target, height) != height:
        raise ValueError(f"step {at}: step {target} would have {height} or {heights[target]} values")


def _leave(at: int, heights: dict[int, int], loops: list[tuple[int, int, bool]]) -> None:
    """The loops that end before this step: each body leaves one value, which the loop's own takes the place of."""
    while loops and loops[-1][0] == at:
        _, floor, _ = loops.pop()
        if heights.get(at, floor + 1) != floor + 1:
            raise ValueError(f"step {at}: the loop before it leaves {heights[at] - floor} values; 1")
        heights[at] = floor + 1


def _jump(
    at: int,
    step: Step,
    height: int,
    count: int,
    heights: dict[int, int],
    loops: list[tuple[int, int, bool]],
) -> None:
    end = loops[-1][0] if loops else count
    if not at < step.operand <= end:
        raise ValueError(f"step {at}: jumps to {step.operand}; {at + 1} to {end}")
    if step.op is StepOp.JUMP:
        _reach(at, step.operand, height, heights)
        return
    below = _after(at, height, 1, loops) - 1
    keeps = step.op not in (StepOp.JUMP_FALSY, StepOp.JUMP_TRUTHY)
    _reach(at, step.operand, height if keeps else below, heights)
    _reach(at, at + 1, below, heights)


def _enter(
    at: int,
    step: Step,
    height: int,
    count: int,
    heights: dict[int, int],
    loops: list[tuple[int, int, bool]],
) -> None:
    end = loops[-1][0] if loops else count
    if not at + 1 < step.operand <= end:
        raise ValueError(f"step {at}: a loop to {step.operand}; {at + 2} to {end}")
    if len(loops) == LOOPS_MAX:
        raise ValueError(f"step {at}: a loop in {LOOPS_MAX} others; {LOOPS_MAX} deep at most")
    if any(target in heights for target in range(at + 1, step.operand)):
        raise ValueError(f"step {at}: a jump into the loop from outside")
    below = _after(at, height, 2 if step.op is StepOp.REDUCE else 1, loops) - 1
    loops.append((step.operand, below, step.op in REDUCING))
    _reach(at, at + 1, below, heights)


def _check(at: int, step: Step, loops: list[tuple[int, int, bool]]) -> None:
    """What a step's operand and value may be, whatever is on the stack."""
    op, operand = step.op, step.operand
    if op in VARIADIC:
        least = SPREAD if op is not StepOp.LIST else 0
        if not least <= operand <= STACK_MAX:
            raise ValueError(f"step {at}: {op.name} of {operand}; {least} to {STACK_MAX}")
    elif op in COMPARISONS and not 2 <= operand <= STACK_MAX:
        raise ValueError(f"step {at}: {op.name} of {operand}; 2 to {STACK_MAX}")
    elif op is StepOp.SUBSTR and operand not in (2, 3):
        raise ValueError(f"step {at}: SUBSTR of {operand}; 2 or 3")
    elif op is StepOp.FRACTION and operand not in tuple(FractionKind):
        raise ValueError(f"step {at}: fraction {operand}; 0 to {max(FractionKind)}")
    elif op is StepOp.ITEM and not loops:
        raise ValueError(f"step {at}: an item outside of a loop")
    elif op is StepOp.ACCUMULATOR and not (loops and loops[-1][2]):
        raise ValueError(f"step {at}: an accumulator outside of a reducing loop")
    elif op is StepOp.FIELD and not isinstance(step.value, str):
        raise ValueError(f"step {at}: the field {step.value!r}; a name")
    if isinstance(step.value, str) and len(step.value.encode()) > TEXT_BYTES_MAX:
        raise ValueError(f"step {at}: a text of {len(step.value.encode())} bytes; at most {TEXT_BYTES_MAX}")
    if isinstance(step.value, tuple):
        _check_list(at, step.value, 1)


def _check_list(at: int, items: tuple[Constant, ...], deep: int) -> None:
    if len(items) > LIST_MAX or deep > LOOPS_MAX:
        raise ValueError(
            f"step {at}: a list of {len(items)}, {deep} deep; at most {LIST_MAX}, {LOOPS_MAX} deep"
        )
    for item in items:
        if isinstance(item, str) and len(item.encode()) > TEXT_BYTES_MAX:
            raise ValueError(f"step {at}: a text of {len(item.encode())} bytes; at most {TEXT_BYTES_MAX}")
        if isinstance(item, tuple):
            _check_list(at, item, deep + 1)
