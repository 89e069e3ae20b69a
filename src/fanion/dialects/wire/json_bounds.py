"""How far a JSON body may go, and where a decoder's refusal points.

The decoders stop by themselves at about 1,000 levels and in well under a millisecond; the bounds here are
tighter and the same for every API. They cost nothing on the usual path: a body that a struct without unknown
members accepts can't nest deeper or hold more than its types say, so only bodies that such a struct refuses, and
large batches that no quick check knew, are scanned (`check_bounds`), natively and before anything is built of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

import msgspec

from fanion._core import json_scan
from fanion.config import Limits
from fanion.dialects.wire.fault import Fault, FaultKind

REASON_CHARS_MAX = 300
MISSING_FIELD = re.compile(r"^Object missing required field `([^`]*)`")
PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
read_all = msgspec.json.Decoder().decode
"""Reads all that stands in a document. A decoder that skips a member doesn't convert what is in it: for bodies
with members that a typed decoder skipped, so that a number beyond a double is refused there too."""


def check_bounds(body: bytes, limits: Limits, *, batch: bool = False) -> None:
    """Refuse nesting above `json_depth_max`, objects of more than `json_keys_max` members, numbers of more than
    `json_integer_digits_max` digits or beyond a double, and more names and values in all than `json_tokens_max`
    (`batch`: `ingest_json_tokens_max`), where a number with a large exponent, or a long one, counts as many. One
    native pass, 1 to 6 ns a byte, that ends at the first of them. Raises Fault INVALID_JSON.

    The decoder doesn't convert a number that it skips (see `read_all`)."""
    tokens_max = limits.ingest_json_tokens_max if batch else limits.json_tokens_max
    verdict = json_scan.scan(
        body, limits.json_depth_max, limits.json_keys_max, limits.json_integer_digits_max, tokens_max
    )
    if verdict != json_scan.WITHIN:
        refuse(REASONS[verdict].format(limits=limits, tokens_max=tokens_max))


def is_within(body: bytes, limits: Limits, *, batch: bool) -> bool:
    """Whether `check_bounds` passes it."""
    try:
        check_bounds(body, limits, batch=batch)
    except Fault:
        return False
    return True


REASONS = {
    json_scan.TOO_DEEP: "nested deeper than {limits.json_depth_max} levels",
    json_scan.TOO_MANY_MEMBERS: "an object has more than {limits.json_keys_max} members",
    json_scan.TOO_LONG_NUMBER: "a number has more than {limits.json_integer_digits_max} digits",
    json_scan.NOT_FINITE: "a number is beyond what a double holds",
    json_scan.TOO_MANY_TOKENS: "more than {tokens_max} members and values",
    json_scan.UNBALANCED: "a bracket closes what was not opened",
}

UNSCANNED_BYTES_MAX = 16_384
"""A body up to this size is cheap to decode, but for some numbers."""
FREE_BYTES_MAX = 512
"""And up to this size whatever is in it: 1 ms at most."""


class Condensed(Exception):  # noqa: N818  # a turn on the way, no error
    """A large body says the same in much fewer bytes, `body`: the handler is to be asked again with those. Raised
    only where a body is read, when nothing was done for it yet; what is condensed is never condensed again."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


def check_body(body: bytes, limits: Limits, *, batch: bool = False) -> bytes:
    """The bounds of a body above `FREE_BYTES_MAX`, before a decoder builds anything of it: all of them where it is
    large, else where it holds a number that a decoder may be slow at. Raises Fault INVALID_JSON.

    Returns what is to be read: of a large body that is mostly blanks or escapes the same in fewer bytes."""
    if len(body) > UNSCANNED_BYTES_MAX:
        body = _condensed(body) or body
        check_bounds(body, limits, batch=batch)
    elif json_scan.exponents(body, 0):
        check_bounds(body, limits, batch=batch)
    return body


def check_once(body: bytes, limits: Limits, *, batch: bool = False) -> None:
    """`check_bounds` for a handler that looks for the bounds itself. Raises Condensed where less is to be read."""
    if len(body) > UNSCANNED_BYTES_MAX and (condensed := _condensed(body)) is not None:
        raise Condensed(condensed)
    check_bounds(body, limits, batch=batch)


def _condensed(body: bytes) -> bytes | None:
    """Raises Fault INVALID_JSON for text that is mostly halves of surrogate pairs: no decoder reads it, and so much
    isn't mended."""
    condensed = json_scan.condense(body)
    if condensed == b"":
        refuse(f"more than {json_scan.HALVES_MAX} halves of surrogate pairs")
    return condensed


def check_batch(body: bytes, limits: Limits) -> None:
    """As `check_body`, for a batch that no quick check knew. Raises Condensed too."""
    if len(body) > UNSCANNED_BYTES_MAX:
        check_once(body, limits, batch=True)
    elif len(body) > FREE_BYTES_MAX and json_scan.exponents(body, 0):
        check_bounds(body, limits, batch=True)


def surely_few(body: bytes, limits: Limits) -> bool:
    """Whether a batch can't hold too many names and values, numbers that count as many aside: a native judge of its
    items sees those, and every other bound. Raises Condensed as `check_batch` does where that is to be asked first.
    A fifth of a nanosecond a byte."""
    most = limits.ingest_json_tokens_max
    if len(body) <= most:  # each has a byte
        return True
    if len(body) > UNSCANNED_BYTES_MAX and (condensed := _condensed(body)) is not None:
        raise Condensed(condensed)
    return json_scan.tokens_at_most(body, most) <= most


def check_slow_numbers(body: bytes, limits: Limits) -> None:
    """Refuse numbers that a decoder may be slow at, where they alone count as too many; for small batches in which
    a bad event costs only itself. Raises Fault INVALID_JSON."""
    most = limits.ingest_json_tokens_max
    if len(body) > FREE_BYTES_MAX and json_scan.exponents(body, most) > most:
        refuse(REASONS[json_scan.TOO_MANY_TOKENS].format(tokens_max=most))


def short_numbers(body: bytes, limits: Limits) -> bool:
    """Whether no number has more than `json_integer_digits_max` digits, and where one might, no other bound is
    broken either."""
    most = limits.json_integer_digits_max
    if len(body) <= most or not json_scan.long_number(body, most):
        return True
    try:
        check_bounds(body, limits, batch=True)  # text may look like a number; this one tells them apart
    except Fault:
        return False
    return True


def check_numbers(body: bytes, limits: Limits) -> None:
    """Refuse a number of more than `json_integer_digits_max` digits; for bodies whose decoder had a float in
    them (integers are bounded by their type)."""
    if json_scan.long_number(body, limits.json_integer_digits_max):
        check_bounds(body, limits)


def refuse(reason: str) -> NoReturn:
    raise Fault(FaultKind.INVALID_JSON, f"The request body is not acceptable JSON: {reason}.")


def place_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path in the document (e.g. `events[3].reason`, empty for the document itself) and the reason, cut where
    it quotes a long text of the client's."""
    text = str(error)
    return _place_in(text) if len(text) <= REASON_CHARS_MAX else _place_in.__wrapped__(text)


@lru_cache(maxsize=256)
def _place_in(text: str) -> tuple[str, str]:
    """A thousand items of a batch are mostly wrong in a few ways."""
    place = PLACE.search(text)
    path = place.group(1) if place else ""
    reason = text[: place.start()] if place else text
    missing = MISSING_FIELD.match(reason)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        reason = "Required"
    return path, reason if len(reason) <= REASON_CHARS_MAX else f"{reason[: REASON_CHARS_MAX - 1]}…"
