"""Cargo's version requirements with one comparator, as SemverGte, SemverTilde and SemverCaret make them.

The engine puts `>=`, `~` or `^` before the rule's version and reads the result as a requirement of Rust's
semver crate (docs/apis/stitchd.md: Conditions): minor and patch may be left out or be a wildcard, a
pre-release needs all three numbers, build metadata is read over. A version with a pre-release satisfies a
requirement only if that names a pre-release of the same three numbers; the bounds below count on this
(1.3.0-a lies under 1.3.0).
"""

from __future__ import annotations

import re
from typing import Final

from fanion.model.program import Comparator, Version
from fanion.model.text import parse_version

GTE: Final = "SemverGte"
TILDE: Final = "SemverTilde"
CARET: Final = "SemverCaret"

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PARTIAL: Final = re.compile(
    rf"({_NUMBER})(?:\.(?:({_NUMBER})(?:\.(?:[*xX]))?|[*xX](?:\.[*xX])?))?",
    re.ASCII,
)
_UINT64_MAX: Final = 2**64 - 1


def comparator(op: str, text: str) -> Comparator | None:
    """The bounds of `op` (GTE, TILDE or CARET) and a version; None where Cargo can't read it."""
    trimmed = text.strip(" ")
    version = parse_version(trimmed)
    if version is not None:
        named = (version.major, version.minor, version.patch)
        low = Version(*named, pre=version.pre)
        return Comparator(low, _high(op, *named), named if version.pre else None)
    partial = _PARTIAL.fullmatch(trimmed)
    if partial is None:
        return None
    major, minor = int(partial[1]), None if partial[2] is None else int(partial[2])
    if max(major, minor or 0) > _UINT64_MAX:
        return None
    return Comparator(Version(major, minor or 0, 0), _high(op, major, minor, None))


def _high(op: str, major: int, minor: int | None, patch: int | None) -> Version | None:
    """The first version that is too high; None where there is no bound (or none that numbers can say)."""
    if op == GTE:
        return None
    numbers: tuple[int, int | None, int | None]
    if op == TILDE:
        numbers = (major, None, None) if minor is None else (major, minor, None)
    elif major or minor is None:
        numbers = (major, None, None)
    elif minor or patch is None:
        numbers = (major, minor, None)
    else:
        numbers = (major, minor, patch)
    return _after(*numbers)


def _after(major: int, minor: int | None, patch: int | None) -> Version | None:
    """The lowest release above all that begin with these numbers, carried over at the end of 64 bits."""
    if minor is not None and patch is not None and patch < _UINT64_MAX:
        return Version(major, minor, patch + 1)
    if minor is not None and minor < _UINT64_MAX:
        return Version(major, minor + 1, 0)
    return Version(major + 1, 0, 0) if major < _UINT64_MAX else None
