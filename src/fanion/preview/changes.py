"""The flags of two programs beside each other: new ones, lost ones, and those that decide otherwise."""

from __future__ import annotations

import difflib
from typing import Final

import msgspec

from fanion.bundle.describe import describe
from fanion.model.program import Answer, DecisionVariant, Lowered, Parameter, Test
from fanion.preview.contents import Contents

LINES_MAX: Final = 40
"""Of one flag's difference, as text."""
VALUE_CHARS: Final = 60

NONE_SERVED: Final = "(no value)"


class Change(msgspec.Struct, frozen=True):
    """One flag, or one variable of a feature, that isn't as it is served. `before` None: new; `after` None: lost.
    `redrawn`: both draw lots, and from nothing that they have in common."""

    source: str
    key: str
    before: Parameter | None
    after: Parameter | None
    redrawn: bool = False

    @property
    def group(self) -> str:
        """The flag or feature, by the name that experiments have for it."""
        one = self.after or self.before
        assert one is not None
        return one.group


def compare(before: Contents, after: Contents) -> list[Change]:
    """All changes, in the order of the new definitions; lost flags last."""
    served = {(one.source, one.key): one for one in before.lowered.parameters}
    wanted = {(one.source, one.key): one for one in after.lowered.parameters}
    found = []
    for (source, key), new in wanted.items():
        old = served.get((source, key))
        if old is None:
            found.append(Change(source, key, None, new))
        elif _said(old) != _said(new) or before.of(old.decision) != after.of(new.decision):
            drawn = before.draws(old.decision), after.draws(new.decision)
            redrawn = bool(drawn[0] and drawn[1] and drawn[0].isdisjoint(drawn[1]))
            found.append(Change(source, key, old, new, redrawn))
    lost = [Change(*name, old, None) for name, old in served.items() if name not in wanted]
    return [*found, *lost]


def label(answer: Answer) -> str:
    """What an answer is called: its variant, else its value."""
    if answer.variant:
        return answer.variant
    if answer.value is None:
        return NONE_SERVED
    return answer.value if len(answer.value) <= VALUE_CHARS else f"{answer.value[: VALUE_CHARS - 1]}…"


def difference(change: Change, before: Contents, after: Contents) -> list[str]:
    """The rules that went (-) and came (+), as `fanion inspect` shows them, with what each end answers."""
    old = [] if change.before is None else _lines(before.lowered, change.before)
    new = [] if change.after is None else _lines(after.lowered, change.after)
    lines = [line for line in difflib.ndiff(old, new) if line[:1] in "+-"]
    more = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], f"… and {more} lines more"] if more > 0 else lines


def _said(parameter: Parameter) -> list[tuple[object, ...]]:
    return [(one.resolution, one.value, one.variant, one.cause) for one in parameter.answers]


def _lines(lowered: Lowered, parameter: Parameter) -> list[str]:
    """Without the numbers of nodes, which move with every line before them, but for where they lead."""
    decision = lowered.decisions[parameter.decision]
    lines = [line[6:] for line in describe(decision, lowered.slots)]
    for number, node in enumerate(decision.nodes):
        if isinstance(node, Test) and isinstance(node.operand, DecisionVariant):
            asked = lowered.decisions[node.operand.decision].key
            lines[number] = lines[number].replace(f"decision {node.operand.decision}", f"decision {asked!r}")
    ends = [f"end {number} answers {label(one)}" for number, one in enumerate(parameter.answers)]
    return [*lines, *ends]
