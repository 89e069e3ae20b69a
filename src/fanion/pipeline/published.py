"""What the definitions in force say that rows are made by: the flags of parameters, and each environment's terms.

Each dialect says how its flags are found (`fanion.model.rows.RowShape.flags_of`); here is where its documents come
from, and what an environment wants of its rows (`fanion.model.row_terms`). A directory without a store, and an
environment that no generation has, say nothing. A store that is there and can't be read ends the run: rows are
written once, and would be without their flags, or with ids in the place of keyed digests, for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fanion.bundle.reader import BundleReader
from fanion.errors import RowsError, StoreMissingError
from fanion.model.canonical import Canonical
from fanion.model.row_terms import RowTerms, read_row_terms
from fanion.store.generation import PinnedGeneration
from fanion.store.store import Store
from fanion.store.unit_keys import ROW, decode_unit_keys

LookUp = Callable[[str], str | None]


class Published:
    """Read when it is first asked for, and anew after `refresh`. Raises StoreError, BundleError, RowsError."""

    def __init__(self, directory: Path, map_bytes: int, canonical: Mapping[str, Canonical]) -> None:
        self._directory = directory
        self._map_bytes = map_bytes
        self._makers = {name: form.rows.flags_of for name, form in canonical.items()}
        self._look_ups: dict[tuple[str, str], LookUp] = {}
        self._terms: dict[str, tuple[RowTerms, bytes | None]] = {}
        """And the key of the units' digests, where they are keyed."""
        self._number: int | None = None
        """Of the generation that they are of; 0: there was no store, None: nothing was read."""

    def flag_of(self, dialect: str, environment: str, parameter: str) -> str | None:
        """A `fanion.journal.rows.FlagOf`."""
        key = (dialect, environment)
        look_up = self._look_ups.get(key)
        if look_up is None:
            maker = self._makers[dialect]
            assert maker is not None
            with self._reading(environment) as (_, documents):
                look_up = self._look_ups[key] = maker(documents.get)
        return look_up(parameter)

    def key_of(self, environment: str) -> bytes | None:
        """A `fanion.model.units.KeyOf`."""
        return self._terms_of(environment)[1]

    def terms_of(self, environment: str) -> RowTerms:
        return self._terms_of(environment)[0]

    def refresh(self) -> None:
        """Between runs: forgets what was published anew."""
        if self._number is not None:
            with self._pinned() as pinned:
                number = 0 if pinned is None else pinned.number
            if number != self._number:
                self._look_ups.clear()
                self._terms.clear()
                self._number = None

    def _terms_of(self, environment: str) -> tuple[RowTerms, bytes | None]:
        known = self._terms.get(environment)
        if known is None:
            with self._reading(environment) as (pinned, documents):
                terms, key = read_row_terms(documents), None
                # What came before an environment was removed has its units keyed as it had.
                removed = pinned is not None and environment not in pinned.manifest.environments
                if pinned is not None and (terms.keyed or removed):
                    key = decode_unit_keys(pinned.meta(ROW)).keys.get(environment)
                    if key is None and not removed:
                        raise RowsError(f"the store has no key for the units of {environment}; publish again")
                known = self._terms[environment] = terms, key
        return known

    @contextmanager
    def _reading(self, environment: str) -> Iterator[tuple[PinnedGeneration | None, dict[str, bytes]]]:
        """With the environment's documents."""
        with self._pinned() as pinned:
            if self._number is None:
                self._number = 0 if pinned is None else pinned.number
            found = None if pinned is None else pinned.bundle(environment)
            yield pinned, {} if found is None else dict(BundleReader(bytes(found)).documents())

    @contextmanager
    def _pinned(self) -> Iterator[PinnedGeneration | None]:
        """The committed generation; None where there is no store."""
        try:
            store = Store.open(self._directory, write=False, map_bytes=self._map_bytes)
        except StoreMissingError:
            yield None
            return
        with store, store.pin() as pinned:
            yield pinned
