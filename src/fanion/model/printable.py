"""What of a text may be shown to people as it is: nothing that a terminal obeys, or that turns what stands beside
it around, or that nobody sees. Other people's names of events, flags and keys are shown so by commands and the
console."""

from __future__ import annotations

import re
from typing import Final

UNPRINTED: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""All control characters but tab and line feed, marks, embeddings and isolates of direction, halves of pairs, and
what nobody sees: two names that differ by that only would be shown as one. Joiners stay, which scripts need."""
NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """The text without what a terminal would obey, or what changes the direction of what follows."""
    return text if text.isprintable() else UNPRINTED.sub(_written, text)


def cell(value: object) -> object:
    """A value for a line of CSV: text that a spreadsheet would take for a formula, and that is no number, has an
    apostrophe before it."""
    formula = isinstance(value, str) and value.startswith(FORMULAS) and not NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def _written(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
