"""Whose parameter: the flags of events that name a parameter, out of the definitions in force.

Each dialect says how (`fanion.model.rows.RowShape.flags_of`); here is where its documents come from. A directory
without a store, and an environment that no generation has, know no flags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fanion.bundle.reader import BundleReader
from fanion.errors import BundleError, StoreError
from fanion.model.canonical import Canonical
from fanion.store.store import Store

LookUp = Callable[[str], str | None]


class Flags:
    """A `fanion.journal.rows.FlagOf`. `refresh` between steps: definitions may have been published."""

    def __init__(self, directory: Path, map_bytes: int, canonical: Mapping[str, Canonical]) -> None:
        self._directory = directory
        self._map_bytes = map_bytes
        self._makers = {name: form.rows.flags_of for name, form in canonical.items()}
        self._look_ups: dict[tuple[str, str], LookUp] = {}

    def __call__(self, dialect: str, environment: str, parameter: str) -> str | None:
        key = (dialect, environment)
        look_up = self._look_ups.get(key)
        if look_up is None:
            maker = self._makers[dialect]
            assert maker is not None
            look_up = self._look_ups[key] = maker(self._documents(environment).get)
        return look_up(parameter)

    def refresh(self) -> None:
        self._look_ups.clear()

    def _documents(self, environment: str) -> dict[str, bytes]:
        try:
            with Store.open(self._directory, write=False, map_bytes=self._map_bytes) as store:
                pinned = store.pin()
                try:
                    found = pinned.bundle(environment)
                    return {} if found is None else dict(BundleReader(bytes(found)).documents())
                finally:
                    pinned.release()
        except (StoreError, BundleError):
            return {}
