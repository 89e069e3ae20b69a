"""ECMAScript patterns (no flags, web-compatible grammar) translated to RE2 syntax.

What matches is the same, except that RE2 walks code points where ECMAScript walks UTF-16 units. Look-around,
back-references and lone surrogates have no equivalent in a linear-time engine, and modifiers in a group
aren't translated: `UnsupportedPattern`. What ECMAScript itself refuses: `InvalidPattern`. Every character is
written by its number, so that nothing that only RE2 gives a meaning slips through.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

Ranges = list[tuple[int, int]]

LAST: Final = 0x10FFFF
SPACES: Final[Ranges] = [
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
]
DIGITS: Final[Ranges] = [(0x30, 0x39)]
WORDS: Final[Ranges] = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
LINE_ENDS: Final[Ranges] = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
CONTROLS: Final = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}

_QUANTIFIER = re.compile(r"[*+?]|\{([0-9]+)(,([0-9]*))?\}", re.ASCII)
_NAMED_GROUP = re.compile(r"\(\?<([A-Za-z_$][A-Za-z0-9_$]*)>", re.ASCII)


class InvalidPattern(Exception):  # noqa: N818  # what it is, in a warning's words
    """No ECMAScript pattern."""


class UnsupportedPattern(Exception):  # noqa: N818
    """A pattern that a linear-time engine can't run."""


class _Item(NamedTuple):
    """A character, or where `ranges` is set a class escape."""

    character: int
    ranges: Ranges | None = None


def complement(ranges: Ranges) -> Ranges:
    """All that the (sorted) ranges leave out."""
    found: Ranges = []
    start = 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        found.append((start, LAST))
    return found


CLASSES: Final[dict[str, Ranges]] = {
    "d": DIGITS,
    "D": complement(DIGITS),
    "w": WORDS,
    "W": complement(WORDS),
    "s": SPACES,
    "S": complement(SPACES),
}


def translate(pattern: str) -> str:
    """The pattern in RE2 syntax. Raises InvalidPattern or UnsupportedPattern."""
    return _Translator(pattern).run()


class _Translator:
    """One walk from left to right; `quantifiable` says whether a quantifier may stand here."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        self.open = 0
        self.quantifiable = False
        self.groups, self.names = _count_groups(pattern)

    def run(self) -> str:
        while self.at < len(self.pattern):
            self.step()
        if self.open:
            raise InvalidPattern("a group is not closed")
        return "".join(self.out)

    def step(self) -> None:
        character = self.pattern[self.at]
        match = _QUANTIFIER.match(self.pattern, self.at)
        if match:
            self.quantifier(match)
            return
        self.at += 1
        match character:
            case "^":
                self.assertion(r"\A")
            case "$":
                self.assertion(r"\z")
            case "|":
                self.assertion("|")
            case "(":
                self.group()
            case ")":
                if not self.open:
                    raise InvalidPattern("a group is closed that was not opened")
                self.open -= 1
                self.atom(")")
            case ".":
                self.atom(_class(LINE_ENDS, negated=True))
            case "[":
                self.character_class()
            case "\\":
                self.escape()
            case _:
                self.atom(_written(ord(character)))

    def atom(self, text: str) -> None:
        self.out.append(text)
        self.quantifiable = True

    def assertion(self, text: str) -> None:
        self.out.append(text)
        self.quantifiable = False

    def quantifier(self, match: re.Match[str]) -> None:
        if not self.quantifiable:
            raise InvalidPattern("nothing to repeat")
        low, comma, high = match.groups()
        if low is not None and comma and high and int(low) > int(high):
            raise InvalidPattern("numbers out of order in a quantifier")
        self.at = match.end()
        lazy = "?" if self.pattern.startswith("?", self.at) else ""
        self.at += len(lazy)
        self.assertion(match.group() + lazy)

    def group(self) -> None:
        rest = self.pattern[self.at : self.at + 3]
        named = _NAMED_GROUP.match(self.pattern, self.at - 1)
        if rest.startswith(("?=", "?!", "?<=", "?<!")):
            raise UnsupportedPattern("look-around")
        if rest.startswith("?:"):
            self.at += 2
        elif named:
            self.at = named.end()
        elif rest.startswith("?"):
            if re.match(r"\?[ims]*-?[ims]*:", self.pattern[self.at :]):
                raise UnsupportedPattern("modifiers of a group")
            raise InvalidPattern("an unknown kind of group")
        self.open += 1
        self.assertion("(?:")

    def escape(self) -> None:
        """Behind a backslash, outside of a class."""
        if self.at == len(self.pattern):
            raise InvalidPattern("a backslash at the end")
        character = self.pattern[self.at]
        if character in "bB":
            self.at += 1
            self.assertion(f"\\{character}")
            return
        if character == "k" and self.names:
            raise UnsupportedPattern("a back-reference")
        if character in "123456789":
            number = re.match("[0-9]+", self.pattern[self.at :])
            if number and int(number.group()) <= self.groups:
                raise UnsupportedPattern("a back-reference")
        item = self.escaped()
        self.atom(_written(item.character) if item.ranges is None else _class(item.ranges))

    def escaped(self, in_class: bool = False) -> _Item:
        """What a backslash and the following characters stand for, in a class or out of it."""
        character = self.pattern[self.at]
        self.at += 1
        if character in CLASSES:
            return _Item(0, CLASSES[character])
        if character in CONTROLS:
            return _Item(CONTROLS[character])
        if character == "b" and in_class:
            return _Item(0x08)
        if character == "c":
            control = self.pattern[self.at : self.at + 1]
            if re.fullmatch("[A-Za-z0-9_]" if in_class else "[A-Za-z]", control):
                self.at += 1
                return _Item(ord(control) % 32)
            self.at -= 1
            return _Item(ord("\\"))
        if character in "01234567":
            return _Item(self.octal())
        if character == "x":
            return _Item(self.hexadecimal(2) if self.hex_ahead(2) else ord("x"))
        if character == "u" and self.hex_ahead(4):
            return _Item(self.unit())
        return _Item(ord(character))

    def octal(self) -> int:
        """A legacy octal escape, up to \\377; `\\0` alone is NUL."""
        self.at -= 1
        digits = re.match("[0-3]?[0-7]{1,2}", self.pattern[self.at :])
        assert digits is not None
        self.at += digits.end()
        return int(digits.group(), 8)

    def hex_ahead(self, digits: int) -> bool:
        text = self.pattern[self.at : self.at + digits]
        return re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", text) is not None

    def hexadecimal(self, digits: int) -> int:
        text = self.pattern[self.at : self.at + digits]
        self.at += digits
        return int(text, 16)

    def unit(self) -> int:
        """`\\uXXXX`; a pair of surrogates is one character."""
        first = self.hexadecimal(4)
        if 0xD800 <= first < 0xDC00 and self.pattern.startswith("\\u", self.at):
            self.at += 2
            if self.hex_ahead(4):
                second = self.hexadecimal(4)
                if 0xDC00 <= second < 0xE000:
                    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
        if 0xD800 <= first < 0xE000:
            raise UnsupportedPattern("half of a surrogate pair")
        return first

    def character_class(self) -> None:
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        ranges: Ranges = []
        while True:
            item = self.class_item()
            if item is None:
                break
            if not self.pattern.startswith("-", self.at) or self.pattern.startswith("-]", self.at):
                ranges += item.ranges or [(item.character, item.character)]
                continue
            self.at += 1
            last = self.class_item()
            assert last is not None
            if item.ranges is None and last.ranges is None:
                if item.character > last.character:
                    raise InvalidPattern("a range out of order")
                ranges.append((item.character, last.character))
            else:  # with a class escape at an end, the hyphen is one of the characters
                for one in (item, _Item(ord("-")), last):
                    ranges += one.ranges or [(one.character, one.character)]
        self.atom(_class(ranges, negated=negated))

    def class_item(self) -> _Item | None:
        """The next member of a class; None at its end."""
        if self.at == len(self.pattern):
            raise InvalidPattern("a class is not closed")
        character = self.pattern[self.at]
        self.at += 1
        if character == "]":
            return None
        if character != "\\":
            return _Item(ord(character))
        if self.at == len(self.pattern):
            raise InvalidPattern("a backslash at the end")
        return self.escaped(in_class=True)


def _count_groups(pattern: str) -> tuple[int, bool]:
    """How many groups capture, and whether one has a name: both decide what `\\1` and `\\k` mean."""
    count, names, in_class, at = 0, False, False, 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            in_class = True
        elif character == "]":
            in_class = False
        elif character == "(" and not in_class:
            named = _NAMED_GROUP.match(pattern, at) is not None
            names |= named
            count += named or not pattern.startswith("?", at + 1)
        at += 1
    return count, names


def _written(character: int) -> str:
    return f"\\x{{{character:X}}}"


def _class(ranges: Ranges, negated: bool = False) -> str:
    if not ranges:
        ranges, negated = [(0, LAST)], not negated
    text = "".join(
        _written(low) if low == high else f"{_written(low)}-{_written(high)}" for low, high in ranges
    )
    return f"[{'^' if negated else ''}{text}]"
