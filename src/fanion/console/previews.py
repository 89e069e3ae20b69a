"""The page of previews: another text of one of the served files, and what publishing it would change."""

from __future__ import annotations

from typing import Any, Final

from fanion.console.exchange import Asked, RefusedError, choice, text
from fanion.console.pages import NAME_CHARS_MAX, asked_of
from fanion.console.preview_questions import MADE_UP, PASTED, RECENT, RECENT_MAX, FileList, Files, PreviewOf
from fanion.console.reader import Reader, ReaderError
from fanion.console.site import Page
from fanion.preview.report import Preview

CONTENT_CHARS_MAX: Final = 1 << 20
CONTEXTS_CHARS_MAX: Final = 256 << 10
"""Beside a file's text, in what a form may have."""
ATTRIBUTE_CHARS_MAX: Final = 200
WHO: Final = {
    MADE_UP: "made-up units",
    RECENT: f"units that events named last, at most {RECENT_MAX:,}",
    PASTED: "the contexts below",
}
UNITS: Final = ("10000", "100000", "1000000")
SHOWN_FLAGS_MAX: Final = 100


class PreviewPages:
    """`reader`: for what is read; `computer`: for what takes long, a process for each."""

    def __init__(self, reader: Reader, computer: Reader) -> None:
        self._reader = reader
        self._computer = computer

    async def preview(self, asked: Asked, rest: str) -> Page:
        if rest:
            raise RefusedError(404, "There is no such page.")
        sent = asked.form if asked.method == "POST" else asked.query
        environment = text(sent, "environment", NAME_CHARS_MAX)
        name = text(sent, "name", NAME_CHARS_MAX)
        units = choice(sent, "units", UNITS) or UNITS[1]
        who = choice(sent, "who", WHO) or MADE_UP
        found = await asked_of(self._reader, Files(environment, name), FileList)
        values: dict[str, Any] = {
            "title": "Preview",
            "found": found,
            "environment": environment or next(iter(found.environments), ""),
            "content": found.content,
            "units": units,
            "all_units": UNITS,
            "who": who,
            "all_who": WHO,
            "contexts": "",
            "by": "",
            "previews": None,
            "wrong": "",
            "flags_max": SHOWN_FLAGS_MAX,
            "keys_known": True,
        }
        if asked.method != "POST":
            return Page("preview.html", values)
        content = text(asked.form, "content", CONTENT_CHARS_MAX).replace("\r\n", "\n")
        values["content"] = content
        values["keys_known"] = "env:" not in content
        values["contexts"] = text(asked.form, "contexts", CONTEXTS_CHARS_MAX).replace("\r\n", "\n")
        values["by"] = text(asked.form, "by", ATTRIBUTE_CHARS_MAX).strip()
        question = PreviewOf(
            values["environment"],
            name or found.name,
            content,
            int(units),
            who,
            values["contexts"] if who == PASTED else "",
            values["by"],
        )
        try:
            values["previews"] = await asked_of(self._computer, question, list[Preview])
        except ReaderError as error:
            if error.busy:
                raise
            return Page("preview.html", {**values, "wrong": str(error)}, 400)
        return Page("preview.html", values)
