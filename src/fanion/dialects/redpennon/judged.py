"""Batches of events whose members the API reads over, or that are wrong, told by a judge that builds nothing
(docs/apis/redpennon.md: Events): what is well formed is taken by its texts alone, and the first that may not be is
the one event that is read. Everything that isn't sure takes the plain way of `schema`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.config import Limits
from fanion.dialects.redpennon.emit import Catalogue
from fanion.dialects.redpennon.schema import (
    EVENT_ID_CHARACTERS_MAX,
    FLAT_EVENTS_MAX,
    Checked,
    Event,
    check_event,
    feature_of,
)
from fanion.dialects.wire.judging import Rules, judge_of, surely_within


class EventOpen(Event, gc=False, forbid_unknown_fields=False):
    """With members that the API reads over."""


TARGETS: Final = "event", "variable", "variation"
RULES: Final = Rules(
    noted=[*TARGETS, "event_id", "evaluation_trace", "user.id", "user.email"],
    moments=["occurred_at"],
)


class Judge:
    """Under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._judge = judge_of("events", EventOpen, FLAT_EVENTS_MAX, limits, RULES, batch=True)

    def leading(self, body: bytes) -> tuple[list[list[str | None]], int, bytes] | None:
        """Of a batch that surely is JSON within every bound: what `RULES` notes of the events that are well formed,
        up to the first that may not be, its number, and itself; -1 and no text for none."""
        return surely_within(self._judge, self._judge.leading, body, self._limits)


def read_judged_batch(
    judge: Judge, body: bytes, catalogue: Catalogue, *, client: bool
) -> tuple[int, list[Checked]] | None:
    """As `read_flat_batch`, of a batch that has members which the API reads over, or escapes; None: read it. Raises
    the Fault INVALID_SHAPE that `check_events` would, where that is sure."""
    found = judge.leading(body)
    if found is None:
        return None
    (*targets, ids, traces, users, emails), number, text = found
    features: dict[tuple[str | None, ...], str] = {}
    for target in dict.fromkeys(zip(*targets, strict=True)):  # in their order, and the first bad one ends it
        name, variable, variation = target
        assert name is not None and variable is not None and variation is not None  # noqa: PT018
        feature = feature_of(variable, variation, catalogue, client=client)
        if feature is None or not name.strip():
            if max(map(len, filter(None, ids)), default=0) <= EVENT_ID_CHARACTERS_MAX:
                at = list(zip(*targets, strict=True)).index(target)
                check_event(dict(zip(TARGETS, target, strict=True)), at, catalogue, client)
            return None
        features[target] = feature
    if max(map(len, filter(None, ids)), default=0) > EVENT_ID_CHARACTERS_MAX:
        return None
    if number >= 0:
        check_event(msgspec.json.decode(text), number, catalogue, client)
        return None  # it may be all the same
    if ids.count(None) == traces.count(None) == len(ids):
        return len(ids), []
    columns = zip(zip(*targets, strict=True), ids, traces, users, emails, strict=True)
    return len(ids), [
        Checked(target[0] or "", features[target], target[2] or "", id or None, trace, user or email or None)
        for target, id, trace, user, email in columns
    ]
