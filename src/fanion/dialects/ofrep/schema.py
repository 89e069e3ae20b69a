"""OFREP's request bodies (docs/apis/ofrep.md: Contexts, All flags): `{"context":{...}}`, all of it free but the
targeting key, which is text, and one member of the context by which a client names the flags that it wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from fanion._core.prepared import ListPlace, PreparedLists
from fanion.config import Limits
from fanion.dialects.wire.bodies import REFUSED, mended
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import (
    UNSCANNED_BYTES_MAX,
    check_bounds,
    check_once,
    place_of,
    read_all,
)
from fanion.dialects.wire.prepared import PreparedPlace
from fanion.model.json_value import JsonObject

TARGETING_KEY: Final = "targetingKey"
OWN_MEMBER: Final = "fanion"
"""The context's member that is the server's own and no attribute."""
FLAGS_MAX: Final = 1_000
"""Flags that a context may name. Each is looked up by its name; who wants more asks for all."""


if TYPE_CHECKING:
    Context = JsonObject
else:
    Context = dict[str, Any]  # the decoder can't read an alias that names itself


class Request(msgspec.Struct, gc=False):
    """A body; members beside the context are skipped."""

    context: Context = {}


class Selection(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The context's own member: the flags that are asked for."""

    flags: Annotated[list[str], msgspec.Meta(max_length=FLAGS_MAX)]


class Alone(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A body that is its context, which ends with the flags that are asked for; without those."""

    context: Context


class Wanted:
    """Flags that a context names. `text`: its own member. `plans`: made with the first answer."""

    __slots__ = ("flags", "plans", "text")

    def __init__(self, flags: list[str]) -> None:
        self.flags = flags
        self.text = msgspec.Raw(msgspec.json.encode({"flags": flags}))
        self.plans: Sequence[object] | None = None


WANTED_BYTES = 500
"""Of one flag in a plan, about."""


def wanted_of(flags: list[str]) -> tuple[list[str], Wanted, int]:
    """A plan looks its names up by itself."""
    return [], Wanted(flags), WANTED_BYTES * len(flags)


LISTED: Final = PreparedPlace(
    ListPlace(b"", b'"fanion":{"flags":', b"}", b"}}"),
    Annotated[list[str], msgspec.Meta(max_length=FLAGS_MAX)],
    Alone,
    wanted_of,
)


class Who(NamedTuple):
    """A flat context. `flags` None: all of them."""

    targeting_key: str | None
    attributes: JsonObject
    flags: list[str] | None


class Bodies:
    """The decoders, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decode = msgspec.json.Decoder(Request).decode

    def context(self, body: bytes) -> JsonObject:
        """The context as it was sent; none is an empty one. Raises Fault INVALID_JSON, INVALID_SHAPE."""
        if not body:
            return {}
        if len(body) <= UNSCANNED_BYTES_MAX:  # nothing to be condensed
            try:
                check_bounds(body, self._limits)
                return self._decode(body).context
            except (Fault, *REFUSED):
                pass  # what is wrong is said, or mended, below
        try:
            return self._read(body)
        except Fault as fault:
            meant = mended(body) if fault.kind is FaultKind.INVALID_JSON else None
            if meant is None:
                raise
            return self._read(meant)

    def prepared(
        self, lists: PreparedLists, body: bytes, *, client: bool
    ) -> tuple[Wanted, JsonObject] | None:
        """Flags that were asked for together before, and the context without them; None: read the body."""
        if len(body) > UNSCANNED_BYTES_MAX:
            return None
        found = LISTED.take(lists, body, client=client)
        if found is None or OWN_MEMBER in found[1].context:
            return None
        try:
            check_bounds(body, self._limits)
        except Fault:  # halves of pairs may have to be mended first
            return None
        return found[0].extra, found[1].context

    def _read(self, body: bytes) -> JsonObject:
        check_once(body, self._limits)
        try:
            return self._decode(body).context
        except msgspec.ValidationError as error:
            read_checked(body)
            path, reason = place_of(error)
            raise Fault(FaultKind.INVALID_SHAPE, f"{path or 'The request body'}: {reason}.") from None
        except REFUSED:
            raise Fault(FaultKind.INVALID_JSON, NOT_JSON) from None


NOT_JSON: Final = "The request body is not valid JSON."


def read_checked(body: bytes) -> None:
    """A decoder that finds the wrong type says so before it has read the rest. Raises Fault INVALID_JSON."""
    try:
        read_all(body)
    except REFUSED:
        raise Fault(FaultKind.INVALID_JSON, NOT_JSON) from None


def who(context: JsonObject, flags: list[str] | None = None) -> Who:
    """A context taken apart, which is used up. `flags`: those that it named, if they were read before. Raises Fault
    INVALID_SHAPE."""
    key = context.pop(TARGETING_KEY, None) if TARGETING_KEY in context else NONE
    if key is not NONE and not isinstance(key, str):
        raise Fault(FaultKind.INVALID_SHAPE, "context.targetingKey: it must be text.")
    own = context.pop(OWN_MEMBER, None)
    if own is not None:
        try:
            flags = msgspec.convert(own, Selection).flags
        except msgspec.ValidationError as error:
            path, reason = place_of(error)
            place = f"context.{OWN_MEMBER}.{path}".rstrip(".")
            raise Fault(FaultKind.INVALID_SHAPE, f"{place}: {reason}.") from None
    return Who(key if isinstance(key, str) else None, context, flags)


NONE: Final = object()
