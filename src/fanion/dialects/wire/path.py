"""Pieces of a path. The server routes paths as they came; whoever reads a name out of one decodes it here, once."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

PERCENT: Final = ord("%")
"""A number, as looking for one byte as bytes costs an exception that nobody sees."""


def decode_segment(tail: bytes) -> str | None:
    """A path segment percent-decoded once; None when it isn't UTF-8."""
    try:
        return (unquote_to_bytes(tail) if PERCENT in tail else tail).decode()
    except UnicodeDecodeError:
        return None
