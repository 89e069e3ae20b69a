"""A store's generation to a place: objects that the place hasn't, then the manifest that names them all.

Nothing counts before the manifest's number is taken, and of several that race for one only one takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from fanion.places.lists import Index, bits_for, decode_index, encode_index, groups_of
from fanion.places.manifest import Body, EnvironmentAt, Head, ListAt, Origin, encode_origin, write_manifest
from fanion.places.place import OBJECT_BYTES_MAX, Place
from fanion.places.sealing import SEAL_BYTES, Sealer
from fanion.store.generation import PinnedGeneration
from fanion.store.installation import put_origin
from fanion.store.layout import ListEntry
from fanion.store.store import Store

Progress = Callable[[str, int], None]
"""Told of each object that was sent, and its bytes."""


def _silent(_: str, __: int) -> None:
    pass


def encode_keys(pinned: PinnedGeneration) -> bytes:
    """The store's key table, as an object of a place."""
    return msgspec.msgpack.encode([(key.hash, int(key.origin), key.record) for key in pinned.stored_keys()])


class Sender:
    """`before`: what the place has now; its objects aren't sent again."""

    def __init__(self, place: Place, sealer: Sealer, before: Body, progress: Progress = _silent) -> None:
        self._place = place
        self._sealer = sealer
        self._before = before
        self._known = before.addresses()
        self._sizes = before.sizes_by_address()
        self._progress = progress

    def body(self, pinned: PinnedGeneration) -> Body:
        """Of the generation, all of whose objects are in the place once this returns. Raises PlaceError."""
        definitions: dict[int, str] = {}
        environments = {}
        for name, entry in sorted(pinned.manifest.environments.items()):
            if entry.publication not in definitions:
                files = sorted(pinned.definitions(name).items())
                definitions[entry.publication] = self._offer(msgspec.msgpack.encode(dict(files)))
            environments[name] = EnvironmentAt(
                bundle=self._offer(bytes(pinned.bundle(name) or b"")),
                definitions=definitions[entry.publication],
                keys=self._offer(pinned.key_set(name)),
                overrides=entry.overrides,
                lists={each: self._list(pinned, name, each, at) for each, at in sorted(entry.lists.items())},
            )
        body = Body(
            environments=environments,
            keys=self._offer(encode_keys(pinned)),
            rows=dict(sorted(pinned.meta_rows().items())),
            lists_made=pinned.manifest.lists_made,
        )
        sizes = [self._sizes.get(address, 0) for address in sorted(body.addresses())]
        return msgspec.structs.replace(body, sizes=sizes)

    def _offer(self, plain: bytes) -> str:
        address = self._sealer.address(plain)
        self._sizes[address] = len(plain) + SEAL_BYTES
        if address not in self._known:
            self._place.put(address, self._sealer.seal(plain))
            self._known.add(address)
            self._progress("objects", 1)
        return address

    def _list(self, pinned: PinnedGeneration, environment: str, name: str, entry: ListEntry) -> ListAt:
        known = self._before.environments.get(environment)
        before = None if known is None else known.lists.get(name)
        index = ""
        if before is not None and (before.number, before.secret) == (entry.number, entry.secret):
            if before.changes == entry.changes and before.count == entry.count:
                index = before.index
        else:
            before = None
        if not index:
            index = self._offer(encode_index(self._index(pinned, entry, before)))
        return ListAt(entry.number, entry.count, entry.source, entry.secret, entry.changes, index)

    def _index(self, pinned: PinnedGeneration, entry: ListEntry, before: ListAt | None) -> Index:
        old = None
        if before is not None:
            sealed = self._place.get(before.index, self._sizes.get(before.index, OBJECT_BYTES_MAX))
            old = decode_index(self._sealer.open_object(before.index, sealed))
            self._known.update(old.groups.values())
        total = sum(len(value) for _, value in pinned.blocks(entry.number))
        bits = bits_for(total, None if old is None else old.bits)
        groups = groups_of(pinned.blocks(entry.number), bits)
        return Index(bits, {group: self._offer(encoded) for group, encoded in groups})


def send(
    store: Store,
    place: Place,
    sealer: Sealer,
    origin: Origin,
    *,
    machine: str,
    version: str,
    progress: Progress = _silent,
) -> Origin:
    """Makes the store's generation what the place has after `origin`, and notes so; the new origin. Raises
    PlaceMovedError where another machine was faster, PlaceError, StoreError."""
    with store.pin() as pinned:
        body = Sender(place, sealer, origin.body, progress).body(pinned)
        generation, environments = pinned.number, pinned.environments()
    head = Head(origin.number + 1, time.time(), machine, version, environments)
    content = write_manifest(sealer, head, body)
    place.move(head.number, content)
    sent = Origin(
        role="publishes",
        url=origin.url,
        number=head.number,
        digest=sealer.address(content),
        generation=generation,
        at=head.made_at,
        body=body,
    )
    put_origin(store.transactions, encode_origin(sent))
    return sent
