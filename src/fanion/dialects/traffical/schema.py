"""Traffical's request bodies (docs/apis/traffical.md: Resolve, Events, Event fields): decoders
made once, and their bounds.

Contexts are free JSON, so a body's depth, members and digits are bounded by counting brackets and colons first;
only a body that could break a bound is scanned. Events (their structs stand in `event_structs`) and the items of a
batch are cut out as they stand and read one by one, since one bad item must not cost the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from fanion._core import json_scan
from fanion._core.prepared import ListPlace, PreparedList, PreparedLists
from fanion.config import Limits
from fanion.dialects.traffical.envelope import EVENTS_MAX, NO_EVENTS
from fanion.dialects.traffical.event_structs import (
    FLAT_MAX,
    PLAIN_DEPTH,
    Decision,
    Exposure,
    PlainDecision,
    PlainExposure,
    PlainTrack,
    Track,
)
from fanion.dialects.wire.bodies import REFUSED, Body
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import (
    UNSCANNED_BYTES_MAX,
    check_bounds,
    check_once,
    check_slow_numbers,
    place_of,
    read_all,
    short_numbers,
    surely_few,
)
from fanion.dialects.wire.judging import Rules, judge_of
from fanion.dialects.wire.plain_batch import quick_check
from fanion.dialects.wire.prepared import PreparedPlace
from fanion.model.json_value import JsonObject

PlainEvent = PlainExposure | PlainDecision | PlainTrack
AnyEvent = Exposure | Decision | Track | PlainEvent
T = TypeVar("T")


if TYPE_CHECKING:
    Context = JsonObject
else:
    Context = dict[str, Any]  # the decoder can't read an alias that names itself


class Place(msgspec.Struct, gc=False):
    """What any request may say about where it belongs; the API's own words, here and below."""

    orgId: str | None = None  # noqa: N815
    projectId: str | None = None  # noqa: N815
    env: str | None = None


HERE: Final = Place()
"""What says nothing of it."""


class Resolve(Place, gc=False):
    """`context` may come as an empty list (PHP's empty map)."""

    context: Context | Annotated[list[None], Meta(max_length=0)] = {}
    parameters: list[str] | None = None
    defaults: dict[str, msgspec.Raw] | None = None


class ResolveClosed(Resolve, gc=False, forbid_unknown_fields=True):
    pass


class ResolveRest(Place, gc=False, forbid_unknown_fields=True):
    """Without its list."""

    context: Context | Annotated[list[None], Meta(max_length=0)] = {}


LISTED: Final = PreparedPlace(ListPlace(b"{", b'"parameters":', b"", b"}"), list[str], ResolveRest)


class Events(msgspec.Struct, gc=False):
    events: list[msgspec.Raw]


class EventsAlone(Events, gc=False, forbid_unknown_fields=True):
    pass


EVENTS_NAME: Final = b'"events"'


class PlainEvents(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    events: Annotated[
        list[PlainExposure | PlainDecision | PlainTrack], Meta(min_length=1, max_length=EVENTS_MAX)
    ]


EVENT_RULES: Final = Rules(
    fixed=["orgId", "projectId", "env"],
    noted=["id", "event"],
    moments=["timestamp", "eventTimestamp"],
    open=True,
    text_first=True,
)
"""What is looked at beside types, and in which order."""
PASSED_OVER: Final = 31
"""Items that the closed decoder isn't asked for after it refused one."""


def is_bounded(text: bytes, limits: Limits) -> bool:
    """Whether a body cheaply shows that it keeps the bounds of depth, members and digits."""
    return json_scan.few(text, limits.json_depth_max, limits.json_keys_max) and short_numbers(text, limits)


def check_cheaply(body: bytes, limits: Limits) -> None:
    """Raises Fault INVALID_JSON for one that breaks a bound."""
    if not is_bounded(body, limits):
        check_bounds(body, limits)


class LooseBody(Body[T]):
    """Members that aren't known are skipped, but have to be readable. Raises what the decoder does."""

    def read_open(self, body: bytes) -> T:
        found = self.decode_open(body)
        read_all(body)
        return found

    def one_by_one(self) -> Callable[[bytes], T]:
        """Reads items of one batch as `decode` does. What the closed decoder refused is mostly followed by more of
        its kind, and a refusal takes longer than reading: then it isn't asked for some."""
        closed, passed_over = self.decode_closed, 0

        def read(item: bytes) -> T:
            nonlocal passed_over
            if passed_over:
                passed_over -= 1
                return self.read_open(item)
            try:
                return closed(item)
            except REFUSED:
                passed_over = PASSED_OVER
                return self.read_open(item)

        return read


class Schema:
    """The decoders, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._resolve = LooseBody[Resolve](ResolveClosed, Resolve).decode
        self._events = msgspec.json.Decoder(Events).decode
        self._plain = msgspec.json.Decoder(PlainEvents).decode
        self.flat_events = quick_check(
            "events",
            PlainExposure | PlainDecision | PlainTrack,
            EVENTS_MAX,
            times=["timestamp", "eventTimestamp"],
            fixed=["orgId", "projectId", "env"],
            grouped=["event"],
            noted=["id"],
        )
        """`check(body, (organisation, project, environment))` -> a batch that `plain_events` would take too, all of
        it theirs; None: ask `plain_events`."""
        self.event_judge = judge_of(
            "events", Exposure | Decision | Track, EVENTS_MAX, limits, EVENT_RULES, batch=False
        )
        """What `judging` says of each event of a batch, in one pass."""
        self._events_alone = msgspec.json.Decoder(EventsAlone).decode
        self._event = LooseBody[AnyEvent](PlainEvent, Exposure | Decision | Track)
        self._free_bytes = min(
            2 * limits.json_depth_max, limits.json_keys_max, limits.json_integer_digits_max
        )
        """A text up to this size breaks no bound of depth, members or digits."""

    def _check(self, body: bytes) -> None:
        check_cheaply(body, self._limits)

    def resolve(self, body: bytes) -> Resolve:
        self._check(body)
        try:
            found = self._resolve(body) if body else Resolve()
            if found.defaults:
                read_all(body)  # they are raw, and go into the answer as they came
        except REFUSED as error:
            raise fault_of(error) from None
        return found

    def take(self, lists: PreparedLists, body: bytes) -> tuple[PreparedList, ResolveRest] | None:
        """A list of parameters that was asked for before, and the rest; None: read the body."""
        return LISTED.take(lists, body, client=False) if is_bounded(body, self._limits) else None

    def plain_events(self, body: bytes) -> list[PlainEvent] | None:
        """The events of a batch in which all of them are valid, flat and without surprises, as SDKs send them;
        None: look at them one by one."""
        if self._limits.json_keys_max < FLAT_MAX or self._limits.json_depth_max < PLAIN_DEPTH:
            return None
        try:
            found = self._plain(body).events
        except REFUSED:
            return None
        if any(map(wrong_time, found)):
            return None
        return found if short_numbers(body, self._limits) else None

    def is_judged_first(self, body: bytes) -> bool:
        """Whether a batch may keep every bound without being scanned. Raises Fault INVALID_JSON; Condensed."""
        return surely_few(body, self._limits)

    def check_batch(self, body: bytes) -> None:
        """The bounds of a batch, its events counted, before anything is built of it. Raises Fault INVALID_SHAPE,
        INVALID_JSON; Condensed."""
        if len(body) <= UNSCANNED_BYTES_MAX:
            check_slow_numbers(body, self._limits)
        else:
            check_once(body, self._limits, batch=True)
            cut = json_scan.cut(body, EVENTS_NAME, EVENTS_MAX)
            if cut is not None and cut[2] is None:
                raise Fault(FaultKind.INVALID_SHAPE, NO_EVENTS)

    def events(self, body: bytes) -> list[bytes]:
        """The events' own bytes. Raises Fault INVALID_SHAPE, INVALID_JSON."""
        try:
            return list(map(bytes, self._events(body).events))
        except REFUSED as error:
            refused = error
        if isinstance(refused, msgspec.ValidationError):
            raise fault_of(refused)
        cut = json_scan.cut(body, EVENTS_NAME, EVENTS_MAX)
        if cut is None:
            raise fault_of(refused)
        first, last, texts = cut
        if texts is None:
            raise Fault(FaultKind.INVALID_SHAPE, NO_EVENTS)
        if not all(map(is_json, texts)):
            raise fault_of(refused)
        try:
            self._events(body[:first] + body[last:])
        except REFUSED as error:
            raise fault_of(error) from None
        return texts

    def alone(self, body: bytes) -> bool:
        """Whether nothing stands beside the events of a body that `events` can read."""
        try:
            self._events_alone(body)
        except REFUSED:
            return False
        return True

    def judging(self) -> Callable[[bytes], AnyEvent | str]:
        """Reads the events of one batch one by one: each, or what is wrong with it."""
        read, free_bytes = self._event.one_by_one(), self._free_bytes

        def judge(text: bytes) -> AnyEvent | str:
            try:
                if len(text) > free_bytes:
                    self._check(text)
                event = read(text)
            except REFUSED as error:
                return words_of(error)
            except Fault as fault:
                return fault.message
            wrong = wrong_time(event)
            return event if wrong is None else f"{wrong}: Expected an ISO 8601 time"

        return judge


def wrong_time(event: AnyEvent) -> str | None:
    """The time of the event that is none."""
    name, given = "timestamp", event.timestamp
    try:
        datetime.fromisoformat(given)
        if isinstance(event, Track | PlainTrack) and event.eventTimestamp is not None:
            name, given = "eventTimestamp", event.eventTimestamp
            datetime.fromisoformat(given)
    except ValueError:
        return name
    return None


def is_json(text: bytes) -> bool:
    """Whether an item is JSON by its grammar, which deep nesting is. Python's NaN and Infinity count too: they are
    wrong with one event alone."""
    try:
        read_all(text)
        return True
    except REFUSED:
        pass
    try:
        json.loads(text.decode(errors="replace"), parse_int=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def fault_of(error: Exception) -> Fault:
    """A decoder's refusal, with its place."""
    if not isinstance(error, msgspec.ValidationError):
        return Fault(FaultKind.INVALID_JSON, words_of(error))
    return Fault(FaultKind.INVALID_SHAPE, words_of(error), path=place_of(error)[0])


def words_of(error: Exception) -> str:
    """The same, of which the words are wanted."""
    if not isinstance(error, msgspec.ValidationError):
        return "The request body is not valid JSON"
    path, reason = place_of(error)
    return f"{path}: {reason}" if path else reason
