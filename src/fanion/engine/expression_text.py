"""Rules of text that steps have from ECMAScript (numbers in text, UTF-16 units, paths); versions; CBOR.

Plain Python on purpose, for the twin; the compiled core has its own C for the same rules.
"""

from __future__ import annotations

import math
import re
import struct

from fanion.model.program import Version
from fanion.model.text import compare_precedence, ecmascript_number, parse_version

_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INFINITY = re.compile(r"[+-]?Infinity")
_PARTIAL = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_HALVES = re.compile("[\ud800-\udfff]")
_RADIX = {"x": 16, "o": 8, "b": 2}
VERSION_UNITS_MAX = 256
VERSION_NUMBER_MAX = 2**53 - 1


def decimal_text(number: float) -> str:
    """A number as ECMAScript writes it."""
    if number != number:
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return ecmascript_number(number)


def number_in(text: str) -> float:
    """What ECMAScript's Number makes of a text; digits of other bases add up one by one."""
    trimmed = text.strip(_SPACE)
    if not trimmed:
        return 0.0
    if _DECIMAL.fullmatch(trimmed):
        return float(trimmed)
    if _INFINITY.fullmatch(trimmed):
        return -math.inf if trimmed[0] == "-" else math.inf
    base = _RADIX.get(trimmed[1:2].lower()) if trimmed[0] == "0" else None
    digits = trimmed[2:]
    if base is None or not digits or not digits.isascii():
        return math.nan
    total = 0.0
    for digit in digits.lower():
        value = "0123456789abcdef".find(digit)
        if not 0 <= value < base:
            return math.nan
        total = total * base + value
    return total


def utf16(text: str) -> bytes:
    """What texts are ordered by."""
    return text.encode("utf-16-be")


def text_units(text: str) -> int:
    return len(utf16(text)) // 2


def part_of_text(text: str, start: float, length: float | None = None) -> str:
    """UTF-16 units from `start` (below 0: from the end), `length` of them or, below 0, all but so many at the end.
    Half of a pair that was cut is U+FFFD."""
    units = utf16(text)
    size = len(units) // 2
    begin = _whole(start)
    begin = max(size + begin, 0) if begin < 0 else min(begin, size)
    if length is None:
        end: float = size
    elif length < 0:
        end = begin + max(_whole(size - begin + length), 0)
    else:
        end = min(begin + _whole(length), size)
    piece = units[2 * int(begin) : 2 * int(end)].decode("utf-16-be", "surrogatepass")
    return _HALVES.sub("\ufffd", piece)


def _whole(number: float) -> float:
    """ECMAScript's ToIntegerOrInfinity."""
    return 0 if number != number else number if math.isinf(number) else math.trunc(number)


def path_parts(path: str) -> list[str]:
    r"""The names of a path, between dots; `\.`, `\/` and `\\` stand for the second character. "." is one empty
    name, "" none."""
    parts: list[str] = []
    current = ""
    at = 0
    while at < len(path):
        one = path[at]
        at += 1
        if one == "\\":
            if path[at : at + 1] in (".", "/", "\\"):
                one = path[at]
                at += 1
            current += one
        elif one == ".":
            parts.append(current)
            current = ""
        else:
            current += one
    if len(parts) != len(path):
        parts.append(current)
    return parts


def satisfies_version(left: str, operator: str, right: str) -> bool | None:
    """Whether two versions stand so to each other, build metadata not looked at; None where one or the operator
    can't be read. A `v` in front and a missing minor or patch number are allowed."""
    one, other = _version(left), _version(right)
    if one is None or other is None:
        return None
    order = compare_precedence(one, other)
    match operator:
        case "=":
            return order == 0
        case "!=":
            return order != 0
        case "<":
            return order < 0
        case "<=":
            return order <= 0
        case ">":
            return order > 0
        case ">=":
            return order >= 0
        case "^":
            return one.major == other.major
        case "~":
            return (one.major, one.minor) == (other.major, other.minor)
    return None


def _version(text: str) -> Version | None:
    text = text[1:] if text[:1] in ("v", "V") else text
    if text_units(text) > VERSION_UNITS_MAX:
        return None
    if _PARTIAL.fullmatch(text):
        text += ".0" if "." in text else ".0.0"
    text = text.strip(_SPACE)
    version = parse_version(text.removeprefix("v"))
    if version is None or max(version.major, version.minor, version.patch) > VERSION_NUMBER_MAX:
        return None
    return version


def cbor_head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    return bytes([major << 5 | 27]) + number.to_bytes(8, "big")


def cbor_text(text: str) -> bytes:
    data = text.encode()
    return cbor_head(3, len(data)) + data


def cbor_number(number: float) -> bytes:
    """Whole numbers within 64 bits are integers; others the shortest float that keeps the value."""
    if number.is_integer() and -(2.0**63) <= number < 2.0**64:
        whole = int(number)
        return cbor_head(0, whole) if whole >= 0 else cbor_head(1, -1 - whole)
    if number != number:
        return b"\xf9\x7e\x00"
    for code, layout in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(layout, number)
        except OverflowError:
            continue
        if struct.unpack(layout, packed)[0] == number:
            return code + packed
    return b"\xfb" + struct.pack(">d", number)
