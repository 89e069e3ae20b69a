"""How far a JSON body may go, and where a decoder's refusal points.

The decoders stop by themselves at about 1,000 levels and in well under a millisecond; the bounds here are
tighter and the same for every API. They cost nothing on the usual path: a body that a struct without unknown
members accepts can't nest deeper or hold more than its types say, so only bodies that such a struct refuses
are scanned (`check_bounds`), and only in pure Python.
"""

from __future__ import annotations

import math
import re
from typing import NoReturn

import msgspec

from fanion.config import Limits
from fanion.dialects.wire.dialect import Fault, Kind

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"(\s*+:)?|[\[\]{}]|-?[0-9][0-9.eE+-]*+', re.DOTALL)
"""Strings (group 1: a member's name), brackets and numbers. An unfinished string matches nothing: the decoder
refuses it anyway."""

REASON_CHARS_MAX = 300
NUMBER_BYTES = b"0123456789.eE+-"
MISSING_FIELD = re.compile(r"^Object missing required field `([^`]*)`")
PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
TOKENS_MAX = 65_536
"""Names, strings, numbers and brackets of one body that are looked at; about 10 ms."""

read_all = msgspec.json.Decoder().decode
"""Reads all that stands in a document. A decoder that skips a member doesn't convert what is in it: for bodies
with members that a typed decoder skipped, so that a number beyond a double is refused there too."""


def check_bounds(body: bytes, limits: Limits) -> None:
    """Refuse nesting above `json_depth_max`, objects of more than `json_keys_max` members and numbers of more
    than `json_integer_digits_max` digits or beyond a double; ends at the first of them. Raises Fault
    INVALID_JSON.

    The decoder doesn't convert a number that it skips (see `read_all`)."""
    depth = 0
    members = [0]
    for count, token in enumerate(TOKENS.finditer(body)):
        if count == TOKENS_MAX:
            refuse(f"more than {TOKENS_MAX} members and values")
        text = token.group()
        if text[0] == 0x22:
            if token.group(1) is not None:
                members[-1] += 1
                if members[-1] > limits.json_keys_max:
                    refuse(f"an object has more than {limits.json_keys_max} members")
        elif text in (b"[", b"{"):
            depth += 1
            members.append(0)
            if depth > limits.json_depth_max:
                refuse(f"nested deeper than {limits.json_depth_max} levels")
        elif text in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                refuse("a bracket closes what was not opened")
            members.pop()
        elif len(text) > limits.json_integer_digits_max:
            refuse(f"a number has more than {limits.json_integer_digits_max} digits")
        elif (b"e" in text or b"E" in text) and not _is_finite(text):
            refuse("a number is beyond what a double holds")


def _is_finite(number: bytes) -> bool:
    """Also true for what is no number: that is the decoder's to refuse."""
    try:
        return math.isfinite(float(number))
    except ValueError:
        return True


def check_numbers(body: bytes, limits: Limits) -> None:
    """Refuse a number of more than `json_integer_digits_max` digits; for bodies whose decoder had a float in
    them (integers are bounded by their type). A longer number covers one of the windows looked at whole."""
    window = limits.json_integer_digits_max // 2
    if any(
        not body[start : start + window].strip(NUMBER_BYTES) for start in range(0, len(body) - window, window)
    ):
        check_bounds(body, limits)  # text may look like a number; this one tells them apart


def refuse(reason: str) -> NoReturn:
    raise Fault(Kind.INVALID_JSON, f"The request body is not acceptable JSON: {reason}.")


def place_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path in the document (e.g. `events[3].reason`, empty for the document itself) and the reason, cut where
    it quotes a long text of the client's."""
    text = str(error)
    place = PLACE.search(text)
    path = place.group(1) if place else ""
    reason = text[: place.start()] if place else text
    missing = MISSING_FIELD.match(reason)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        reason = "Required"
    return path, reason if len(reason) <= REASON_CHARS_MAX else f"{reason[: REASON_CHARS_MAX - 1]}…"
