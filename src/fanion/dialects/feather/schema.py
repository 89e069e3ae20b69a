"""Feather's request bodies (docs/apis/feather.md: Evaluate one to Telemetry), and the place of what is wrong
in one.

Each body has two decoders made once. The first knows no unknown members: what it accepts can't nest deeper or
hold more than its types say, so nothing else is looked at. What it refuses is scanned for the bounds that
hold for every API and decoded again with unknown members ignored, as the API wants; what that refuses is
a 400 when the text isn't JSON at all, else a 422 with the place.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Annotated, Final, Literal, NoReturn, Protocol, TypeVar, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion._core import json_scan
from fanion._core.prepared import ListPlace, PreparedList, PreparedLists
from fanion.config import Limits
from fanion.dialects.wire.bodies import MAP_BYTES_FREE, REFUSED, Body, Int64
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_batch, check_bounds, check_numbers, place_of
from fanion.dialects.wire.judging import Rules, judge_of, surely_within
from fanion.dialects.wire.plain_batch import quick_check
from fanion.dialects.wire.prepared import PreparedPlace
from fanion.model.json_value import Json

Scalar = bool | int | float | str
Within64 = bool | Int64 | float | str
"""What the closed shapes take: larger integers are read as doubles by the open ones."""


class Context(msgspec.Struct, gc=False):
    userId: str | UnsetType = UNSET  # noqa: N815  # the API's own words, here and below
    anonymousId: str | UnsetType = UNSET  # noqa: N815
    attributes: dict[str, Scalar] = {}

    def members(self) -> dict[str, str]:
        """The identities that were sent."""
        if self.anonymousId is UNSET:
            return {} if self.userId is UNSET else {"userId": self.userId}
        if self.userId is UNSET:
            return {"anonymousId": self.anonymousId}
        return {"userId": self.userId, "anonymousId": self.anonymousId}


class One(msgspec.Struct, gc=False):
    flagKey: str  # noqa: N815
    context: Context


class Bulk(Protocol):
    """What is made in `Schema`, as its bounds depend on the limits."""

    flags: list[str]
    context: Context


LIST: Final = ListPlace(b"{", b'"flags":', b"", b"}")


class ContextClosed(Context, gc=False, forbid_unknown_fields=True):
    attributes: dict[str, Within64] = {}


class OneClosed(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    flagKey: str  # noqa: N815
    context: ContextClosed


class ContextAlone(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A bulk's body without its list."""

    context: ContextClosed


Reason = Literal[
    "DISABLED", "RULE_MATCH", "ROLLOUT", "DEFAULT", "FLAG_NOT_FOUND", "ERROR", "CLIENT_RESTRICTED"
]


class Event(msgspec.Struct, gc=False, kw_only=True):
    flagKey: str  # noqa: N815
    flagId: str  # noqa: N815
    environmentId: str  # noqa: N815
    orgId: str  # noqa: N815
    value: Scalar
    reason: Reason
    sdkType: Literal["server", "client", "edge"]  # noqa: N815
    sdkVersion: str  # noqa: N815
    evaluatedAt: str  # noqa: N815
    ruleId: str | UnsetType = UNSET  # noqa: N815
    userIdHash: str | UnsetType = UNSET  # noqa: N815
    anonymousIdHash: str | UnsetType = UNSET  # noqa: N815


class EventClosed(Event, gc=False, kw_only=True, forbid_unknown_fields=True):
    value: Within64


class Events(Protocol):
    """As `Bulk`."""

    events: list[Event]


class RawEvents(msgspec.Struct):
    """The same batch, cut into the events' own bytes."""

    events: list[msgspec.Raw]


CHOICES = {
    field.name: ", ".join(get_args(field.type))
    for field in msgspec.structs.fields(Event)
    if get_origin(field.type) is Literal
}
NO_CHOICE = "Invalid enum value"
TYPE = re.compile(r"`([^`]*)`")
JSON_WORDS = {
    "bool | int | float | str": "a string, a number or a boolean",
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "object": "an object",
    "array": "an array",
}

RULES: Final = Rules(noted=["flagKey"], fixed=["orgId"], moments=["evaluatedAt"])
JUDGED_TIMES: Final = 10
JUDGED_MAX: Final = 10_000
"""The judge looks at batches of so many times the events that are taken: the others are refused, too."""
FIRST: Final = "events[0]"
SAMPLE_ORDER = (
    *("flagKey", "flagId", "environmentId", "orgId", "value", "reason", "ruleId", "userIdHash"),
    *("anonymousIdHash", "sdkType", "sdkVersion", "evaluatedAt"),
)

T = TypeVar("T")
ORGANISATION = attrgetter("orgId")
VALUE = attrgetter("value")
EVALUATED_AT = attrgetter("evaluatedAt")
_drain = deque[object](maxlen=0).extend
"""Runs an iterator to its end without a Python loop."""


class CheckedBody(Body[T]):
    """A body of this API. `widen`: its integers beyond 64 bits. `check`: what types can't say. `holds_map`: a
    member of it takes names of the caller's choice, so its closed decoder alone doesn't bound how many; the others
    are batches."""

    def __init__(
        self,
        closed: object,
        opened: object,
        limits: Limits,
        widen: Callable[[T], None],
        check: Callable[[T, bytes], None],
        *,
        holds_map: bool,
    ) -> None:
        super().__init__(closed, opened)
        self._limits = limits
        self._widen = widen
        self._check = check
        self._map_bytes_free = MAP_BYTES_FREE if holds_map else sys.maxsize
        self._is_batch = not holds_map
        self.free_bytes = min(MAP_BYTES_FREE, limits.json_integer_digits_max) if holds_map else -1
        """A body of these can't be beyond what is looked for, so it may be read by `decode_closed`."""

    def read(self, body: bytes) -> T:
        """Raises Fault INVALID_JSON or INVALID_SHAPE."""
        if len(body) <= self.free_bytes:
            return self.decode(body)
        if self._is_batch:
            check_batch(body, self._limits)
        elif len(body) > self._map_bytes_free and not json_scan.few(
            body, len(body), self._limits.json_keys_max
        ):
            check_bounds(body, self._limits)
        document = self.decode(body)
        self._check(document, body)
        return document

    def read_open(self, body: bytes) -> T:
        check_bounds(body, self._limits, batch=self._is_batch)
        try:
            body.decode()  # what the decoder skips, it doesn't look at
            document = self.decode_open(body)
        except REFUSED as error:
            raise _fault_of(error, body) from None
        self._widen(document)
        return document


class Schema:
    """Every body that the endpoints take, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        flags_max, events_max = limits.flags_per_request_max, limits.events_per_request_max
        keys = Annotated[list[str], Meta(min_length=1, max_length=flags_max)]
        batch: object = Annotated[list[Event], Meta(min_length=1, max_length=events_max)]
        batch_closed: object = Annotated[list[EventClosed], Meta(min_length=1, max_length=events_max)]
        self._limits = limits
        self.one: CheckedBody[One] = CheckedBody(
            OneClosed, One, limits, _widen_attributes, self._check_context, holds_map=True
        )
        self.bulk: CheckedBody[Bulk] = CheckedBody(
            _closed("BulkClosed", flags=keys, context=ContextClosed),
            _opened("Bulk", flags=keys, context=Context),
            limits,
            _widen_attributes,
            self._check_context,
            holds_map=True,
        )
        self.listed = PreparedPlace(LIST, keys, ContextAlone, mapped=True)
        self.events: CheckedBody[Events] = CheckedBody(
            _closed("EventsClosed", events=batch_closed),
            _opened("Events", events=batch),
            limits,
            _widen_values,
            self._check_events,
            holds_map=False,
        )
        self.plain_events = quick_check(
            "events", Event, events_max, times=["evaluatedAt"], order=SAMPLE_ORDER, fixed=["orgId"]
        )
        """`check(body, (organisation,))` -> a batch that `events` would accept too, all of it that organisation's;
        None: ask `events`."""
        self._judge = judge_of(
            "events", Event, min(JUDGED_TIMES * events_max, JUDGED_MAX), limits, RULES, batch=True
        )
        self._events_max = events_max
        self._too_many: Fault | None = None
        self.raw_events = msgspec.json.Decoder(RawEvents)

    def take(
        self, lists: PreparedLists, body: bytes, *, client: bool
    ) -> tuple[PreparedList, ContextClosed] | None:
        """A list of flags that was asked for before, and the context; None: read the body."""
        if len(body) > MAP_BYTES_FREE:
            return None
        found = self.listed.take(lists, body, client=client)
        if found is None:
            return None
        keys, rest = found
        self._check_context(rest, body)
        return keys, rest.context

    def all_own(self, body: bytes, organisation: bytes) -> bool:
        """Whether it is sure, without reading a batch, that `events` would take it and all of it is that
        organisation's. Raises the Fault that `events` would, where that is sure."""
        ask = partial(self._judge.first, fixed=(organisation,))
        found = surely_within(self._judge, ask, body, self._limits)
        if found is None:
            return False
        count, number, text, fine = found
        if number >= 0:
            refused = self._refusal(text)
            if refused is not None:
                place = f"events[{number}]"
                message = place + refused.message.removeprefix(FIRST)
                raise Fault(refused.kind, message, path=place + (refused.path or "").removeprefix(FIRST))
        elif count > self._events_max:
            if self._too_many is None:
                self._too_many = self._refusal(b",".join([text] * (self._events_max + 1)))
            if self._too_many is not None:
                raise Fault(self._too_many.kind, self._too_many.message, path=self._too_many.path)
        return fine and number < 0

    def _refusal(self, events: bytes) -> Fault | None:
        """What is wrong with a batch of these."""
        body = b'{"events":[%b]}' % events
        try:
            self.events.decode_open(body)
        except REFUSED as error:
            return _fault_of(error, body)
        return None

    def _check_context(self, document: One | Bulk | ContextAlone, body: bytes) -> None:
        limits = self._limits
        if len(body) <= limits.json_integer_digits_max:
            return  # too short for any of the limits below; `CheckedBody.read` knows it, too
        attributes = document.context.attributes
        if float in map(type, attributes.values()):
            check_numbers(body, limits)
        if len(attributes) > limits.json_keys_max:
            _refuse("context.attributes", f"Expected at most {limits.json_keys_max} members")
        if len(body) > limits.json_string_bytes_max:
            context = document.context
            for path, text in (
                ("context.userId", context.userId),
                ("context.anonymousId", context.anonymousId),
                *((f"context.attributes.{name}", value) for name, value in attributes.items()),
            ):
                if isinstance(text, str) and len(text.encode()) > limits.json_string_bytes_max:
                    _refuse(path, f"Expected at most {limits.json_string_bytes_max} bytes of text")

    def _check_events(self, document: Events, body: bytes) -> None:
        if float in map(type, map(VALUE, document.events)):
            check_numbers(body, self._limits)
        _check_times(document)


def _widen_attributes(document: One | Bulk) -> None:
    """Reads integers beyond 64 bits as doubles (docs/apis/feather.md: Common rules)."""
    attributes = document.context.attributes
    for name, value in attributes.items():
        if type(value) is int and not -(2**63) <= value < 2**63:
            attributes[name] = _double(value, f"context.attributes.{name}")


def _widen_values(document: Events) -> None:
    """What is kept are the events' bytes; so this only looks whether a double holds them."""
    for index, event in enumerate(document.events):
        if type(event.value) is int:
            _double(event.value, f"events[{index}].value")


def _double(value: int, path: str) -> float:
    try:
        return float(value)
    except OverflowError:
        _refuse(path, "Expected a number that a double can hold")


def _check_times(document: Events) -> None:
    try:
        _drain(map(datetime.fromisoformat, map(EVALUATED_AT, document.events)))
    except ValueError:
        for index, event in enumerate(document.events):
            try:
                datetime.fromisoformat(event.evaluatedAt)
            except ValueError:
                _refuse(f"events[{index}].evaluatedAt", "Expected an ISO 8601 time")


def _closed(name: str, **fields: object) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, list(fields.items()), forbid_unknown_fields=True, gc=False)


def _opened(name: str, **fields: object) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, list(fields.items()), gc=False)


def _refuse(path: str, reason: str) -> NoReturn:
    raise Fault(FaultKind.INVALID_SHAPE, f"{path}: {reason}." if path else f"{reason}.", path=path)


def _fault_of(error: Exception, body: bytes) -> Fault:
    """400 for what isn't JSON, else 422 with the place."""
    not_json = Fault(FaultKind.INVALID_JSON, "The request body is not valid JSON.")
    if not isinstance(error, msgspec.ValidationError):
        return not_json
    try:
        # A decoder ends at the first wrong type; whether the rest is JSON decides between the two answers.
        document = msgspec.json.decode(body)
    except REFUSED:
        return not_json
    path, reason = place_of(error)
    if path.endswith("[...]"):
        path, reason = _wrong_attribute(document, path, reason)
    choices = CHOICES.get(path.rpartition(".")[2])
    reason = (
        f"Expected one of {choices}" if reason.startswith(NO_CHOICE) and choices else in_json_words(reason)
    )
    return Fault(FaultKind.INVALID_SHAPE, f"{path}: {reason}." if path else f"{reason}.", path=path)


def in_json_words(reason: str) -> str:
    """The decoder names Python's types; callers know JSON's."""
    return TYPE.sub(lambda found: JSON_WORDS.get(found[1], found[1]), reason)


def _wrong_attribute(document: Json, path: str, reason: str) -> tuple[str, str]:
    """The decoder doesn't name the member of a map that it refused. Where a name stands twice, it refused the first
    and `document` has the last: then the place stays the map."""
    attributes = document
    for member in ("context", "attributes"):
        attributes = attributes.get(member) if isinstance(attributes, dict) else None
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        if value is None or isinstance(value, dict | list):
            return f"context.attributes.{name}", "Expected a string, a number or a boolean"
    return path.removesuffix("[...]"), reason
