"""What somebody may have meant by a name that isn't there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Words to end a refusal with, or none."""
    return "".join(f"; did you mean {found}?" for found in difflib.get_close_matches(name, list(names), n=1))
