"""Rules of text that definition sources, compiler and reference twin share: numbers to text, SemVer; and counts.

Plain Python on purpose: the compiled core has its own C for the same rules, held equal by property tests.
"""

from __future__ import annotations

import re
from typing import Any

from fanion.model.program import Version

_NUMERIC = r"0|[1-9][0-9]*"
_PRE = rf"(?:{_NUMERIC}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMERIC})\.({_NUMERIC})\.({_NUMERIC})"
    rf"(?:-({_PRE}(?:\.{_PRE})*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPACE = " \t\n\r\f\v"
_UINT64_MAX = 2**64 - 1


def _digits(number: float) -> tuple[str, str, int]:
    """Sign, shortest round-trip digits, and the n of 0.DIGITS × 10**n (ECMA-262, Number::toString)."""
    sign, text = ("-", repr(-number)) if number < 0 else ("", repr(number))
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + (int(exponent) if exponent else 0)
    if whole == "0":
        point -= len(fraction) - len(fraction.lstrip("0")) + 1
    return sign, digits.rstrip("0") or "0", point


def ecmascript_number(number: float) -> str:
    """A finite double as ECMAScript writes it: 1.0 -> "1", -0.0 -> "0", 1e21 -> "1e+21"."""
    if number == 0:
        return "0"
    sign, digits, point = _digits(number)
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    exponent = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"{sign}{digits[0]}{'.' + digits[1:] if count > 1 else ''}{exponent}"


def plain_decimal(number: float) -> str:
    """A finite double in the shortest round-trip digits, never with an exponent: 1.0 -> "1", -0.0 -> "-0"."""
    if number == 0:
        return "-0" if str(number).startswith("-") else "0"
    sign, digits, point = _digits(number)
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    if point > 0:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    return f"{sign}0.{'0' * -point}{digits}"


def parse_decimal(text: str) -> float | None:
    """A decimal number after trimming ASCII white space; None where the text is anything else."""
    trimmed = text.strip(_SPACE)
    return float(trimmed) if _DECIMAL.fullmatch(trimmed) else None


def parse_version(text: str) -> Version | None:
    """A full SemVer 2.0 version whose numbers fit 64 unsigned bits, else None."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = (int(match[n]) if len(match[n]) <= 20 else _UINT64_MAX + 1 for n in (1, 2, 3))
    if max(major, minor, patch) > _UINT64_MAX:
        return None
    return Version(major, minor, patch, pre=match[4] or "", build=match[5] or "")


def _compare(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _compare_identifiers(left: str, right: str, *, zeros: bool) -> int:
    """Dot-separated identifiers: numeric before text, numeric by value, fewer before more.

    `zeros`: leading zeros are allowed and break ties (build metadata), as Rust's semver orders them.
    """
    lefts, rights = left.split("."), right.split(".")
    for one, other in zip(lefts, rights, strict=False):
        numeric = all(c in "0123456789" for c in one), all(c in "0123456789" for c in other)
        if numeric == (True, True):
            values = (one.lstrip("0"), other.lstrip("0")) if zeros else (one, other)
            order = _compare((len(values[0]), values[0], len(one)), (len(values[1]), values[1], len(other)))
        elif numeric == (False, False):
            order = _compare(one, other)
        else:
            order = -1 if numeric[0] else 1
        if order:
            return order
    return _compare(len(lefts), len(rights))


def compare_precedence(left: Version, right: Version) -> int:
    """-1, 0 or 1 by SemVer 2.0 precedence (build metadata not looked at)."""
    order = _compare((left.major, left.minor, left.patch), (right.major, right.minor, right.patch))
    if order:
        return order
    if not left.pre or not right.pre:
        return _compare(not left.pre, not right.pre)
    return _compare_identifiers(left.pre, right.pre, zeros=False)


def compare_versions(left: Version, right: Version) -> int:
    """Precedence, then build metadata: the total order of Rust's semver."""
    return compare_precedence(left, right) or _compare_identifiers(left.build, right.build, zeros=True)


def counted(number: int, noun: str) -> str:
    """ "1 flag", "1,000 flags"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
