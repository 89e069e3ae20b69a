"""A bundle's program as text for people, and its tables as seen from one row: what the commands show."""

from __future__ import annotations

import msgspec

from fanion.model.choice import KeyedWeights, Scores
from fanion.model.expression import Step, StepOp
from fanion.model.parts import PieceKind
from fanion.model.program import (
    Cause,
    Decision,
    DecisionVariant,
    Hash,
    Node,
    Outcome,
    Ranges,
    Slot,
    Source,
    Table,
    Test,
    Weights,
)


def by_row(table: Table) -> Table:
    """The table with every entry of a row shown by that row's decision: its value at each of its outcomes, as far
    as its own row decides it."""
    entries = []
    for number, entry in enumerate(table.entries):
        if entry.row >= 0:
            row = table.rows[entry.row]
            own = entry.fragments[0]
            laid = [
                next((patch.fragment for patch in outcome.patches if patch.entry == number), own)
                for outcome in row.outcomes
            ]
            entry = msgspec.structs.replace(entry, decision=row.decision, fragments=tuple(laid))
        entries.append(entry)
    return msgspec.structs.replace(table, entries=tuple(entries))


def patching(table: Table, key: str) -> list[int]:
    """The decisions of the rows that can lay a value over a key's own, in their order."""
    numbers = {number for number, entry in enumerate(table.entries) if entry.key == key}
    return [
        row.decision
        for row in table.rows
        if any(patch.entry in numbers for outcome in row.outcomes for patch in outcome.patches)
    ]


def describe(decision: Decision, slots: tuple[Slot, ...]) -> list[str]:
    """A decision as lines of text, one a node: its number, what it looks at, and where it goes."""
    return [f"{number:4}  {_describe_node(node, slots)}" for number, node in enumerate(decision.nodes)]


def slot_text(slot: Slot, slots: tuple[Slot, ...]) -> str:
    """What a slot looks up; of a computed one its steps, with what they load."""
    place = slot.source.name.lower()
    if slot.steps:
        return f"{place} ({'; '.join(_describe_step(step, slots) for step in slot.steps)})"
    kind = f"[{slot.context_type}]" if slot.source in (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE) else ""
    return f"{place}{kind} {slot.name!r}" if slot.name else f"{place}{kind}"


def _describe_step(step: Step, slots: tuple[Slot, ...]) -> str:
    name = step.op.name.lower()
    if step.op is StepOp.LOAD:
        return slot_text(slots[step.operand], slots)
    if step.op in (StepOp.CONSTANT, StepOp.FIELD):
        return f"{name} {step.value!r}"
    return f"{name} {step.operand}" if step.operand else name


def _describe_node(node: Node, slots: tuple[Slot, ...]) -> str:
    match node:
        case Test():
            subject = f"decision {node.operand.decision}" if isinstance(node.operand, DecisionVariant) else ""
            subject = subject or slot_text(slots[node.slot], slots)
            relation = f" {node.relation.name}" if node.op.name.startswith("ORDER") else ""
            operand = node.operand.variant if isinstance(node.operand, DecisionVariant) else node.operand
            exits = f"true {node.on_true}, false {node.on_false}"
            exits += f", missing {node.on_missing}, mismatch {node.on_mismatch}"
            shown = "" if operand is None else f" {operand!r}"
            return f"test {subject} {node.op.name}{relation}{shown} -> {exits}"
        case Hash():
            parts = [
                repr(piece.literal)
                if piece.kind is PieceKind.LITERAL
                else f"{piece.kind.name.lower()}({slot_text(slots[piece.slot], slots)})"
                for piece in node.pieces
            ]
            missing = "" if node.on_missing < 0 else f", missing {node.on_missing}"
            reduction = f"{node.reduction.name}({node.modulus})"
            return f"hash {node.hash.name} of {' + '.join(parts)} by {reduction} -> {node.on_done}{missing}"
        case Ranges():
            rows = ", ".join(f"{r.low}..{r.high} {r.target}" for r in node.ranges)
            return f"bucket -> {rows}, else {node.on_none}"
        case Weights():
            rows = ", ".join(f"{w:g} {t}" for w, t in zip(node.weights, node.targets, strict=True))
            return f"weights -> {rows}"
        case Scores():
            targets = ", ".join(f"{len(a.terms)} terms {a.target}" for a in node.alternatives)
            return f"scores, gamma {node.gamma:g}, floor {node.floor:g} -> {targets}"
        case KeyedWeights():
            shown = ", ".join(str(target) for target in node.targets)
            count = (
                f"{slot_text(slots[node.count_slot], slots)} of"
                if node.count_slot >= 0
                else f"{len(node.targets)}"
            )
            return f"weights under a key ({len(node.vectors)} known), {count} -> {shown}, else {node.on_none}"
        case Outcome():
            rule = "" if node.rule < 0 else f", rule {node.rule}"
            cause = "" if node.cause is Cause.NONE else f" by {node.cause.name}"
            ways = "".join(f", {'in' if one.inside else 'out of'} split {one.split}" for one in node.reached)
            return f"outcome {node.resolution.name}{cause}, variant {node.variant}{rule}{ways}"
