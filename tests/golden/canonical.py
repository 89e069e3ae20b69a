"""The canonical form of a lowered environment: what it decides, without a node's, slot's or decision's number.

Nodes are counted in the order in which a walk from the first one meets them, slots and asked decisions stand for
themselves, and an outcome holds what it means to every parameter and layer. So a lowering may be written anew and
numbered otherwise, and is held to the same program. What is a representation and no meaning is left out, or
brought to one form, in `slot_form` and `answer_form`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from fanion import app
from fanion.model.choice import KeyedWeights, NumberTerm, Scores
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import (
    Answer,
    DecisionVariant,
    Hash,
    Lowered,
    Node,
    Outcome,
    Profile,
    Ranges,
    Slot,
    Source,
    Test,
)

JSON = Any


def slot_form(slot: Slot) -> str:
    """A slot by what it reads. A member that a later format adds is left out here while it has its old meaning."""
    typed = f" of {slot.context_type!r}" if slot.source in TYPED else ""
    dotted = " dotted" if slot.dotted else ""
    profile = "" if slot.profile is Profile.PLAIN else f" {slot.profile.name}"
    return f"{slot.source.name} {slot.name}{typed}{dotted}{profile}"


def answer_form(answer: Answer) -> JSON:
    """An answer without its cause, which was not there when the programs were recorded: the rendered tables hold
    what becomes of it."""
    return [answer.resolution.name, answer.value, answer.variant, answer.rule_id]


TYPED = (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE)


class Canonical:
    """The canonical form of one environment."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.orders: dict[int, list[int]] = {}
        self.digests: dict[int, str] = {}
        self.says: dict[int, list[tuple[str, Any]]] = {}
        for one in lowered.parameters:
            answers = [answer_form(answer) for answer in one.answers]
            self.says.setdefault(one.decision, []).append((f"{one.source}:{one.key}", answers))
        for layer in lowered.layers:
            arms = [msgspec.to_builtins(arm) for arm in layer.arms]
            self.says.setdefault(layer.decision, []).append((f"layer:{layer.key}", arms))

    def slot(self, number: int) -> str | None:
        return None if number < 0 else slot_form(self.lowered.slots[number])

    def order(self, decision: int) -> list[int]:
        """The nodes that the first one leads to, as a walk through the exits, in their order, meets them."""
        if decision not in self.orders:
            nodes = self.lowered.decisions[decision].nodes
            met: dict[int, None] = {}
            ahead = [0]
            while ahead:
                at = ahead.pop()
                if at not in met:
                    met[at] = None
                    ahead += [target for target in reversed(exits(nodes[at])) if target >= 0]
            self.orders[decision] = list(met)
        return self.orders[decision]

    def meaning(self, decision: int, at: int) -> JSON:
        """An outcome: how it ends, and what it says to each parameter and layer of the decision."""
        nodes = self.lowered.decisions[decision].nodes
        node = nodes[at]
        assert isinstance(node, Outcome)
        number = sum(isinstance(one, Outcome) for one in nodes[:at])
        says = {name: answers[number] for name, answers in sorted(self.says.get(decision, []), key=repr)}
        return {"outcome": node.resolution.name, "variant": node.variant, "rule": node.rule, "says": says}

    def program(self, decision: int) -> list[JSON]:
        order = self.order(decision)
        places = {at: number for number, at in enumerate(order)}
        nodes = self.lowered.decisions[decision].nodes
        return [
            self.meaning(decision, at)
            if isinstance(nodes[at], Outcome)
            else [*self.body(nodes[at]), [places.get(target, -1) for target in exits(nodes[at])]]
            for at in order
        ]

    def digest(self, decision: int) -> str:
        if decision not in self.digests:
            self.digests[decision] = digest(self.program(decision))
        return self.digests[decision]

    def body(self, node: Node) -> list[JSON]:
        """A node without its exits."""
        if isinstance(node, Test):
            marks = [name for name in ("any_element", "fold") if getattr(node, name)]
            relation = [node.relation.name] if node.op.name.startswith("ORDER_") else []
            return [node.op.name, self.slot(node.slot), self.operand(node.operand), *relation, *marks]
        if isinstance(node, Hash):
            hash = [node.hash.name, node.reduction.name, node.modulus]
            return [*hash, [self.piece(piece) for piece in node.pieces], node.on_missing >= 0]
        if isinstance(node, Ranges):
            return ["RANGES", [[one.low, one.high] for one in node.ranges]]
        if isinstance(node, Scores):
            terms = [[one.base, [self.term(term) for term in one.terms]] for one in node.alternatives]
            return ["SCORES", node.gamma, node.floor, terms]
        if isinstance(node, KeyedWeights):
            vectors = [msgspec.to_builtins(one) for one in (*node.vectors, node.fallback)]
            pieces = [self.piece(piece) for piece in node.pieces]
            return ["KEYED", pieces, self.slot(node.count_slot), node.count_max, vectors]
        assert not isinstance(node, Outcome)
        return ["WEIGHTS", list(node.weights)]

    def term(self, term: Any) -> list[JSON]:
        rest = [term.coefficient] if isinstance(term, NumberTerm) else [list(pair) for pair in term.values]
        return [self.slot(term.slot), term.missing, rest]

    def piece(self, piece: Piece) -> JSON:
        if piece.kind is PieceKind.LITERAL:
            return piece.literal
        return [piece.kind.name, self.slot(piece.slot)]

    def operand(self, operand: Any) -> JSON:
        if isinstance(operand, DecisionVariant):
            asked = self.lowered.decisions[operand.decision].key
            return [asked, self.digest(operand.decision), operand.variant]
        return msgspec.to_builtins(operand)

    def names(self) -> dict[int, str]:
        """A name of each decision that doesn't depend on its number: its key, and the digest where it has to."""
        keys: dict[str, list[int]] = {}
        for number, decision in enumerate(self.lowered.decisions):
            keys.setdefault(decision.key, []).append(number)
        return {
            number: key if len(numbers) == 1 else f"{key} {place}"
            for key, numbers in keys.items()
            for place, number in enumerate(sorted(numbers, key=self.digest))
        }

    def document(self, content: JSON) -> JSON:
        """A record for dialects, with the programs in place of decisions' numbers."""
        if isinstance(content, list):
            return [self.document(one) for one in content]
        if not isinstance(content, dict):
            return content
        known = {name: self.document(one) for name, one in content.items()}
        if isinstance(content.get("unitSlot"), int):
            known["unitSlot"] = self.slot(content["unitSlot"])
            known["constant"] = self.digest(content["constant"])
        if isinstance(content.get("decision"), int):
            decision = content["decision"]
            known["decision"] = self.digest(decision)
            if isinstance(content.get("member"), int):
                known["member"] = self.nth(decision, content["member"])
        return known

    def nth(self, decision: int, outcome: int) -> int:
        """The place in the canonical order of an outcome; -1 where nothing leads to it."""
        nodes = self.lowered.decisions[decision].nodes
        (at, *_) = [at for at, node in enumerate(nodes) if isinstance(node, Outcome)][outcome:] or [-1]
        return self.order(decision).index(at) if at in self.order(decision) else -1

    def table(self, dialect: str) -> JSON:
        """What a dialect renders: per key its fragments in the canonical order of outcomes, then the rows."""
        table = app.renderers()[dialect](self.lowered)

        def by_outcome(decision: int, items: Any) -> list[JSON]:
            nodes = self.lowered.decisions[decision].nodes
            outcomes = [at for at, node in enumerate(nodes) if isinstance(node, Outcome)]
            numbers = {at: number for number, at in enumerate(outcomes)}
            return [items[numbers[at]] for at in self.order(decision) if at in numbers]

        keys = [entry.key for entry in table.entries]
        entries = [
            [
                one.key,
                one.client_safe,
                one.guest,
                by_outcome(one.decision, [text_of(f) for f in one.fragments]),
            ]
            for one in table.entries
        ]
        rows = []
        for row in table.rows:
            made = [
                [
                    [text_of(view) for view in one.views],
                    sorted([keys[patch.entry], text_of(patch.fragment)] for patch in one.patches),
                    one.note,
                ]
                for one in row.outcomes
            ]
            rows.append([by_outcome(row.decision, made), self.slot(row.slot)])
        return [sorted(entries, key=repr), rows, text_of(table.absent), table.views]


def exits(node: Node) -> list[int]:
    """The targets of a node, in the order of its own members."""
    if isinstance(node, Test):
        return [node.on_true, node.on_false, node.on_missing, node.on_mismatch]
    if isinstance(node, Hash):
        return [node.on_done, node.on_missing]
    if isinstance(node, Ranges):
        return [*(one.target for one in node.ranges), node.on_none]
    if isinstance(node, Scores):
        return [one.target for one in node.alternatives]
    if isinstance(node, KeyedWeights):
        return [*node.targets, node.on_none]
    return [] if isinstance(node, Outcome) else list(node.targets)


def text_of(fragment: Any) -> str:
    return "".join(
        piece.decode() if isinstance(piece, bytes) else f"\0{piece.number}\0" for piece in fragment
    )


def digest(form: JSON) -> str:
    text = json.dumps(form, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
