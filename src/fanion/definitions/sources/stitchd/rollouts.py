"""What a stitchd rule serves: one variant, or a percentage behind an optional gate (docs/apis/stitchd.md:
Percentages to Exclusion gate).

The hash is Murmur3 x64_128 over flag key, environment id and targets, without separators, reduced to basis
points. A missing context or parameter counts as empty text. The gate's hash is another one, of its salt and a
context's key; without that context the rule does not match.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Label, spans
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.values import value_text
from fanion.definitions.reading.report import Place, shown
from fanion.definitions.sources.stitchd.conditions import key_slot, parameter_slot
from fanion.definitions.sources.stitchd.files import (
    BASIS_POINTS,
    Distribution,
    Flag,
    Gate,
    Percentage,
    Rollout,
    Target,
)
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import Answer, Cause, HashKind, Reduction, Resolution, Slot, Source

Share = tuple[int, "int | None"]
"""Basis points, and the number of a variant (None: the default variant)."""

TARGETS_MAX: Final = 64
"""Hash inputs of one percentage: an order of magnitude above any use, and a bound on the hash's time."""


class Placing(msgspec.Struct, frozen=True):
    """What a rule, or the default, serves. `resolution` is that of every outcome."""

    resolution: Resolution
    single: int | None = None
    shares: tuple[Share, ...] | None = None
    pieces: tuple[Piece, ...] = ()
    gate: tuple[Piece, Piece, int, int] | None = None
    """Salt, context key, first and last admitted bucket."""

    @property
    def always(self) -> bool:
        """Whether it never leads on to the next rule."""
        return self.gate is None

    def emit(
        self,
        code: Assembler[Answer],
        flag: Flag,
        default: int | None,
        following: Label,
        rule: int,
        split: int = -1,
    ) -> None:
        """Who the gate doesn't admit goes to `following`. `split`: the recorded one that the percentage draws for;
        the gate's own draw is none."""
        if self.gate is not None:
            salt, key, low, high = self.gate
            drawn, admitted = code.label(), code.label()
            _hash(code, (salt, key), drawn, following)
            code.place(drawn)
            code.ranges([(low, high, admitted)] if low <= high else [], following)
            code.place(admitted)
        if self.shares is None:
            emit_end(code, flag, self.resolution, self.single, rule)
            return
        drawn, uncovered = code.label(), code.label()
        labels = [code.label() for _ in self.shares]
        _hash(code, self.pieces, drawn)
        code.place(drawn)
        widths = (width for width, _ in self.shares)
        code.ranges(spans(zip(widths, labels, strict=True), BASIS_POINTS), uncovered, split=split)
        for label, (_, variant) in zip(labels, self.shares, strict=True):
            code.place(label)
            if variant is not None:
                emit_end(code, flag, self.resolution, variant, rule)
            else:
                emit_end(code, flag, self.resolution if rule >= 0 else Resolution.DEFAULT, default, rule)
        code.place(uncovered)
        emit_end(code, flag, self.resolution, default, rule)


CAUSES: Final = {
    Resolution.MATCHED: Cause.RULE,
    Resolution.SPLIT: Cause.ROLLOUT,
    Resolution.OFF: Cause.OFF,
}


def emit_end(
    code: Assembler[Answer],
    flag: Flag,
    resolution: Resolution,
    variant: int | None,
    rule: int = -1,
    cause: Cause | None = None,
) -> None:
    """An outcome. Without a default the engine answers the variant "" with the value false. The cause is what the
    resolution says unless it is named."""
    rule_id = None
    if rule >= 0:
        stated = flag.rules[rule]
        rule_id = stated.rule_id or stated.id
    if cause is None:
        unmatched = Cause.UNMATCHED if flag.rules else Cause.DEFAULT
        cause = CAUSES.get(resolution, unmatched)
    if variant is None:
        answer = Answer(resolution, "false", "", rule_id, cause)
        code.outcome(answer, resolution, len(flag.variants), rule, cause)
    else:
        chosen = flag.variants[variant]
        answer = Answer(resolution, value_text(chosen.value), chosen.key, rule_id, cause)
        code.outcome(answer, resolution, variant, rule, cause)


def variant_number(flag: Flag, name: str) -> int | None:
    """The number of a variant by its key, else by its id."""
    for number, variant in enumerate(flag.variants):
        if variant.key == name:
            return number
    return next((number for number, variant in enumerate(flag.variants) if variant.id == name), None)


def _hash(
    code: Assembler[Answer], pieces: tuple[Piece, ...], drawn: Label, missing: Label | None = None
) -> None:
    code.hash(HashKind.MURMUR3_128, pieces, Reduction.BASIS_POINTS, BASIS_POINTS, drawn, missing)


class Rollouts:
    """Reads what a flag's rules and its default serve; problems are reported and answered with None.
    `environment` is the id in the hash."""

    def __init__(self, builder: Builder, environment: str, flag: Flag, place: Place) -> None:
        self.builder = builder
        self.flag = flag
        self.place = place
        self.salt = Piece(PieceKind.LITERAL, flag.key + environment)

    def variant(self, name: str, path: str) -> int | None:
        """The number of a variant that must be there."""
        number = variant_number(self.flag, name)
        if number is None:
            known = ", ".join(variant.key for variant in self.flag.variants) or "none"
            self.place.problem(path, f"the variant {shown(name)}", f"one of the flag's: {known}")
        return number

    def single(self, name: str, path: str) -> Placing | None:
        number = self.variant(name, path)
        return None if number is None else Placing(Resolution.MATCHED, single=number)

    def flat(self, rollout: Rollout, path: str, resolution: Resolution = Resolution.SPLIT) -> Placing | None:
        weights = [(weight.variant_key, weight.weight) for weight in rollout.weights]
        return self.percentage(rollout.targets, weights, rollout.exclusion_gate, path, resolution)

    def stored(self, percentage: Percentage, path: str) -> Placing | None:
        gate, resolution = percentage.exclusion_gate, Resolution.SPLIT
        return self.percentage(percentage.targets, percentage.weights, gate, path, resolution)

    def distribution(self, distribution: Distribution) -> Placing:
        """By the keys of all contexts, in request order (docs/apis/stitchd.md: Default distribution)."""
        key = Piece(PieceKind.TEXT, slot=self.builder.slot(Slot(Source.CONTEXT_KEYS, "")))
        allocations = [(one.variant_key, one.percentage_bp) for one in distribution.allocations]
        shares = self.shares(allocations, "default_rule_distribution.allocations")
        return Placing(Resolution.SPLIT, shares=shares, pieces=(self.salt, key))

    def percentage(
        self,
        targets: list[Target],
        weights: list[tuple[str, int]],
        gate: Gate | None,
        path: str,
        resolution: Resolution,
    ) -> Placing | None:
        if len(targets) > TARGETS_MAX:
            self.place.problem(f"{path}.targets", f"{len(targets)} targets", f"at most {TARGETS_MAX}")
            return None
        pieces = [self.target(target, f"{path}.targets[{n}]") for n, target in enumerate(targets)]
        total = sum(weight for _, weight in weights)
        if total != BASIS_POINTS:
            meaning = "the default variant is served to the rest" if total < BASIS_POINTS else "cut off there"
            self.place.warning(f"{path}.weights", f"{total} of {BASIS_POINTS} basis points", meaning)
        shares = self.shares(weights, f"{path}.weights")
        gated = None if gate is None else self.gate(gate, targets, f"{path}.exclusion_gate")
        read = [piece for piece in pieces if piece is not None]
        if len(read) < len(pieces) or (gate is not None and gated is None):
            return None
        return Placing(resolution, shares=shares, pieces=(self.salt, *read), gate=gated)

    def shares(self, weights: list[tuple[str, int]], path: str) -> tuple[Share, ...]:
        shares: list[Share] = []
        for number, (name, weight) in enumerate(weights):
            variant = variant_number(self.flag, name)
            if variant is None:
                found = f"the variant {shown(name)}"
                self.place.warning(f"{path}[{number}]", found, "not the flag's, so its default is served")
            shares.append((weight, variant))
        return tuple(shares)

    def target(self, target: Target, path: str) -> Piece | None:
        """The text of a context's key or of a parameter."""
        name = target.param
        if isinstance(target.field, dict):
            if target.param is not None:
                found = shown(target.param)
                self.place.problem(f"{path}.param", found, "nothing, as field names the parameter")
            name = target.field.get("Parameter")
        if target.field == "Key":
            if name is not None:
                self.place.problem(f"{path}.param", shown(name), "nothing, as field is Key")
            return Piece(PieceKind.TEXT, slot=key_slot(self.builder, target.context_type))
        if name is None:
            allowed = "the name of a parameter, as field is Parameter"
            self.place.problem(f"{path}.param", "nothing", allowed)
            return None
        return Piece(PieceKind.TEXT, slot=parameter_slot(self.builder, target.context_type, name))

    def gate(self, gate: Gate, targets: list[Target], path: str) -> tuple[Piece, Piece, int, int] | None:
        context_type = gate.context_type
        if context_type is None:
            if not targets:
                found = "no context type, and no target to take it from"
                self.place.problem(path, found, "context_type")
                return None
            context_type = targets[0].context_type
        salt = Piece(PieceKind.LITERAL, gate.group_salt)
        key = Piece(PieceKind.TEXT, slot=key_slot(self.builder, context_type))
        return salt, key, gate.bucket_lo, gate.bucket_hi - 1
