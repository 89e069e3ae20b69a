"""Collects every defect of a publication, so that an author sees all of them at once.

A path is written as in the document: `flags.new-checkout.rules[2].value`; keys with other characters than
letters, digits, `_` and `-`, and those that are longer than any may be, stand in brackets and quotes, cut to
a line.
"""

from __future__ import annotations

import re
from typing import Any

from fanion.errors import DefinitionError, Problem

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_SHOWN_CHARS_MAX = 80
_REASON_CHARS_MAX = 300


class Report:
    """Problems refuse the publication; warnings are things that a source's own API gives a meaning."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, file: str, path: str, found: str, allowed: str) -> None:
        self.problems.append(Problem(file, path, found, allowed))

    def warning(self, file: str, path: str, found: str, meaning: str) -> None:
        self.warnings.append(Problem(file, path, found, meaning))

    def include(self, other: Report) -> None:
        self.problems += other.problems
        self.warnings += other.warnings

    def raise_problems(self) -> None:
        if self.problems:
            raise DefinitionError(self.problems)


class Place:
    """A place in a file that problems and warnings are said of, by their paths within it."""

    def __init__(self, report: Report, file: str, path: str) -> None:
        self.report = report
        self.file = file
        self.path = path

    def problem(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, f"{self.path}.{path}", found, allowed)

    def warning(self, path: str, found: str, meaning: str) -> None:
        self.report.warning(self.file, f"{self.path}.{path}", found, meaning)


def join(path: str, key: str) -> str:
    """The path of a member of an object."""
    if not _PLAIN.fullmatch(key):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def shown(value: Any) -> str:
    """A found value for a message: short, on one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 256:
        return "a very long number"
    return brief(repr(value))


def brief(text: str) -> str:
    """As much of a text as a message has room for."""
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[: _SHOWN_CHARS_MAX - 1]}…"


def reason(error: Exception) -> str:
    """An error of decoding for a message: short, on one line. It may quote what an author, or anyone, wrote."""
    text = " ".join(str(error).split())
    if len(text) <= _REASON_CHARS_MAX:
        return text
    # The place is at the end; what was found is before it.
    return f"{text[: _REASON_CHARS_MAX - 101]}…{text[-100:]}"
