"""What is printed is text: no character of it reaches a terminal as a command, or turns the line around.

Names of events, flags and keys are other people's: one that has an escape sequence could set a terminal's title,
fill its clipboard or hide a line. Control characters, and those that change the direction of what follows, are
written as `\\u001b`, which within JSON means the same. Every command prints through here; arguments in click's own
messages are the caller's own words.
"""

from __future__ import annotations

import click

from fanion.model.printable import printable


def is_text(text: str) -> bool:
    """No byte of it came from an argument or a variable that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable_json(line: bytes) -> bytes:
    """The same of a JSON document in UTF-8, which stays the same document."""
    if line.isascii() and b"\x7f" not in line:
        return line  # JSON has no other control characters
    return printable(line.decode()).encode()


def echo(text: str, *, err: bool = False, red: bool = False) -> None:
    """A line on standard output, or on standard error. `red`: on a terminal."""
    click.secho(printable(text), err=err, fg="red" if red else None)
