"""Answers for the leaves that the kernel leaves to a library: regular expressions and list membership.

Patterns run on RE2, so an answer takes time linear in the text. A pattern is compiled once per process, when
it is first asked for; one that RE2 refuses matches nothing (sources check patterns when they are published).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import re2

from fanion.model.program import Op

PATTERNS_MAX = 10_000
"""Compiled patterns that one process keeps; the least recently used go first."""
PATTERN_MEMORY_BYTES_MAX = 1 << 20
"""What RE2 may use for one compiled pattern; more is refused as too large."""


class Pattern(Protocol):
    """What `compile_pattern` gives."""

    def search(self, text: str) -> object | None: ...


Membership = Callable[[str, str], bool]
"""(list name, member) -> is it in the list?"""


def compile_pattern(pattern: str) -> Pattern:
    """A compiled pattern. Raises ValueError with RE2's own message where it can't be expressed."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    return compiled


@lru_cache(maxsize=PATTERNS_MAX)
def _searcher(pattern: str) -> Callable[[str], object | None] | None:
    try:
        return compile_pattern(pattern).search
    except ValueError:
        return None


def make_external(is_member: Membership | None = None) -> Callable[[int, str, str], bool]:
    """The function that a bundle calls for its external leaves. Without `is_member`, every list is empty."""

    def answer(op: int, operand: str, text: str) -> bool:
        if op == Op.LIST_MEMBER:
            return is_member is not None and is_member(operand, text)
        search = _searcher(operand)
        return search is not None and search(text) is not None

    return answer
