"""What is wrong with a text that should be a document; a limit of both kinds of texts."""

from __future__ import annotations

from typing import Final

DIGITS_MAX: Final = 400
"""Of a number as it is written."""


class DocumentError(Exception):
    """The text is not a document: what was found, what is allowed. The loader turns it into a `Problem`."""

    def __init__(self, place: str, found: str, allowed: str) -> None:
        super().__init__(place, found, allowed)
        self.place, self.found, self.allowed = place, found, allowed
