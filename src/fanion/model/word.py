"""The base of the words that programs, answers and bundles are made of: numbers with names."""

from __future__ import annotations

import enum


class Word(enum.IntEnum):
    """An enumeration's own hash is a Python function, and these are looked up for every answer of every flag."""

    __hash__ = int.__hash__
