"""Definitions with one thing wrong: what the fuzz tests of documents do to good ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((document, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


def mutate(chance: random.Random, document: Any, junk: Sequence[Any]) -> None:
    """Takes away, renames, copies from elsewhere, or puts junk in, at one place."""
    container, key = chance.choice(places(document))
    pick = chance.randrange(5)
    if pick == 0 and isinstance(container, dict):
        del container[key]
    elif pick == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    elif pick == 2:
        other, other_key = chance.choice(places(document))
        container[key] = copy.deepcopy(other[other_key])
    else:
        container[key] = copy.deepcopy(chance.choice(junk))
