"""The pages of events: the newest, again and again, and one whole."""

from __future__ import annotations

from typing import Final

from fanion.console.exchange import Asked, RefusedError, choice, number, text
from fanion.console.pages import NAME_CHARS_MAX, asked_of
from fanion.console.questions import EventFacts, EventList, OneEvent, Tail
from fanion.console.reader import Reader
from fanion.console.site import Page

KINDS: Final = ("evaluation", "exposure", "decision", "metric", "served", "assigned")
MOST: Final = 50
FILTERS: Final = ("environment", "dialect", "flag", "unit")


class EventPages:
    """`dialects`: the names of all APIs."""

    def __init__(self, reader: Reader, dialects: tuple[str, ...]) -> None:
        self._reader = reader
        self._dialects = dialects

    async def events(self, asked: Asked, rest: str) -> Page:
        """Filters are sent as a form where they name a unit: it may be a person."""
        if rest == "one":
            return await self._one(asked)
        if rest:
            raise RefusedError(404, "There is no such page.")
        sent = asked.form if asked.method == "POST" else asked.query
        filters = {name: text(sent, name, NAME_CHARS_MAX) for name in FILTERS}
        choice(filters, "dialect", self._dialects)
        filters["kind"] = choice(sent, "kind", KINDS)
        question = Tail(
            filters["environment"],
            filters["dialect"],
            filters["kind"],
            filters["flag"].strip(),
            filters["unit"].strip(),
            MOST,
        )
        found = await asked_of(self._reader, question, EventList)
        live = bool(sent.get("live"))
        values = {
            "title": "Events",
            "found": found,
            "filters": filters,
            "kinds": KINDS,
            "dialects": self._dialects,
            "live": live,
            "most": MOST,
        }
        return Page("events.html", values)

    async def _one(self, asked: Asked) -> Page:
        most = 2**63 - 1
        places = [
            number(asked.query, name, 0, 0, most) for name in ("writer", "epoch", "sequence", "index", "at")
        ]
        facts = await asked_of(self._reader, OneEvent(*places), EventFacts)
        return Page("event.html", {"title": "One event", "facts": facts})
