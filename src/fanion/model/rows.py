"""Rows: what an event says in columns, the same for all dialects, and how each dialect's words say it, as data.

A dialect's `RowShape` names the members of its events and the column that each of them fills. Two interpreters
read it: `journal.rows`, over decoded events, and `ext/fanion/_core/rows.pyx`, over their bytes; the second hands to
the first what it doesn't read exactly. docs/rows.md says what each column means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypedDict

KINDS: Final = ("evaluation", "exposure", "decision", "metric", "served", "assigned")
"""The last two are the server's own: no event is of them."""


class Reads(IntEnum):
    """What a member may hold; anything else says nothing. An empty text says nothing either, but as `SCALAR`."""

    TEXT = 0
    NAME = 1
    """Text, or a number as its text."""
    INSTANT = 2
    """ISO 8601; without a zone UTC's."""
    MILLISECONDS = 3
    """An integer since 1970."""
    NUMBER = 4
    SCALAR = 5
    """A number, a text or a boolean."""


class Member(NamedTuple):
    """Of several members for one column the first that says something counts."""

    path: str
    """A member of the event, or one of an object in it: `user.id`."""
    column: str
    """A name in `RowFields`."""
    reads: Reads = Reads.TEXT
    unit_kind: str | None = None
    """Of a unit: what kind it is by that."""
    hashed: bool = False
    """Of a unit: whether it is the SHA-256 of the id. Not of a part's."""


class Variant(NamedTuple):
    """Events of one tag."""

    kind: str
    without: frozenset[str] = frozenset()
    """Columns that their members don't fill; not a unit's."""
    parts: bool = False
    """Whether each of its parts makes a row of its own."""


class RowShape(NamedTuple):
    """How a dialect's events fill rows."""

    members: tuple[Member, ...]
    """At most 24, in no more than one object within the event."""
    other: Variant
    """Events of no tag below."""
    tag: str = ""
    """The member that tells variants apart, by its text."""
    variants: Mapping[str, Variant] = {}
    parts: str = ""
    """The member whose list's objects are the parts."""
    part_members: tuple[Member, ...] = ()
    """At most 8; what a part says comes before what its event says."""
    units_hashed: bool = False
    """Whether all of its units are SHA-256 digests of ids."""
    flags_of: Callable[[Callable[[str], bytes | None]], Callable[[str], str | None]] | None = None
    """Where events name a parameter and not its flag: from an environment's documents, by their names, to a look-up
    of the flag."""


class RowFields(TypedDict, total=False):
    """What an event, or a part of it, says. A column that is left out is null."""

    kind: str
    sent_us: int
    event_id: str
    unit_kind: str
    unit: str
    unit_hashed: bool
    flag: str
    parameter: str
    variant: str
    metric: str
    value: float
    value_text: str
    reason: str


NOTHING: Final = RowShape((), Variant("metric"))
"""Of a dialect that takes no events."""
