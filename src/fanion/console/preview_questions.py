"""What the page of previews asks a reader, and what it answers beside `preview.report.Preview`."""

from __future__ import annotations

from typing import Final

import msgspec

MADE_UP: Final = "made-up"
RECENT: Final = "recent"
PASTED: Final = "pasted"
CONTEXTS_MAX: Final = 10_000
"""That are pasted."""
RECENT_MAX: Final = 100_000
"""Units with all that events said of them, in the memory that a reader has."""


class Files(msgspec.Struct, frozen=True, tag=True):
    """The files that an environment's publication was made from. Answer: `FileList`."""

    environment: str = ""
    name: str = ""


class PreviewOf(msgspec.Struct, frozen=True, tag=True):
    """What another text of one file of an environment's publication would change. Answer: a list of
    `preview.report.Preview`.

    `who` is asked for: `MADE_UP`, so many `units`; `RECENT`, at most so many, and at most `RECENT_MAX`; `PASTED`,
    each line of `contexts`, at most `CONTEXTS_MAX`. `by`: an attribute by whose values is counted; "": none."""

    environment: str
    name: str
    content: str
    units: int
    who: str = MADE_UP
    contexts: str = ""
    by: str = ""


class FileList(msgspec.Struct, frozen=True):
    """`content`: of the one that was named; None where it is too large to be shown or no text."""

    environments: list[str]
    names: list[str]
    name: str
    content: str | None
    bytes: int
