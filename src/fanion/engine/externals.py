"""Answers for the leaves that the kernel leaves to a library: regular expressions and list membership.

Patterns run on RE2, so an answer takes time linear in the text; but where a pattern has more states than are
kept, each byte costs its whole program, so the product of both is bounded (`PATTERN_WORK_MAX`). A pattern is
compiled once per process, when it is first asked for; one that RE2 refuses matches nothing (sources check patterns
when they are published, by the same function).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2

from fanion.model.program import Op

PATTERNS_MAX = 10_000
"""Compiled patterns that one process keeps; the least recently used go first."""
PATTERN_MEMORY_BYTES_MAX = 1 << 20
"""What RE2 may use for one compiled pattern; more is refused as too large."""


PATTERN_WORK_MAX: Final = 2 << 20
"""Bytes of a text times instructions of a pattern up to which it is asked: at most some ms. A longer text matches
nothing, as one beyond `model.program`'s bound doesn't whatever the pattern."""


class Pattern:
    """A compiled pattern. `bytes_max`: of a text that it may match."""

    __slots__ = ("_search", "bytes_max")

    def __init__(self, search: Callable[[bytes], object | None], instructions: int) -> None:
        self._search = search
        self.bytes_max = PATTERN_WORK_MAX // max(instructions, 1)

    def search(self, text: str) -> object | None:
        """Something where it is found anywhere in the text."""
        data = text.encode()  # a text is encoded by the library, too, which then counts characters
        return self._search(data) if len(data) <= self.bytes_max else None


Membership = Callable[[str, str], bool]
"""(list name, member) -> is it in the list?"""


def compile_pattern(pattern: str) -> Pattern:
    """A compiled pattern. Raises ValueError with RE2's own message where it can't be expressed."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.never_capture = True  # nobody asks for groups, and finding them takes a slower way
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    return Pattern(compiled.search, compiled.programsize)


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
