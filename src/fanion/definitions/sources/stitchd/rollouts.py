"""What a stitchd rule serves: one variant, or a percentage behind an optional gate (contract 5.4 to 5.6).

The hash is Murmur3 x64_128 over flag key, environment id and targets, without separators, reduced to basis
points. A missing context or parameter counts as empty text. The gate's hash is another one, of its salt and a
context's key; without that context the rule does not match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from fanion.definitions.reading.report import shown
from fanion.definitions.sources.stitchd.conditions import parameter_slot
from fanion.definitions.sources.stitchd.files import (
    BASIS_POINTS,
    Distribution,
    Flag,
    Gate,
    Percentage,
    Rollout,
    Target,
)
from fanion.model.program import (
    Hash,
    HashKind,
    Piece,
    PieceKind,
    Range,
    Ranges,
    Reduction,
    Resolution,
    Slot,
    Source,
)

if TYPE_CHECKING:
    from fanion.definitions.sources.stitchd.flags import FlagLowering

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

    @property
    def size(self) -> int:
        """How many nodes `emit` adds."""
        gate = 0 if self.gate is None else 2
        return gate + (1 if self.shares is None else 3 + len(self.shares))

    def emit(self, flag: FlagLowering, following: int, rule: int) -> None:
        nodes = flag.nodes
        if self.gate is not None:
            salt, key, low, high = self.gate
            at = len(nodes)
            nodes.append(_hash((salt, key), at + 1, following))
            admitted = (Range(low, high, at + 2),) if low <= high else ()
            nodes.append(Ranges(admitted, following))
        if self.shares is None:
            flag.end(self.resolution, self.single, rule)
            return
        at = len(nodes)
        first = at + 2
        uncovered = first + len(self.shares)
        nodes.append(_hash(self.pieces, at + 1))
        ranges = []
        low = 0
        for target, (width, _) in enumerate(self.shares, first):
            high = min(low + width, BASIS_POINTS)
            if high > low:
                ranges.append(Range(low, high - 1, target))
            low = high
        nodes.append(Ranges(tuple(ranges), uncovered))
        for _, variant in self.shares:
            if variant is not None:
                flag.end(self.resolution, variant, rule)
            else:
                flag.end(self.resolution if rule >= 0 else Resolution.DEFAULT, flag.default, rule)
        flag.end(self.resolution, flag.default, rule)


def variant_number(flag: Flag, name: str) -> int | None:
    """The number of a variant by its key, else by its id."""
    for number, variant in enumerate(flag.variants):
        if variant.key == name:
            return number
    return next((number for number, variant in enumerate(flag.variants) if variant.id == name), None)


def _hash(pieces: tuple[Piece, ...], on_done: int, on_missing: int = -1) -> Hash:
    return Hash(HashKind.MURMUR3_128, pieces, Reduction.BASIS_POINTS, BASIS_POINTS, on_done, on_missing)


class Rollouts:
    """Reads what one rule of a flag serves; problems are reported and answered with None."""

    def __init__(self, flag: FlagLowering, path: str) -> None:
        self.flag = flag
        self.default_rule = path == "default_rule"

    def single(self, name: str, path: str) -> Placing | None:
        number = self.flag.variant(name, path)
        return None if number is None else Placing(Resolution.MATCHED, single=number)

    def flat(self, rollout: Rollout, path: str) -> Placing | None:
        weights = [(weight.variant_key, weight.weight) for weight in rollout.weights]
        return self.percentage(rollout.targets, weights, rollout.exclusion_gate, path)

    def stored(self, percentage: Percentage, path: str) -> Placing | None:
        return self.percentage(percentage.targets, percentage.weights, percentage.exclusion_gate, path)

    def distribution(self, distribution: Distribution) -> Placing:
        """By the keys of all contexts, in request order (5.5)."""
        key = Piece(PieceKind.TEXT, slot=self.flag.builder.slot(Slot(Source.CONTEXT_KEYS, "")))
        allocations = [(one.variant_key, one.percentage_bp) for one in distribution.allocations]
        shares = self.shares(allocations, "default_rule_distribution.allocations")
        return Placing(Resolution.SPLIT, shares=shares, pieces=(self.salt(), key))

    def percentage(
        self, targets: list[Target], weights: list[tuple[str, int]], gate: Gate | None, path: str
    ) -> Placing | None:
        flag = self.flag
        if len(targets) > TARGETS_MAX:
            flag.problem(f"{path}.targets", f"{len(targets)} targets", f"at most {TARGETS_MAX}")
            return None
        pieces = [self.target(target, f"{path}.targets[{n}]") for n, target in enumerate(targets)]
        total = sum(weight for _, weight in weights)
        if total != BASIS_POINTS:
            meaning = "the default variant is served to the rest" if total < BASIS_POINTS else "cut off there"
            flag.report.warning(
                flag.file, f"{flag.path}.{path}.weights", f"{total} of {BASIS_POINTS} basis points", meaning
            )
        shares = self.shares(weights, f"{path}.weights")
        gated = None if gate is None else self.gate(gate, targets, f"{path}.exclusion_gate")
        read = [piece for piece in pieces if piece is not None]
        if len(read) < len(pieces) or (gate is not None and gated is None):
            return None
        resolution = Resolution.DEFAULT if self.default_rule else Resolution.SPLIT
        return Placing(resolution, shares=shares, pieces=(self.salt(), *read), gate=gated)

    def salt(self) -> Piece:
        return Piece(PieceKind.LITERAL, self.flag.flag.key + self.flag.source.environment)

    def shares(self, weights: list[tuple[str, int]], path: str) -> tuple[Share, ...]:
        shares: list[Share] = []
        flag = self.flag
        for number, (name, weight) in enumerate(weights):
            variant = variant_number(flag.flag, name)
            if variant is None:
                found = f"the variant {shown(name)}"
                place = f"{flag.path}.{path}[{number}]"
                flag.report.warning(flag.file, place, found, "not the flag's, so its default is served")
            shares.append((weight, variant))
        return tuple(shares)

    def target(self, target: Target, path: str) -> Piece | None:
        """The text of a context's key or of a parameter."""
        flag = self.flag
        name = target.param
        if isinstance(target.field, dict):
            if target.param is not None:
                flag.problem(f"{path}.param", shown(target.param), "nothing, as field names the parameter")
            name = target.field.get("Parameter")
        if target.field == "Key":
            if name is not None:
                flag.problem(f"{path}.param", shown(name), "nothing, as field is Key")
            key_slot = flag.source.key_slot(target.context_type)
            return Piece(PieceKind.TEXT, slot=key_slot)
        if name is None:
            flag.problem(f"{path}.param", "nothing", "the name of a parameter, as field is Parameter")
            return None
        return Piece(PieceKind.TEXT, slot=parameter_slot(flag.builder, target.context_type, name))

    def gate(self, gate: Gate, targets: list[Target], path: str) -> tuple[Piece, Piece, int, int] | None:
        context_type = gate.context_type
        if context_type is None:
            if not targets:
                found = "no context type, and no target to take it from"
                self.flag.problem(path, found, "context_type")
                return None
            context_type = targets[0].context_type
        salt = Piece(PieceKind.LITERAL, gate.group_salt)
        key = Piece(PieceKind.TEXT, slot=self.flag.source.key_slot(context_type))
        return salt, key, gate.bucket_lo, gate.bucket_hi - 1
