"""Programs as they are served: lowered again from what the store keeps, with what lies over them, and kept
while they stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec

from fanion.app.answering.records import Records
from fanion.bundle.reader import BundleReader
from fanion.clock.keeper import look_at
from fanion.definitions import load_stored
from fanion.dialects import vocabulary
from fanion.errors import StoreError
from fanion.model.override import Override
from fanion.model.program import Lowered, Parameter, Table
from fanion.store.generation import PinnedGeneration
from fanion.store.weights import read_weights

ENVIRONMENTS_MAX: Final = 12
"""Searched at once, and kept; where there are more, one is to be named."""


class Program(NamedTuple):
    """Of one environment. `tables`: what each API serves of its bundle. `descriptions`: by "source:key"."""

    lowered: Lowered
    bundle: bytes
    tables: dict[str, Table]
    descriptions: dict[str, str]
    overrides: tuple[Override, ...]

    def parameter(self, source: str, key: str) -> Parameter:
        """Raises StoreError."""
        for one in self.lowered.parameters:
            if one.key == key and one.source == source:
                return one
        raise StoreError(f"environment {self.lowered.environment} has no flag {source}:{key}")

    def override(self, parameter: Parameter) -> Override | None:
        """What lies over a flag, by its own name or its group's."""
        names = parameter.key, parameter.group
        return next(
            (one for one in self.overrides if one.flag in names and one.source in ("", parameter.source)),
            None,
        )


class Programs:
    """Of one data directory."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept: dict[str, tuple[tuple[int, str], Program]] = {}
        """By environment, with what it was made from."""

    @contextmanager
    def pinned(self) -> Iterator[PinnedGeneration]:
        with self._records.store() as store, store.pin() as pinned:
            yield pinned

    def of(self, pinned: PinnedGeneration, environment: str) -> Program:
        """Raises StoreError, DefinitionError."""
        entry = pinned.manifest.environments.get(environment)
        if entry is None:
            there = ", ".join(pinned.environments()[:20]) or "none yet"
            raise StoreError(f"there is no environment {environment}; there are: {there}")
        overrides = pinned.overrides().of(environment, look_at(self._records.directory).cautious)
        made_from = entry.publication, entry.overrides
        known = self._kept.pop(environment, None)
        if known is not None and known[0] == made_from:
            self._kept[environment] = known  # the last to go
            return known[1]._replace(overrides=overrides)
        loaded = load_stored(
            pinned.definitions(environment),
            vocabulary(),
            overrides={environment: overrides},
            weights={environment: read_weights(pinned, environment)},
            only=[environment],
        )
        (lowered,) = loaded.environments
        bundle = bytes(pinned.bundle(environment) or b"")
        said = lowered.documents.get("descriptions", b"{}")
        descriptions = msgspec.json.decode(said, type=dict[str, str])
        made = Program(lowered, bundle, BundleReader(bundle).tables(), descriptions, overrides)
        while len(self._kept) >= ENVIRONMENTS_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[environment] = made_from, made
        return made

    def searched(self, pinned: PinnedGeneration, environment: str) -> list[Program]:
        """One environment, or all where they are few. Raises StoreError."""
        names = [environment] if environment else list(pinned.environments())
        if len(names) > ENVIRONMENTS_MAX:
            raise StoreError(f"there are {len(names)} environments; choose one to search")
        return [self.of(pinned, name) for name in names]
