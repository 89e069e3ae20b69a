"""Programs as they are served: lowered again from what the store keeps, with what lies over them, and kept
while they stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
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


class Served:
    """A bundle, and what each API serves of it: read when a page asks, since of many flags it takes seconds."""

    def __init__(self, bundle: bytes) -> None:
        self.bundle = bundle

    @cached_property
    def keys(self) -> dict[str, set[str]]:
        """By API."""
        return BundleReader(self.bundle).keys()

    @cached_property
    def tables(self) -> dict[str, Table]:
        """By API, without the fragments of entries."""
        return BundleReader(self.bundle).tables(fragments=False)


class Program(NamedTuple):
    """Of one environment. `descriptions`: by "source:key"."""

    lowered: Lowered
    served: Served
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
        if environment not in pinned.manifest.environments:
            there = ", ".join(pinned.environments()[:20]) or "none yet"
            raise StoreError(f"there is no environment {environment}; there are: {there}")
        return self._of(pinned, [environment])[0]

    def searched(self, pinned: PinnedGeneration, environment: str) -> list[Program]:
        """One environment, or all where they are few. Raises StoreError."""
        names = [environment] if environment else list(pinned.environments())
        if len(names) > ENVIRONMENTS_MAX:
            raise StoreError(f"there are {len(names)} environments; choose one to search")
        return [self.of(pinned, environment)] if environment else self._of(pinned, names)

    def _of(self, pinned: PinnedGeneration, names: list[str]) -> list[Program]:
        """Environments of one publication are lowered together, so that its files are read and checked once."""
        now = look_at(self._records.directory).cautious
        overrides = {name: pinned.overrides().of(name, now) for name in names}
        entries = {name: pinned.manifest.environments[name] for name in names}
        made_from = {name: (entry.publication, entry.overrides) for name, entry in entries.items()}
        publications: dict[int, list[str]] = {}
        for name, entry in entries.items():
            if name not in self._kept or self._kept[name][0] != made_from[name]:
                publications.setdefault(entry.publication, []).append(name)
        for wanted in publications.values():
            loaded = load_stored(
                pinned.definitions(wanted[0]),
                vocabulary(),
                overrides={name: overrides[name] for name in wanted},
                weights={name: read_weights(pinned, name) for name in wanted},
                only=wanted,
            )
            for lowered in loaded.environments:
                name = lowered.environment
                bundle = bytes(pinned.bundle(name) or b"")
                said = lowered.documents.get("descriptions", b"{}")
                descriptions = msgspec.json.decode(said, type=dict[str, str])
                made = Program(lowered, Served(bundle), descriptions, overrides[name])
                self._kept[name] = made_from[name], made
        for name in names:
            self._kept[name] = self._kept.pop(name)  # the last to go
        while len(self._kept) > ENVIRONMENTS_MAX:
            self._kept.pop(next(iter(self._kept)))
        return [self._kept[name][1]._replace(overrides=overrides[name]) for name in names]
