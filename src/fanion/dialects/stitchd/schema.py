"""stitchd's request bodies (docs/apis/stitchd.md: Routes), and the place of what is wrong in one: always 400.

Unknown members are ignored, as upstream does. A body is first decoded by types that know none: what those
accept can't nest deeper or hold more than they say. What they refuse is decoded again with unknown members
ignored, and looked through for the bounds that hold for every API if it has more brackets than its own items
account for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import msgspec
from msgspec import Raw

from fanion._core import json_scan
from fanion.config import Limits
from fanion.dialects.wire.bodies import BYTE_ORDER_MARK, MAP_BYTES_FREE, REFUSED, Body, Int64
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import (
    UNSCANNED_BYTES_MAX,
    check_batch,
    check_bounds,
    check_numbers,
    place_of,
    read_all,
    surely_few,
)
from fanion.dialects.wire.judging import Rules, judge_of

DOUBLE_BITS: Final = 1_023
"""An integer of more bits may lie above every double."""

NO_VALUE: Final = Raw(b"")


class Evaluation(msgspec.Struct, gc=False):
    flag_key: str
    context_type: str
    context_key: str
    attributes: dict[str, bool | int | float | str] = {}


class EvaluationClosed(Evaluation, gc=False, forbid_unknown_fields=True):
    pass


class Pair(msgspec.Struct, gc=False):
    segment_key: str
    context_type: str
    context_key: str


class PairClosed(Pair, gc=False, forbid_unknown_fields=True):
    pass


class Event(msgspec.Struct, gc=False):
    """`value` is looked at event by event: what is wrong with it rejects the event, not the request
    (docs/apis/stitchd.md: Events)."""

    metric_key: str
    context_type: str
    context_key: str
    value: Raw = NO_VALUE
    timestamp_ms: Int64 | None = None


class EventClosed(Event, gc=False, forbid_unknown_fields=True):
    pass


JUDGED_MAX: Final = 10_000
"""Events of a batch that the judge has room for."""
EVENT_RULES: Final = Rules(noted=["metric_key", "value"], open=True, whole=True)


class Batch(msgspec.Struct):
    events: list[Event]


class BatchClosed(msgspec.Struct, forbid_unknown_fields=True):
    events: list[EventClosed]


class RawBatch(msgspec.Struct):
    """The same batch, cut into the events' own bytes."""

    events: list[Raw]


T = TypeVar("T")


class CountedBody(Body[T]):
    """`items`: how many objects and lists a document of this kind has by itself. `scanned`: a large one was looked
    through before it is read."""

    def __init__(
        self,
        closed: object,
        opened: object,
        limits: Limits,
        items: Callable[[T], int],
        *,
        scanned: bool = True,
    ) -> None:
        super().__init__(closed, opened)
        self._limits = limits
        self._items = items
        self._scanned = scanned

    def read_open(self, body: bytes) -> T:
        if not self._scanned:
            check_batch(body, self._limits)
        try:
            body.decode()  # what the decoder skips, it doesn't look at
            document = self.decode_open(body)
            read_all(body)
        except REFUSED as error:
            if len(body) <= UNSCANNED_BYTES_MAX:
                check_bounds(body, self._limits, batch=True)
            raise fault_of(error, body) from None
        most = self._items(document) + self._limits.json_depth_max // 2
        if len(body) <= UNSCANNED_BYTES_MAX and not json_scan.few(body, most, len(body)):
            check_bounds(body, self._limits, batch=True)
        return document


class Bodies:
    """Every body that the endpoints take, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._evaluation: CountedBody[Evaluation] = CountedBody(
            EvaluationClosed, Evaluation, limits, lambda _: 2
        )
        self._pair: CountedBody[Pair] = CountedBody(PairClosed, Pair, limits, lambda _: 1)
        self._pairs: CountedBody[list[Pair]] = CountedBody(
            list[PairClosed], list[Pair], limits, lambda pairs: 1 + len(pairs)
        )
        self._event: CountedBody[Event] = CountedBody(EventClosed, Event, limits, lambda _: 1, scanned=False)
        self._batch: CountedBody[Batch] = CountedBody(
            BatchClosed, Batch, limits, lambda batch: 2 + len(batch.events)
        )
        self.text_bytes_max = limits.json_string_bytes_max
        self._judge = judge_of("events", Event, JUDGED_MAX, limits, EVENT_RULES, batch=True)
        self._wrapper = msgspec.json.Decoder(dict[str, Raw])
        self._cut = msgspec.json.Decoder(RawBatch).decode

    def evaluation(self, body: bytes) -> Evaluation:
        limits = self._limits
        if len(body) > MAP_BYTES_FREE and not json_scan.few(body, len(body), limits.json_keys_max):
            check_bounds(body, limits)
        request = self._evaluation.decode(body)
        if len(body) <= limits.json_integer_digits_max:
            for value in request.attributes.values():
                if value.__class__ is int:
                    break
            else:
                return request
        self._check_attributes(request, body)
        return request

    def _check_attributes(self, request: Evaluation, body: bytes) -> None:
        """What types can't say: numbers beyond every double, long numbers and texts, too many members."""
        limits, attributes = self._limits, request.attributes
        if len(attributes) > limits.json_keys_max:
            _refuse("attributes", f"expected at most {limits.json_keys_max} members")
        check_numbers(body, limits)
        for name, value in attributes.items():
            if isinstance(value, int) and value.bit_length() > DOUBLE_BITS:
                _refuse(f"attributes.{name}", "expected a number that a double can hold")
            if isinstance(value, str):
                self.check_text(f"attributes.{name}", value, body)
        self.check_text("context_key", request.context_key, body)
        self.check_text("flag_key", request.flag_key, body)

    def check_text(self, path: str, text: str, body: bytes) -> None:
        bytes_max = self._limits.json_string_bytes_max
        if len(body) > bytes_max and len(text) > bytes_max // 4 and len(text.encode()) > bytes_max:
            _refuse(path, f"expected at most {bytes_max} bytes of text")

    def pair(self, body: bytes) -> Pair:
        pair = self._pair.decode(body)
        self.check_text("context_key", pair.context_key, body)
        return pair

    def pairs(self, body: bytes) -> list[Pair]:
        """A bare array, or an object of which one member is an array (docs/apis/stitchd.md: Batch membership
        checks)."""
        start = body.lstrip(b" \t\r\n")[:1]
        if start == BYTE_ORDER_MARK[:1]:
            raise fault_of(msgspec.DecodeError(), body)
        if start == b"{":
            body = self._unwrap(body)
        pairs = self._pairs.decode(body)
        if len(body) > self._limits.json_string_bytes_max:
            for number, pair in enumerate(pairs):
                self.check_text(f"[{number}].context_key", pair.context_key, body)
        return pairs

    def is_text(self, body: bytes) -> bool:
        """Whether the body is UTF-8."""
        try:
            return body.isascii() or bool(body.decode())
        except UnicodeDecodeError:
            return False

    def refuse_bytes(self, body: bytes) -> NoReturn:
        """Of a body that is not UTF-8. Raises Fault INVALID_JSON."""
        check_bounds(body, self._limits, batch=True)
        raise fault_of(msgspec.DecodeError(), body)

    def _unwrap(self, body: bytes) -> bytes:
        try:
            body.decode()
            members = self._wrapper.decode(body)
        except REFUSED as error:
            check_bounds(body, self._limits)
            raise fault_of(error, body) from None
        arrays = [raw for raw in map(bytes, members.values()) if raw[:1] == b"["]
        if len(arrays) != 1:
            _refuse("", "expected an array of pairs, or an object with one array")
        if len(members) > 1:
            check_bounds(body, self._limits)
        return arrays[0]

    def event(self, body: bytes) -> Event:
        event = self._event.decode(body)
        self._check_values([event], body)
        return event

    def judged(self, body: bytes) -> tuple[list[str], list[bytes | None]] | None:
        """Metric keys and values, b"" or None for none, of a batch that `batch` surely would take; None: ask it.
        Raises Fault INVALID_JSON; Condensed."""
        if not surely_few(body, self._limits) or not self.is_text(body):
            return None
        found = self._judge.apart(body, lambda _: None)
        if found is None:
            return None
        keys, values = found[0]
        return keys, values

    def batch(self, body: bytes) -> list[Event]:
        check_batch(body, self._limits)
        batch = self._batch.decode(body)
        self._check_values(batch.events, body)
        return batch.events

    def _check_values(self, events: list[Event], body: bytes) -> None:
        """Values are raw, so neither their nesting nor their text has been looked at."""
        if any(event.value for event in events):
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise fault_of(error, body) from None
            check_bounds(body, self._limits, batch=True)

    def cut(self, body: bytes) -> list[Raw]:
        """The events of a batch that `batch` has read, as their own bytes."""
        return self._cut(body).events


def _refuse(path: str, reason: str) -> NoReturn:
    raise Fault(FaultKind.INVALID_SHAPE, f"{path}: {reason}" if path else reason)


def fault_of(error: Exception, body: bytes) -> Fault:
    """What a decoder refused: no JSON, or JSON of another shape, with the place."""
    if isinstance(error, msgspec.ValidationError):
        path, reason = place_of(error)
        return Fault(FaultKind.INVALID_SHAPE, f"{path}: {reason}" if path else reason)
    return Fault(FaultKind.INVALID_JSON, "the request body is not valid JSON")
