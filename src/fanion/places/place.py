"""What a kind of place is: some bytes under names, and manifests under numbers.

All of it is blocking and belongs to one thread. Each call raises PlaceError where the place can't be reached or
refuses, with a reason that holds no credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from fanion.config.places import Places

MANIFEST_BYTES_MAX: Final = 900_000
"""A follower holds it whole; what is large lies in objects of its own."""
OBJECT_BYTES_MAX: Final = 1 << 31
GROUP_BYTES_MAX: Final = 64 << 20
"""Of a group of a list's blocks, which is to have 128 KiB."""
REPORT_BYTES_MAX: Final = 4_096
REPORTS_MAX: Final = 10_000
REASON_CHARACTERS_MAX: Final = 300


class Found(NamedTuple):
    """A manifest, not checked yet."""

    number: int
    content: bytes


class Place(Protocol):
    """An open place."""

    def newest(self) -> Found | None:
        """The manifest with the highest number; None in a place where nobody published yet."""

    def newer(self, number: int) -> Found | None:
        """The one with the highest number where that is above `number`, which was taken from here, or may be
        another one of this number; None: nothing is new, as far as a small look tells. Raises PlaceError where
        the place has neither."""

    def move(self, number: int, content: bytes) -> None:
        """Makes `content` the manifest of this number, after the newest. Raises PlaceMovedError where another one
        has it, or a higher one is there: then nothing was changed."""

    def get(self, name: str, bytes_max: int = OBJECT_BYTES_MAX) -> bytes:
        """An object's bytes, not checked; PlaceError where it has more than `bytes_max`, before they are read."""

    def get_several(self, wanted: Mapping[str, int]) -> list[bytes]:
        """Of a few objects the same, at once where the place answers so. `wanted`: name -> bytes at most."""

    def put(self, name: str, content: bytes) -> None:
        """Stores an object; one that is there already has, or should have, the same content."""

    def report(self, machine: str, content: bytes) -> None:
        """What a following machine says of itself, in the place of what it said before."""

    def reports(self) -> dict[str, bytes]:
        """What following machines said last."""

    def wait(self, timeout_s: float, ended: Callable[[float], bool]) -> bool:
        """Whether the place says that something is new, before the time is over or the process shall end.
        `ended`: waits for so long at most, and says whether it shall."""

    def close(self) -> None: ...


class Kind(NamedTuple):
    """`open`: of an address; True makes what isn't there yet. `check`: what is wrong with an address, or "".
    `needs`: (module, package) of each library."""

    schemes: tuple[str, ...]
    open: Callable[[str, Places, bool], Place]
    check: Callable[[str], str]
    needs: tuple[tuple[str, str], ...] = ()


def short(text: str) -> str:
    """A reason in one line: libraries name the whole request."""
    return " ".join(text.split())[:REASON_CHARACTERS_MAX]
