"""What a kind of sink is: the settings that ask for it, what it needs, and a receiver that takes rows.

A receiver returns once all rows of a step are safe on its side, and raises SinkError for anything else; it may have
taken some of them then. It calls `turn` between its waits, each of which ends within the settings' `timeout_s`. It
keeps no rows behind `take`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fanion.config.sinks import Sinks

Turn = Callable[[], None]


class Line(NamedTuple):
    """A row. `key`: its identity, as text; `text`: a JSON object, without a line's end."""

    key: bytes
    text: bytes


class Receiver(Protocol):
    """Where the rows go. `left_out`: rows that it can never take, so far."""

    left_out: int

    def take(self, rows: Any, name: str) -> None:
        """All of them: a list of `Line`, or an Arrow batch where the kind is `planned`. Raises SinkError."""

    def close(self) -> None:
        """Lets go of everything at once; what was not taken is not sent any more."""


class Kind(NamedTuple):
    """`needs`: (module, package) of the extra. `planned`: it takes columns under a name, which is kept before."""

    setting: str
    """Of `sinks.*`, which says where the rows go; empty: the sink is off."""
    where: Callable[[Sinks], str]
    """Where the rows go, in words without a secret."""
    interval_s: Callable[[Sinks], float]
    open: Callable[[Sinks, Turn], Receiver]
    """Raises SinkError."""
    needs: tuple[tuple[str, str], ...] = ()
    planned: bool = False
    file: Callable[[Sinks], Path] | None = None
    """The file on this machine that it writes; none of those below the data directory, which are the server's."""


REASON_CHARACTERS_MAX = 200


def reason_of(error: BaseException) -> str:
    """A library's error in one short line."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= REASON_CHARACTERS_MAX else f"{line[:REASON_CHARACTERS_MAX]}…"
