"""Bodies of the neutral API (docs/apis/neutral.md: Batches, Events): a quick check over the bytes for the usual,
and decoders that say where a refused event is wrong.

The flat structs only name members and types for the quick check, which says yes or nothing; what it can't know of
texts (`plain_texts`) is looked at beside it. The others are the rules. No member is open but those of `properties`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from fanion._core import json_scan
from fanion.config import Limits
from fanion.dialects.wire.bodies import REFUSED
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_batch, check_bounds, place_of, short_numbers
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
FLAT_MAX: Final = 1_000
"""Members of `properties` that the quick check may meet; under tighter limits there is no quick way."""
FLAT_DEPTH: Final = 4

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
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None

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
            noted=["id", "unit.id", "unit.sha256", "value"],
        )
        self._batch = msgspec.json.Decoder(Batch).decode
        self._cut = msgspec.json.Decoder(CutBatch).decode
        self._event: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode

    def flat(self, body: bytes) -> list[str] | None:
        """The ids of a batch that is plainly right; None: read it."""
        if self._limits.json_keys_max < FLAT_MAX or self._limits.json_depth_max < FLAT_DEPTH:
            return None
        found = self._flat.check(body)
        if found is None:
            return None
        _, groups, _, (ids, units, digests, values) = found
        if (
            not plain_texts(ids, ID_MAX)
            or not named_units(units, digests)
            or not all(map(plain_names, groups))
        ):
            return None
        if values is not None and max(map(len, filter(None, values)), default=0) > VALUE_MAX:
            return None
        return ids  # type: ignore[return-value]  # each has one

    def whole(self, body: bytes) -> list[Event] | None:
        """The events of a batch of which all are right; None: look at them one by one."""
        try:
            events: list[Event] = self._batch(body).events
        except REFUSED:
            return None
        return events if self._bounded(body) else None

    def check(self, body: bytes) -> None:
        """The bounds of a large batch, before anything is built of it. Raises Fault INVALID_JSON; Condensed."""
        check_batch(body, self._limits)

    def texts(self, body: bytes) -> list[bytes]:
        """The events' own bytes. Raises Fault INVALID_JSON, INVALID_SHAPE."""
        try:
            return list(map(bytes, self._cut(body).events))
        except REFUSED as error:
            raise fault_of(error) from None

    def event(self, text: bytes) -> Event:
        """One event. Raises Fault with what is wrong with it."""
        if not self._bounded(text):
            check_bounds(text, self._limits, batch=True)
        try:
            return self._event(text)
        except REFUSED as error:
            raise fault_of(error) from None

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


def plain_texts(texts: list[str | None] | None, most: int) -> bool:
    """Whether all are there, not empty and not too long."""
    return texts is not None and None not in texts and _within(texts, most)


def _within(texts: Iterable[str | None], most: int) -> bool:
    lengths = set(map(len, texts))  # type: ignore[arg-type]  # the callers looked for None
    return 0 not in lengths and max(lengths) <= most


def named_units(units: list[str | None] | None, digests: list[str | None] | None) -> bool:
    """Whether each has one of both, an id of the right length or a digest."""
    if digests is None:
        return plain_texts(units, UNIT_MAX)
    given = [digest for digest in digests if digest is not None]
    if len(given) < len(digests) or units is not None:
        if units is None or any(
            (unit is None) is (digest is None) for unit, digest in zip(units, digests, strict=True)
        ):
            return False
        if not _within((unit for unit in units if unit is not None), UNIT_MAX):
            return False
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
        return Fault(FaultKind.INVALID_JSON, "The request body is not valid JSON.")
    path, reason = place_of(error)
    return Fault(FaultKind.INVALID_SHAPE, f"{path}: {reason}" if path else reason, path=path)
