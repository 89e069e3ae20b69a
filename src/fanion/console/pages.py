"""The pages of flags and of what if: their paths and queries, what is asked of a reader for them."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from fanion.console.exchange import Asked, RefusedError, number, text
from fanion.console.plots import draw_bar
from fanion.console.questions import (
    ROWS_MAX,
    Explained,
    FindFlags,
    FlagFacts,
    FlagList,
    OneFlag,
    Question,
    WhatIf,
)
from fanion.console.reader import Reader, ReaderError
from fanion.console.site import Page

Answer = TypeVar("Answer")

NAME_CHARS_MAX: Final = 500
CONTEXT_CHARS_MAX: Final = 65_536
PAGES_MAX: Final = 100_000
EXAMPLE: Final = '{\n  "userId": "user_123",\n  "country": "DE"\n}'


async def asked_of(reader: Reader, question: Question, kind: type[Answer]) -> Answer:
    """Raises ReaderError."""
    return msgspec.json.decode(await reader.ask(question), type=kind)


def flag_of(asked: Asked) -> tuple[str, str, str]:
    """Of a query. Raises RefusedError."""
    names = tuple(text(asked.query, name, NAME_CHARS_MAX) for name in ("environment", "source", "key"))
    return names[0], names[1], names[2]


class FlagPages:
    """`reader`: of the data directory."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def flags(self, asked: Asked, rest: str) -> Page:
        """The list, or one flag: its name stands in the query, since names may hold anything."""
        if rest == "one":
            return await self._one(*flag_of(asked))
        if rest:
            raise RefusedError(404, "There is no such page.")
        page = number(asked.query, "page", 0, 0, PAGES_MAX)
        filters = {name: text(asked.query, name, NAME_CHARS_MAX) for name in ("q", "environment", "source")}
        question = FindFlags(filters["q"], filters["environment"], filters["source"], page)
        found = await asked_of(self._reader, question, FlagList)
        return Page(
            "flags.html",
            {
                "title": "Flags",
                "found": found,
                "filters": filters,
                "page": page,
                "first": page * ROWS_MAX,
                "rows_max": ROWS_MAX,
            },
        )

    async def _one(self, environment: str, source: str, key: str) -> Page:
        facts = await asked_of(self._reader, OneFlag(environment, source, key), FlagFacts)
        return Page("flag.html", {"title": key, "flag": facts})

    async def what_if(self, asked: Asked, rest: str) -> Page:
        """The form, and with one that was sent what came of it."""
        if rest:
            raise RefusedError(404, "There is no such page.")
        sent = asked.form if asked.method == "POST" else asked.query
        environment = text(sent, "environment", NAME_CHARS_MAX)
        key = text(sent, "key", NAME_CHARS_MAX)
        source = text(sent, "source", NAME_CHARS_MAX)
        values: dict[str, Any] = {
            "title": "What if",
            "environment": environment,
            "key": key,
            "source": source,
            "context": EXAMPLE,
            "explained": None,
            "wrong": "",
            "bars": {},
        }
        found = await asked_of(self._reader, FindFlags(key, environment, source), FlagList)
        values["environments"], values["sources"] = found.environments, found.sources
        if not environment and len(found.environments) == 1:
            values["environment"] = found.environments[0]
        if asked.method != "POST":
            return Page("whatif.html", values)
        values["context"] = text(asked.form, "context", CONTEXT_CHARS_MAX)
        try:
            if not source:
                source = await self._source_of(environment, key)
                values["source"] = source
            question = WhatIf(environment, source, key, values["context"] or "{}")
            explained = await asked_of(self._reader, question, Explained)
        except ReaderError as error:
            if error.busy:
                raise
            return Page("whatif.html", {**values, "wrong": str(error)}, 400)
        bars = {n: draw_bar(step.draw) for n, step in enumerate(explained.steps) if step.draw is not None}
        return Page("whatif.html", {**values, "explained": explained, "bars": bars})

    async def _source_of(self, environment: str, key: str) -> str:
        """Where only one format has a flag of this key."""
        found = await asked_of(self._reader, FindFlags(key, environment), FlagList)
        sources = {row.source for row in found.rows if row.key == key}
        if len(sources) > 1:
            raise ReaderError(
                f"Several formats have a flag {key}; choose one of {', '.join(sorted(sources))}."
            )
        return next(iter(sources), "native")
