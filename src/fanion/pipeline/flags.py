"""Whose parameter: the flags of events that name a parameter, out of the definitions in force.

Each dialect says how (`fanion.model.rows.RowShape.flags_of`); here is where its documents come from. A directory
without a store, and an environment that no generation has, know no flags. A store that is there and can't be read
ends the run: rows are written once, and would be without their flags for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fanion.bundle.reader import BundleReader
from fanion.errors import StoreMissingError
from fanion.model.canonical import Canonical
from fanion.store.generation import PinnedGeneration
from fanion.store.store import Store

LookUp = Callable[[str], str | None]


class Flags:
    """A `fanion.journal.rows.FlagOf`. Raises StoreError, BundleError."""

    def __init__(self, directory: Path, map_bytes: int, canonical: Mapping[str, Canonical]) -> None:
        self._directory = directory
        self._map_bytes = map_bytes
        self._makers = {name: form.rows.flags_of for name, form in canonical.items()}
        self._look_ups: dict[tuple[str, str], LookUp] = {}
        self._number = 0
        """Of the generation that they are of; 0: there was no store."""

    def __call__(self, dialect: str, environment: str, parameter: str) -> str | None:
        key = (dialect, environment)
        look_up = self._look_ups.get(key)
        if look_up is None:
            maker = self._makers[dialect]
            assert maker is not None
            look_up = self._look_ups[key] = maker(self._documents(environment).get)
        return look_up(parameter)

    def refresh(self) -> None:
        """Between runs: forgets what was published anew."""
        if self._look_ups:
            with self._pinned() as pinned:
                number = 0 if pinned is None else pinned.number
            if number != self._number:
                self._look_ups.clear()

    def _documents(self, environment: str) -> dict[str, bytes]:
        with self._pinned() as pinned:
            if not self._look_ups:
                self._number = 0 if pinned is None else pinned.number
            found = None if pinned is None else pinned.bundle(environment)
            return {} if found is None else dict(BundleReader(bytes(found)).documents())

    @contextmanager
    def _pinned(self) -> Iterator[PinnedGeneration | None]:
        """The committed generation; None where there is no store."""
        try:
            store = Store.open(self._directory, write=False, map_bytes=self._map_bytes)
        except StoreMissingError:
            yield None
            return
        with store:
            pinned = store.pin()
            try:
                yield pinned
            finally:
                pinned.release()
