"""The pages of keys, lists, the journal and overrides: what the store and the journal hold."""

from __future__ import annotations

from typing import Final

from fanion.console.exchange import Asked, RefusedError, number, text
from fanion.console.pages import NAME_CHARS_MAX, PAGES_MAX, asked_of
from fanion.console.questions import (
    ROWS_MAX,
    JournalFacts,
    JournalState,
    KeyList,
    Keys,
    ListRow,
    Lists,
    OverrideList,
    OverridesInForce,
)
from fanion.console.reader import Reader
from fanion.console.site import Page

VERIFY_S: Final = 8.0


class HeldPages:
    """`reader`: of the data directory."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def keys(self, asked: Asked, rest: str) -> Page:
        whole(rest)
        page = number(asked.query, "page", 0, 0, PAGES_MAX)
        filters = {name: text(asked.query, name, NAME_CHARS_MAX) for name in ("q", "environment")}
        found = await asked_of(self._reader, Keys(filters["environment"], filters["q"], page), KeyList)
        values = {"title": "Keys", "found": found, "filters": filters, "page": page, "rows_max": ROWS_MAX}
        return Page("keys.html", values)

    async def lists(self, asked: Asked, rest: str) -> Page:
        """A member is a person, often: it is sent as a form, never in an address."""
        whole(rest)
        member = text(asked.form, "member", NAME_CHARS_MAX)
        found = await asked_of(self._reader, Lists(member), list[ListRow])
        return Page("lists.html", {"title": "Lists", "rows": found, "member": member})

    async def journal(self, asked: Asked, rest: str) -> Page:
        whole(rest)
        wanted = JournalState(VERIFY_S if asked.method == "POST" else 0.0)
        facts = await asked_of(self._reader, wanted, JournalFacts)
        return Page("journal.html", {"title": "Journal", "facts": facts})

    async def overrides(self, asked: Asked, rest: str) -> Page:
        whole(rest)
        found = await asked_of(self._reader, OverridesInForce(), OverrideList)
        return Page("overrides.html", {"title": "Overrides", "found": found})


def whole(rest: str) -> None:
    """A page without others below it. Raises RefusedError."""
    if rest:
        raise RefusedError(404, "There is no such page.")
