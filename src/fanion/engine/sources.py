"""Which source has a key, and how it reads a flat context: what an API asks that serves several sources at once.

Keys of one source are unique, and a native key is no other source's. Two foreign sources may have one key, each
for its own API; asked through an API that serves both it is ambiguous, unless the environment names the order.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from fanion._core.evaluate import Bundle
from fanion.model.shape import DOCUMENT, NATIVE, ContextShape, SourceRecord


class SourceDirectory:
    """The sources of one bundle."""

    def __init__(self, record: SourceRecord) -> None:
        self._shapes = record.shapes
        self._order = record.order
        self._owners: dict[str, tuple[str, ...]] = {}
        for source, keys in record.keys.items():
            for key in keys:
                self._owners[key] = (*self._owners.get(key, ()), source)

    def shape(self, source: str) -> ContextShape | None:
        """How a source reads a flat context; None for one that the environment has not."""
        return self._shapes.get(source)

    @property
    def sources(self) -> Collection[str]:
        """Every source that the environment has."""
        return self._shapes.keys()

    def place(self, asked: str) -> tuple[tuple[str, ...], str]:
        """The sources and the key that are meant by `key`, or by `source:key`, which names one source. Several:
        it is ambiguous. None of them need have the key."""
        source, colon, key = asked.partition(":")
        if colon and source in self._shapes:
            return (source,), key
        return self.sources_of(asked, self._shapes), asked

    def name(self, source: str, key: str) -> str:
        """What a flag is called among the flags of all sources: its key where that means this flag, else
        `source:key`."""
        if source == NATIVE and key not in self._owners and ":" not in key and NATIVE in self._shapes:
            return key  # most flags of most environments: nobody else has it, and it names no source
        return key if self.place(key) == ((source,), key) else f"{source}:{key}"

    def sources_of(self, key: str, served: Collection[str]) -> tuple[str, ...]:
        """The sources, of those that an API serves, that a key is asked of. Several: it is ambiguous. None: it is
        unknown to that API. A key that no foreign source has is the native one's, if anyone's."""
        owners = self._owners.get(key, (NATIVE,))
        found = tuple(source for source in owners if source in served)
        if len(found) > 1:
            first = next((source for source in self._order if source in found), None)
            return found if first is None else (first,)
        return found


def sources_in(bundle: Bundle) -> SourceDirectory:
    """A bundle's sources; it is the caller's to keep, since it is made anew at each call."""
    document = bundle.document(DOCUMENT)
    return SourceDirectory(
        SourceRecord() if document is None else msgspec.json.decode(document, type=SourceRecord)
    )
