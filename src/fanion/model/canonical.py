"""What a dialect says of its events: the parts of the canonical event that its own words stand for.

Each dialect's `canonical.CANONICAL` is one of these. The journal makes the whole event of it and of the record
(`journal.event`), so that neither knows the other: whoever reads the journal brings both together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Required, TypedDict

from fanion.model.rows import RowShape
from fanion.model.text import ecmascript_number

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

DISPOSITIONS = ("kept", "verified", "duplicate")
"""What a record says of each of its events, by the byte that stands for it."""
VERIFIED, DUPLICATE = 1, 2


class Fields(TypedDict, total=False):
    """Parts of the canonical event, as `journal.event.Event` has them. A part that is left out is None."""

    kind: Required[Literal["evaluation", "exposure", "decision", "metric"]]
    sent_at: str | None
    """`instant`'s form."""
    unit: str | None
    flag_key: str | None
    variant: str | None
    metric: str | None
    value: object
    reason: str | None


class Canonical(NamedTuple):
    """How a dialect's events read."""

    fields: Callable[[dict[str, object]], Fields]
    """The parts of one event, which is an object and else of any shape. Raises nothing."""
    rows: RowShape
    """The same as columns."""
    sent_when_received: bool = False
    """Whether a client may leave the time out and means the time of receipt."""
    traced: bool = False
    """Whether its events may name the evaluation that they come of, which is verified when they are taken."""


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def number(value: object) -> int | float | None:
    """A number, as an integer where it fits 64 bits; others are read as doubles."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if isinstance(value, float) or INT64_MIN <= value <= INT64_MAX else double(value)


def scalar(value: object) -> object:
    """A value as sent, but for an integer beyond 64 bits: a double."""
    return number(value) if type(value) is int else value


def double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def name(value: object) -> str | None:
    """Who is meant: text, or a number as its text."""
    if isinstance(value, float):
        return ecmascript_number(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def instant(value: object) -> str | None:
    """A time that was sent, as `iso_from_ns` writes it: UTC with microseconds. A time without a zone is UTC's; None
    for what is no time."""
    time = _utc(value)
    return None if time is None else time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(value: object) -> int | None:
    """The same as microseconds since 1970."""
    time = _utc(value)
    return None if time is None else (time - EPOCH) // MICROSECOND


def _utc(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def iso_from_ns(ns: int) -> str:
    """ISO 8601 in UTC with microseconds; times that no calendar has become plain nanoseconds."""
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"
