"""A worker's exposures: the table of marks that it shares with the others, and what records for each environment.

What is recorded is the bundle's to say (`model.exposure`), who the unit is each dialect's (`wire.units`); the
journal lends its ring. DIR/shared/exposures is made anew when the machine boots: what it forgets is repeated, not
lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from fanion._core.evaluate import Bundle
from fanion._core.exposures import MarkTable, Recorder
from fanion.dialects.wire.dialect import Dialect
from fanion.errors import ServeError, StoreError
from fanion.journal.writer import JournalWriter
from fanion.model.exposure import DOCUMENT, Terms

log = logging.getLogger("fanion.exposures")

FILE_NAME: Final = "exposures"
ATTRIBUTE_CHARACTERS_MAX: Final = 256
"""Of a text that travels along; a longer one is left out."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Exposures:
    """One worker's."""

    def __init__(self, marks: MarkTable) -> None:
        self._marks = marks
        self._recorder = Recorder(marks)

    @classmethod
    def open(cls, directory: Path, marks: int) -> Exposures:
        """Opens or makes DIR/shared/exposures. Raises ServeError, also for a table of another size."""
        return cls(_open_table(directory, marks, replace=False))

    @classmethod
    def prepare(cls, directory: Path, marks: int) -> None:
        """Makes a table of another size anew. Only before any worker. Raises ServeError."""
        _open_table(directory, marks, replace=True).close()

    def record_into(self, journal: JournalWriter) -> None:
        journal.lend(self._recorder.lend)

    def attach(
        self,
        bundle: Bundle,
        dialects: Iterable[Dialect],
        unit_key: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        """Has a bundle's answers recorded, where its environment records any. `unit_key`: of its units' digests,
        asked for where they are to be keyed; where there is none, or it can't be read, nothing is recorded."""
        document = bundle.document(DOCUMENT)
        if document is None:
            return
        terms = msgspec.json.decode(document, type=Terms)
        key, reason = None, "the store has no key for the units' digests; publish again"
        if terms.keyed:
            try:
                key = unit_key()
            except StoreError as error:
                reason = str(error)
            if key is None:
                told = {"environment": bundle.environment, "reason": reason}
                log.error("no exposures are recorded", extra=told)
                return
        for dialect in dialects:
            table = bundle.table(dialect.name)
            if table >= 0 and dialect.units is not None:
                bundle.expose(
                    table,
                    self._recorder,
                    dialect.name,
                    dialect.units(bundle),
                    assigned=terms.assigned,
                    anonymous=terms.anonymous,
                    carried=carrier(terms.attributes) if terms.attributes else None,
                    key=key,
                )

    def answers_from(self, generation: int) -> None:
        """What the next exposures are of."""
        self._recorder.generation = generation

    def counts(self) -> dict[str, int]:
        return self._recorder.counts()

    def close(self) -> None:
        """Unmaps the table; what is recorded from here on is repeated."""
        self._marks.close()


def carrier(attributes: Mapping[str, str]) -> Callable[[Any, Any, Any], bytes | None]:
    """Makes the JSON of a question's attributes that travel along; None where it has none of them."""

    def carried(members: Any, free: Any, contexts: Any) -> bytes | None:
        places = [free, *(context[2] for context in contexts or ()), members]
        found: dict[str, Any] = {}
        for name, kind in attributes.items():
            for place in places:
                if place and name in place:
                    if _fits(place[name], kind):
                        found[name] = place[name]
                    break
        return _encode(found) if found else None

    return carried


def _fits(value: object, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        return whole or isinstance(value, float)
    return isinstance(value, str) and len(value) <= ATTRIBUTE_CHARACTERS_MAX


def _open_table(directory: Path, marks: int, *, replace: bool) -> MarkTable:
    folder = directory / "shared"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return MarkTable(str(folder / FILE_NAME), marks, replace=replace)
    except (OSError, ValueError) as error:
        raise ServeError(f"the table of exposures can't be used: {error}") from error
