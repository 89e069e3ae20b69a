"""What a dialect says of its events: the parts of the canonical event that its own words stand for.

Each dialect's `canonical.CANONICAL` is one of these. The journal makes the whole event of it and of the record
(`journal.event`), so that neither knows the other: whoever reads the journal brings both together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Required, TypedDict


class Fields(TypedDict, total=False):
    """Parts of the canonical event, as `journal.event.Event` has them. A part that is left out is None."""

    kind: Required[Literal["evaluation", "exposure", "decision", "metric"]]
    sent_at: str | None
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
    sent_when_received: bool = False
    """Whether a client may leave the time out and means the time of receipt."""


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def iso_from_ns(ns: int) -> str:
    """ISO 8601 in UTC with microseconds; times that no calendar has become plain nanoseconds."""
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"
