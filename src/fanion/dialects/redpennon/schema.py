"""Red Pennon's request bodies: read as plain JSON, then checked by hand in the order of
docs/apis/redpennon.md.

Typed decoders can't say which of two defects comes first, and the texts name the first. A refusal is a Fault
INVALID_JSON or INVALID_SHAPE whose message is the answer's text. Unknown members are ignored everywhere.

A batch of events is tried with a closed decoder first: what that accepts, without members that it doesn't know,
is well formed but for a few rules that are checked for all events at once. Everything else takes the plain way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple, NoReturn, TypeAlias

import msgspec

from fanion._core import json_scan
from fanion._core.prepared import PreparedList, PreparedLists
from fanion.config import Limits
from fanion.dialects.redpennon.emit import Catalogue
from fanion.dialects.redpennon.listed import LISTED
from fanion.dialects.wire.bodies import REFUSED, Int64
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_batch, check_bounds, check_numbers
from fanion.dialects.wire.plain_batch import quick_check
from fanion.model import canonical
from fanion.model.json_value import Json, JsonObject

EVENT_ID_CHARACTERS_MAX: Final = 200
FLAT_EVENTS_MAX: Final = 1_000
"""Larger batches take the ways behind the quickest."""

_decode: Callable[[bytes], Json] = msgspec.json.Decoder().decode
_instant = datetime.fromisoformat

User: TypeAlias = JsonObject


def invalid(text: str) -> NoReturn:
    raise Fault(FaultKind.INVALID_SHAPE, text)


class Bodies:
    """Reads bodies within the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._depth_max = limits.json_depth_max
        self._keys_max = limits.json_keys_max
        self._digits_max = limits.json_integer_digits_max
        self._free_bytes = min(
            2 * limits.json_depth_max, limits.json_keys_max, limits.json_integer_digits_max
        )
        """A body up to this size can't break any of the three."""

    def decode(self, body: bytes) -> Json:
        """Plain JSON within depth, members and digits. Raises Fault INVALID_JSON."""
        if len(body) > self._free_bytes:
            self._check(body)
        try:
            return _decode(body)
        except REFUSED:
            raise Fault(FaultKind.INVALID_JSON, "not JSON") from None

    def _check(self, body: bytes) -> None:
        if not json_scan.few(body, self._depth_max, self._keys_max):
            check_bounds(body, self._limits)
        elif len(body) > self._digits_max:
            check_numbers(body, self._limits)

    def one(self, body: bytes) -> User:
        """The user of a single evaluation; {} for an anonymous one."""
        document = self.decode(body)
        if not isinstance(document, dict):
            invalid('"user" must be an object.')
        return self.user(document, body)

    def many(self, body: bytes) -> tuple[list[str], User]:
        """Keys as sent, and the user."""
        document = self.decode(body)
        if not isinstance(document, dict) or "keys" not in document:
            invalid('"keys" field is required.')
        sent = document["keys"]
        if not isinstance(sent, list):
            invalid('"keys" must be a list.')
        keys = [key for key in sent if isinstance(key, str)]
        if len(keys) != len(sent):
            invalid('"keys" must be a list of strings.')
        return keys, self.user(document, body)

    def prepared(
        self, lists: PreparedLists, body: bytes, *, client: bool
    ) -> tuple[PreparedList, User] | None:
        """A list of keys that was asked for before, and the user; None: read the body."""
        found = LISTED.take(lists, body, client=client)
        if found is None or "keys" in found[1]:
            return None
        self._check(body)
        return found[0], self.user(found[1], body)

    def user(self, document: JsonObject, body: bytes) -> User:
        user = document.get("user")
        if user is None:
            return {}
        if not isinstance(user, dict):
            invalid('"user" must be an object.')
        custom = user.get("custom_data")
        if isinstance(custom, dict) and int in map(type, custom.values()):
            _read_as_doubles(custom)
        if len(body) > self._limits.json_string_bytes_max:
            _refuse_long_texts(user, self._limits.json_string_bytes_max)
        checked: User = user
        return checked

    def events(self, body: bytes) -> list[Json]:
        """The batch, its events unchecked."""
        document = self.decode_batch(body)
        if not isinstance(document, dict) or "events" not in document:
            invalid('"events" field is required.')
        events = document["events"]
        if not isinstance(events, list):
            invalid('"events" must be a list.')
        batch: list[Json] = events
        for event in batch:
            if isinstance(event, dict) and len(event) > self._keys_max:
                raise Fault(FaultKind.INVALID_JSON, "too many members")
        return batch

    def decode_batch(self, body: bytes) -> Json:
        """As `decode`, for a body whose brackets and members are many because its events are."""
        if len(body) > self._free_bytes:
            check_bounds(body, self._limits, batch=True)
        try:
            return _decode(body)
        except REFUSED:
            raise Fault(FaultKind.INVALID_JSON, "not JSON") from None


def _values(user: User) -> list[Json]:
    custom = user.get("custom_data")
    return [*user.values(), *(custom.values() if isinstance(custom, dict) else ())]


def _read_as_doubles(custom: JsonObject) -> None:
    """Integers beyond 64 bits, in place."""
    for key, value in custom.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            custom[key] = double = canonical.double(value)
            if not math.isfinite(double):
                invalid('"user" must not hold numbers beyond a double.')


def _refuse_long_texts(user: User, bytes_max: int) -> None:
    for value in _values(user):
        if isinstance(value, str) and len(value.encode()) > bytes_max:
            invalid(f'"user" must not hold texts of more than {bytes_max} bytes.')


def identity_of(user: User, where: str = "user") -> str | None:
    """Who is asked for: the id, else the email; None for an anonymous user. A number becomes its text, in `user`
    too (docs/apis/redpennon.md: Evaluate one); for anything else Fault INVALID_SHAPE."""
    found = user.get("id")
    if not isinstance(found, str):
        found = None if found is None else _name_of(user, "id", where)
    if found:
        return str(found)
    found = user.get("email")
    if not isinstance(found, str):
        found = None if found is None else _name_of(user, "email", where)
    return str(found) if found else None


def _name_of(user: User, member: str, where: str) -> str:
    made = canonical.name(user[member])
    if made is None:
        invalid(
            f'"{where}.{member}" must be a string.'
            if where == "user"
            else f"{where}.{member} must be a string."
        )
    user[member] = made
    return made


class EventUser(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The members of a user whose types are plain; with custom_data the plain way is taken."""

    id: str | None = None
    email: str | None = None
    organisation_id: str | None = None
    ip: str | None = None
    audiences: list[str] | None = None
    app_version: str | None = None
    platform: str | None = None
    country: str | None = None


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    event: str
    variable: str
    variation: str
    user: EventUser | None = None
    value: Int64 | float | None = None
    occurred_at: str | None = None
    evaluation_trace: str | None = None
    event_id: str | None = None


class Batch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    events: list[Event]


_decode_closed = msgspec.json.Decoder(Batch).decode
NAME: Final = attrgetter("event")
TARGET: Final = attrgetter("variable", "variation")
TIME: Final = attrgetter("occurred_at")
EVENT_ID: Final = attrgetter("event_id")
MARKED: Final = attrgetter("event_id", "evaluation_trace")
NOTHING: Final = (None, None)


def feature_of(variable: str, variation: str, catalogue: Catalogue, *, client: bool) -> str | None:
    """The feature that both are of, as far as such a key may see it."""
    known = catalogue.variables.get(variable.lower())
    if known is None or (client and not known[1]):
        return None
    feature, variations = catalogue.features[known[0]]
    return feature if variation in variations else None


flat_batch: Final = quick_check(
    "events",
    Event,
    FLAT_EVENTS_MAX,
    times=["occurred_at"],
    grouped=["event", "variable", "variation"],
    noted=["event_id", "evaluation_trace", "user.id", "user.email"],
)


def read_flat_batch(body: bytes, catalogue: Catalogue, *, client: bool) -> tuple[int, list[Checked]] | None:
    """As `read_plain_batch` and `checked_of` together, for what is plain to the byte: how many events, and what
    they came to. None: ask those."""
    found = flat_batch.check(body)
    if found is None:
        return None
    count, groups, numbers, (ids, traces, users, emails) = found
    targets: list[tuple[str, str, str]] = []
    for name, variable, variation in groups:
        assert name is not None and variable is not None and variation is not None  # noqa: PT018
        feature = feature_of(variable, variation, catalogue, client=client)
        if feature is None or not name.strip():
            return None
        targets.append((name, feature, variation))
    if ids is None and traces is None:
        return count, []
    none: list[str | None] = [None] * count
    ids = none if ids is None else ids
    if max(map(len, filter(None, ids)), default=0) > EVENT_ID_CHARACTERS_MAX:
        return None
    columns = zip(numbers, ids, traces or none, users or none, emails or none, strict=True)
    return count, [
        Checked(*targets[number], event_id or None, trace, user or email or None)
        for number, event_id, trace, user, email in columns
    ]


def read_plain_batch(
    body: bytes, limits: Limits, catalogue: Catalogue, *, client: bool
) -> list[Event] | None:
    """The events where all of them are plain and pass every rule; None: look at them one by one."""
    check_batch(body, limits)
    try:
        events = _decode_closed(body).events
        if len(body) > limits.json_integer_digits_max:
            check_numbers(body, limits)
        for name in set(map(NAME, events)):
            if not name.strip():
                return None
        for variable, variation in set(map(TARGET, events)):
            if feature_of(variable, variation, catalogue, client=client) is None:
                return None
        for occurred_at in set(map(TIME, events)):
            if occurred_at is not None:
                _instant(occurred_at)
    except (*REFUSED, ValueError, Fault):
        return None
    longest = max(map(len, filter(None, map(EVENT_ID, events))), default=0)
    return events if longest <= EVENT_ID_CHARACTERS_MAX else None


def checked_of(events: list[Event], catalogue: Catalogue) -> list[Checked]:
    """The same as `check_events` gives; empty where no event has an id or a trace, as nothing else is asked."""
    if set(map(MARKED, events)) <= {NOTHING}:
        return []
    found = []
    for event in events:
        user = event.user
        feature = catalogue.features[catalogue.variables[event.variable.lower()][0]][0]
        identity = None if user is None else user.id or user.email or None
        found.append(
            Checked(
                event.event,
                feature,
                event.variation,
                event.event_id or None,
                event.evaluation_trace,
                identity,
            )
        )
    return found


class Checked(NamedTuple):
    """What de-duplication and traces need of an event that passed every rule."""

    name: str
    feature: str
    variation: str
    event_id: str | None
    trace: str | None
    user: str | None


def check_events(events: list[Json], catalogue: Catalogue, *, client: bool) -> list[Checked]:
    """The rules of docs/apis/redpennon.md: Events, event by event; the first bad event ends it. Raises Fault
    INVALID_SHAPE."""
    return [check_event(event, number, catalogue, client) for number, event in enumerate(events)]


def check_event(event: Json, number: int, catalogue: Catalogue, client: bool) -> Checked:
    """One of a batch. Raises Fault INVALID_SHAPE."""
    if not isinstance(event, dict):
        invalid(f"events[{number}] must be an object.")
    called, variable, variation = event.get("event"), event.get("variable"), event.get("variation")
    if not isinstance(called, str) or not called.strip():
        invalid(f"events[{number}].event is required.")
    if not isinstance(variable, str) or not variable.strip():
        invalid(f"events[{number}].variable is required.")
    if not isinstance(variation, str) or not variation.strip():
        invalid(f"events[{number}].variation is required.")
    known = catalogue.variables.get(variable.lower())
    if known is None or (client and not known[1]):
        invalid(f"events[{number}].variable resolves to unknown variable.")
    feature, variations = catalogue.features[known[0]]
    if variation not in variations:
        invalid(f"events[{number}].variation is not defined on feature.")
    user = event.get("user")
    if user is not None and not isinstance(user, dict):
        invalid(f"events[{number}].user must be an object.")
    value = event.get("value")
    if value is not None and not _is_number(value):
        invalid(f"events[{number}].value must be numeric when set.")
    _check_time(event.get("occurred_at"), number)
    event_id = event.get("event_id")
    if event_id is not None:
        if not isinstance(event_id, str):
            invalid(f"events[{number}].event_id must be a string.")
        if len(event_id) > EVENT_ID_CHARACTERS_MAX:
            invalid(f"events[{number}].event_id must be at most {EVENT_ID_CHARACTERS_MAX} characters.")
    trace = event.get("evaluation_trace")
    return Checked(
        called,
        feature,
        variation,
        event_id or None,
        trace if isinstance(trace, str) else None,
        identity_of(user, f"events[{number}].user") if user else None,
    )


def _is_number(value: Json) -> bool:
    held = canonical.number(value)
    return held is not None and math.isfinite(held)


def _check_time(occurred_at: Json, number: int) -> None:
    if occurred_at is None:
        return
    if isinstance(occurred_at, str):
        try:
            _instant(occurred_at)
            return
        except ValueError:
            pass
    invalid(f"events[{number}].occurred_at must be ISO-8601 when set.")
