"""Layers: decisions that run side by side and lay their values over the parameters' own ones.

A definition source with layers fills `Lowered.layers`; a dialect that serves them renders `Row`s into its
table. What is asked for starts at its default; then, layer by layer in order, the outcome's values replace
those of keys that are asked for, whichever layer they belong to. Only layers with a parameter that is asked
for do so; all of them are decided and reported.
"""

from __future__ import annotations

import enum

import msgspec

from fanion.model.parts import Fragment


class Arm(msgspec.Struct, frozen=True):
    """What one outcome of a layer's decision means.

    `policy` None: nothing matched. `allocation` and its names are None where they are not known; `numbered`
    says that the choice register names the allocation instead (`allocation` is then the id's beginning).
    `probability` is the fixed share of the outcome; `drawn` says that it is the probability register's.
    `fields`: names from the context that may be logged. `values`: parameter key -> JSON text.
    """

    policy: str | None = None
    policy_key: str | None = None
    allocation: str | None = None
    allocation_name: str | None = None
    allocation_key: str | None = None
    numbered: bool = False
    probability: float | None = None
    drawn: bool = False
    model_version: str | None = None
    fields: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()


class Layer(msgspec.Struct, frozen=True):
    """`arms[n]` belongs to outcome n of `decision`. `unit`: the name of the layer's own unit, None where it
    is the environment's; `unit_slot`: the slot of that unit (-1: none). `source`: whose parameters it lays its
    values over."""

    key: str
    decision: int
    arms: tuple[Arm, ...]
    unit: str | None = None
    unit_slot: int = -1
    source: str = ""


class RowHole(enum.IntEnum):
    """What a hole in a row's fragment stands for.

    BUCKET: the bucket register in decimal. CHOICE: the choice register. PROBABILITY: the caller's prefix and
    the probability register where it lies in (0, 1], else nothing. UNIT: the row's slot as a JSON string, ""
    without a text form. UNASKED: the caller's text where no entry of the row was asked for, else nothing.
    """

    BUCKET = 0
    PROBABILITY = 1
    CHOICE = 2
    UNIT = 3
    UNASKED = 4


class Patch(msgspec.Struct, frozen=True):
    """A fragment that takes the place of an entry's own. `entry`: its number in the table."""

    entry: int
    fragment: Fragment


class RowOutcome(msgspec.Struct, frozen=True):
    """One outcome of a row: a fragment per view (an empty one leaves the row out of that view), the patches
    it lays over the entries, and a number for the dialect's own use (0: nothing to say)."""

    views: tuple[Fragment, ...]
    patches: tuple[Patch, ...] = ()
    note: int = 0


class Row(msgspec.Struct, frozen=True):
    """A layer in a table: one `RowOutcome` per outcome of `decision`; `slot` is for RowHole.UNIT. `group`: the
    row whose entries count as this one's, where that is another (two layers of one name)."""

    decision: int
    outcomes: tuple[RowOutcome, ...]
    slot: int = -1
    group: int = -1
