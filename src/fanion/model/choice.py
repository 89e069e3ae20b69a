"""Nodes that choose among alternatives by numbers: a scored model, and weights kept under a text key.

Both read the register u, which a `Hash` with `Reduction.UNIT53` sets, and set three registers of their own:
choice (the alternative's index), probability (its share) and vector (the `Vector` that was used, counted over
the bundle; -1: none). All arithmetic is in doubles, in the order written here, so that every implementation
gives the same bits.
"""

from __future__ import annotations

import msgspec

from fanion.model.parts import Piece

GAMMA_MIN = 1e-10
"""A smaller temperature is read as this one."""


class NumberTerm(msgspec.Struct, frozen=True, tag="number"):
    """coefficient × slot where the slot holds a number, else `missing`."""

    slot: int
    coefficient: float
    missing: float


class TextTerm(msgspec.Struct, frozen=True, tag="text"):
    """The value listed for the slot's text form, else `missing`. Texts are unique and in the order of their
    UTF-8 bytes."""

    slot: int
    values: tuple[tuple[str, float], ...]
    missing: float


class Alternative(msgspec.Struct, frozen=True):
    """Its score is `base` plus the terms, added in order."""

    base: float
    terms: tuple[NumberTerm | TextTerm, ...]
    target: int


class Scores(msgspec.Struct, frozen=True, tag="scores"):
    """Goes to one alternative by u.

    p = softmax(score / max(gamma, GAMMA_MIN)), the largest quotient taken off first; one alternative has 1.
    With `floor` > 0 every p is raised to at least min(floor, 1/n), then divided by their sum (a sum of 0:
    1/n each). The first alternative whose running sum of p exceeds u is chosen, else the last.
    """

    alternatives: tuple[Alternative, ...]
    gamma: float
    floor: float


class Vector(msgspec.Struct, frozen=True):
    """Weights under a key. `note`: the source's own word on them, handed through."""

    key: str
    weights: tuple[float, ...]
    note: str = ""


class KeyedWeights(msgspec.Struct, frozen=True, tag="keyed"):
    """Goes to one of n alternatives by u, weighted by what is kept under a key made of `pieces`.

    n is the number of targets; where `count_slot` is set it is that slot's number, rounded down, there is
    one target for all, and a slot without a number of 1 to `count_max` goes to `on_none`. So does a piece
    whose slot has no text form, and an empty key. The vector is the key's when it has n weights, else
    `fallback` when it has n, else 1/n each. `vectors` have unique keys in the order of their UTF-8 bytes.
    """

    pieces: tuple[Piece, ...]
    vectors: tuple[Vector, ...]
    fallback: Vector | None
    targets: tuple[int, ...]
    on_none: int
    count_slot: int = -1
    count_max: int = 0
