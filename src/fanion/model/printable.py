"""What of a text may be shown to people as it is: nothing that a terminal obeys, or that turns what stands beside
it around. Other people's names of events, flags and keys are shown so by commands and the console."""

from __future__ import annotations

import re
from typing import Final

UNPRINTED: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""All control characters but tab and line feed, marks, embeddings and isolates of direction, halves of pairs."""


def printable(text: str) -> str:
    """The text without what a terminal would obey, or what changes the direction of what follows."""
    return text if text.isprintable() else UNPRINTED.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
