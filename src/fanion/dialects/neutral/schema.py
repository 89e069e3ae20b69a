"""Bodies of the neutral API (docs/apis/neutral.md: Batches, Events): a quick check over the bytes for the usual,
and decoders that say where a refused event is wrong.

The flat structs only name members and types for the quick check, which says yes or nothing; what it can't know of
texts (lengths, digests) is looked at beside it. The others are the rules. No member is open but those of
`properties`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from fanion._core import json_scan, judge_table
from fanion.config import Limits
from fanion.dialects.wire.bodies import REFUSED
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_batch, check_bounds, place_of, short_numbers, surely_few
from fanion.dialects.wire.judging import Rules, judge_of
from fanion.dialects.wire.plain_batch import quick_check
from fanion.model.json_value import Json

EVENTS_MAX: Final = 1_000
ID_MAX, KIND_MAX, UNIT_MAX, NAME_MAX, VALUE_MAX = 128, 64, 1_024, 256, 1_024
"""Characters of texts."""
DIGEST_CHARACTERS: Final = 64
TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])\Z"
)
DIGEST: Final = r"^[0-9a-f]{64}\Z"
FLAT_MAX: Final = 1_000
"""Members of `properties` that the quick check may meet; under tighter limits there is no quick way."""
FLAT_DEPTH: Final = 4
FLAT_ID, FLAT_DIGEST, FLAT_UNIT, FLAT_VALUE = range(4)
"""Texts whose lengths the quick check is asked for, as it numbers them."""

if TYPE_CHECKING:
    Object = Mapping[str, Json]
else:
    Object = dict[str, Any]  # the decoder can't read an alias that names itself
Id = Annotated[str, Meta(min_length=1, max_length=ID_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Value = Annotated[str, Meta(max_length=VALUE_MAX)] | float | int | bool | None


class Unit(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One of `id` and `sha256`."""

    kind: Annotated[str, Meta(min_length=1, max_length=KIND_MAX)]
    id: Annotated[str, Meta(min_length=1, max_length=UNIT_MAX)] | None = None
    sha256: Annotated[str, Meta(pattern=DIGEST)] | None = None

    def __post_init__(self) -> None:
        if (self.id is None) is (self.sha256 is None):
            raise ValueError("Expected one of `id` and `sha256`")


class Sent(msgspec.Struct, gc=False, kw_only=True):
    """What all events have."""

    id: Id
    unit: Unit
    time: Annotated[str, Meta(pattern=TIME)] | None = None
    value: Value = None
    properties: Object | None = None

    def __post_init__(self) -> None:
        if self.time is not None:
            try:
                datetime.fromisoformat(self.time)
            except ValueError:
                raise ValueError(f"Expected a `time` that there is, not {self.time}") from None


class Exposure(Sent, gc=False, kw_only=True, tag_field="type", tag="exposure", forbid_unknown_fields=True):
    flag: Name
    variant: Name | None = None
    reason: Name | None = None


class Metric(Sent, gc=False, kw_only=True, tag_field="type", tag="metric", forbid_unknown_fields=True):
    metric: Name


class FlatUnit(msgspec.Struct):
    kind: str
    id: str | None = None
    sha256: str | None = None


class Flat(msgspec.Struct, kw_only=True):
    id: str
    unit: FlatUnit
    time: str | None = None
    value: str | float | bool | None = None
    properties: Annotated[dict[str, str | float | bool | None], Meta(max_length=FLAT_MAX)] | None = None


class FlatExposure(Flat, kw_only=True, tag_field="type", tag="exposure"):
    flag: str
    variant: str | None = None
    reason: str | None = None


class FlatMetric(Flat, kw_only=True, tag_field="type", tag="metric"):
    metric: str


class Batch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    events: Annotated[list[Exposure | Metric], Meta(min_length=1, max_length=EVENTS_MAX)]


class CutBatch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=EVENTS_MAX)]


Event = Exposure | Metric
RULES: Final = Rules(
    noted=["id"],
    moments=["time"],
    quoted=True,
    patterns={TIME: judge_table.MOMENT, DIGEST: judge_table.DIGEST},
    exactly_one={Unit: ["id", "sha256"]},
)
"""What `Sent`, `Unit` and their decoder look at beside types."""


class Schema:
    """The decoders, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._flat = quick_check(
            "events",
            FlatExposure | FlatMetric,
            EVENTS_MAX,
            times=["time"],
            order=["type", "id", "time", "unit", "flag", "variant", "metric", "value"],
            grouped=["unit.kind", "flag", "variant", "reason", "metric"],
            noted=["id", "unit.sha256"],
            measured=["unit.id", "value"],
        )
        self.event_judge = judge_of("events", Event, EVENTS_MAX, limits, RULES, batch=True)
        """What `judge` says of each event of a batch, in one pass."""
        self._batch = msgspec.json.Decoder(Batch).decode
        self._cut = msgspec.json.Decoder(CutBatch).decode
        self._free_bytes = min(
            2 * limits.json_depth_max, limits.json_keys_max, limits.json_integer_digits_max
        )
        """A text up to this size breaks no bound of depth, members or digits."""
        self._event: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode

    def flat(self, body: bytes) -> list[str] | None:
        """The ids of a batch that is plainly right; None: read it."""
        if self._limits.json_keys_max < FLAT_MAX or self._limits.json_depth_max < FLAT_DEPTH:
            return None
        found = self._flat.check(body)
        if found is None:
            return None
        count, groups, _, (ids, digests) = found
        named, shortest, longest = self._flat.lengths(FLAT_ID)
        if named < count or not shortest or longest > ID_MAX or self._flat.lengths(FLAT_VALUE)[2] > VALUE_MAX:
            return None
        named, shortest, longest = self._flat.lengths(FLAT_UNIT)
        hashed = 0 if digests is None else self._flat.lengths(FLAT_DIGEST)[0]
        if named + hashed != count or (named and not shortest) or longest > UNIT_MAX:
            return None
        if digests is not None and (self._flat.both(FLAT_UNIT, FLAT_DIGEST) or not plain_digests(digests)):
            return None
        if not all(map(plain_names, groups)):
            return None
        return ids  # type: ignore[return-value]  # each has one

    def whole(self, body: bytes) -> list[Event] | None:
        """The events of a batch of which all are right; None: look at them one by one."""
        try:
            events: list[Event] = self._batch(body).events
        except REFUSED:
            return None
        return events if self._bounded(body) else None

    def is_judged_first(self, body: bytes) -> bool:
        """Whether a batch may keep every bound without being scanned. Raises Fault INVALID_JSON; Condensed."""
        return surely_few(body, self._limits)

    def check(self, body: bytes) -> None:
        """The bounds of a large batch, before anything is built of it. Raises Fault INVALID_JSON; Condensed."""
        check_batch(body, self._limits)

    def texts(self, body: bytes) -> list[bytes]:
        """The events' own bytes. Raises Fault INVALID_JSON, INVALID_SHAPE."""
        try:
            return list(map(bytes, self._cut(body).events))
        except REFUSED as error:
            raise fault_of(error) from None

    def judge(self, text: bytes) -> Event | str:
        """One event, or what is wrong with it."""
        try:
            if len(text) > self._free_bytes and not self._bounded(text):
                check_bounds(text, self._limits, batch=True)
            return self._event(text)
        except REFUSED as error:
            return words_of(error)
        except Fault as fault:
            return fault.message

    def _bounded(self, text: bytes) -> bool:
        """Whether it cheaply shows that it keeps the bounds of depth, members and digits."""
        limits = self._limits
        if not json_scan.few(text, limits.json_depth_max, limits.json_keys_max):
            return self._scanned(text)
        return short_numbers(text, limits)

    def _scanned(self, text: bytes) -> bool:
        try:
            check_bounds(text, self._limits, batch=True)
        except Fault:
            return False
        return True


def plain_digests(digests: list[str | None]) -> bool:
    """Whether those that are there are digests."""
    given = [digest for digest in digests if digest is not None]
    joined = "".join(given)
    try:
        return set(map(len, given)) == {DIGEST_CHARACTERS} and bytes.fromhex(joined).hex() == joined
    except ValueError:
        return False


def plain_names(group: tuple[str | None, ...]) -> bool:
    """Of unit kind, flag, variant, reason, metric: whether those that are there are not empty and not too long."""
    kind, *names = group
    return (
        kind is not None
        and 0 < len(kind) <= KIND_MAX
        and all(n is None or 0 < len(n) <= NAME_MAX for n in names)
    )


def fault_of(error: Exception) -> Fault:
    """A decoder's refusal, with its place."""
    if not isinstance(error, msgspec.ValidationError):
        return Fault(FaultKind.INVALID_JSON, words_of(error))
    return Fault(FaultKind.INVALID_SHAPE, words_of(error), path=place_of(error)[0])


def words_of(error: Exception) -> str:
    """The same, of which the words are wanted."""
    if not isinstance(error, msgspec.ValidationError):
        return "The request body is not valid JSON."
    path, reason = place_of(error)
    return f"{path}: {reason}" if path else reason
