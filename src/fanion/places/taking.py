"""What a place has into a store: only what the store hasn't is fetched, and all of it is checked before anything is
written. What isn't signed, older than what was taken, damaged or cut off leaves the store as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import msgspec

from fanion.errors import PlaceError
from fanion.model.api_key import HASH_BYTES, KeyRecord
from fanion.places.lists import Block, Index, changed_blocks, decode_group, decode_index, difference
from fanion.places.manifest import Body, EnvironmentAt, ListAt, Manifest, Origin, decode_origin, encode_origin
from fanion.places.place import GROUP_BYTES_MAX, OBJECT_BYTES_MAX, Place
from fanion.places.sealing import Sealer
from fanion.store import layout
from fanion.store.generation import PinnedGeneration
from fanion.store.installation import ChangedBlocks, Incoming, Installation, install
from fanion.store.layout import PLACE, ListEntry, StoredKey
from fanion.store.layout import Origin as KeyOrigin
from fanion.store.store import Store

Check = Callable[[str, bytes], None]
"""Environment and bundle; raises what keeps it from being served."""

Read = TypeVar("Read")

_decode_files = msgspec.msgpack.Decoder(dict[str, bytes]).decode
_decode_keys = msgspec.msgpack.Decoder(list[tuple[bytes, int, KeyRecord]]).decode
_decode_key_set = msgspec.json.Decoder(dict[str, KeyRecord]).decode


def origin_of(store: Store) -> Origin | None:
    """Which place the store's directory has to do with, and what it took of it last. Raises PlaceError,
    StoreError."""
    with store.pin() as pinned:
        value = pinned.meta(PLACE)
    return None if value is None else decode_origin(layout.unseal(PLACE, value, "place"))


def check_successor(manifest: Manifest, origin: Origin | None) -> bool:
    """Whether the manifest is newer than what was taken. Raises PlaceError where it can't be what follows it."""
    if origin is None or manifest.head.number > origin.number:
        return True
    if manifest.head.number < origin.number:
        raise PlaceError(
            f"the place has number {manifest.head.number}, number {origin.number} was taken from it before: an "
            "older copy was put there. `fanion publish --to` without PATHS makes a higher one of what a directory "
            "has"
        )
    if manifest.digest != origin.digest:
        raise PlaceError(
            f"the place has another number {origin.number} than the one that was taken from it: it was made anew. "
            "`fanion publish --to` without PATHS makes a higher one of what a directory has"
        )
    return False


class Taker:
    """Makes an installation of a manifest. `origin`: what the store was made of. `turn` is called between two reads
    of the place."""

    def __init__(
        self, place: Place, sealer: Sealer, origin: Origin | None, check: Check, turn: Callable[[], None]
    ) -> None:
        self._place = place
        self._sealer = sealer
        self._have = Body() if origin is None else origin.body
        self._check = check
        self._turn = turn
        self._ahead: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self.fetched_bytes = 0

    def installation(self, body: Body, pinned: PinnedGeneration) -> Installation:
        """Raises PlaceError, and what `check` raises."""
        self._sizes = body.sizes_by_address()
        held, own = _lists_of(pinned), _entries_of(pinned.manifest)
        environments, definitions = {}, {}
        also = [body.keys]
        for name, entry in body.environments.items():
            if not self._is_same(name, entry, pinned):
                new = [] if entry.definitions in definitions else [entry.definitions]
                self._fetch_ahead([entry.bundle, entry.keys, *new, *also])
                also = []
            environments[name] = self._environment(name, entry, pinned)
            if environments[name].bundle is not None and entry.definitions not in definitions:
                definitions[entry.definitions] = self._read(entry.definitions, _decode_files)
        keys = [StoredKey(h, KeyOrigin(origin), record) for h, origin, record in self._keys(body)]
        new_lists: dict[int, Callable[[], Iterator[Block]]] = {}
        changed: dict[int, list[ChangedBlocks]] = {}
        for at in {at.number: at for one in body.environments.values() for at in one.lists.values()}.values():
            if self._is_had(at) and own.get(at.number) == _entry_of(at):
                continue
            index = self._read(at.index, decode_index)
            if held.get(at.number) == at.secret:
                changed[at.number] = self._changes(index, pinned, at.number)
            else:
                new_lists[at.number] = self._blocks_of(index)
        return Installation(environments, definitions, keys, body.rows, body.lists_made, new_lists, changed)

    def _environment(self, name: str, entry: EnvironmentAt, pinned: PinnedGeneration) -> Incoming:
        lists = {each: _entry_of(at) for each, at in entry.lists.items()}
        if self._is_same(name, entry, pinned):
            return Incoming(lists)
        bundle = self._fetch(entry.bundle)
        self._check(name, bundle)
        key_set = self._fetch(entry.keys)
        _decode(_decode_key_set, key_set, "a key set")
        return Incoming(lists, bundle, entry.definitions, key_set, entry.overrides)

    def _is_same(self, name: str, entry: EnvironmentAt, pinned: PinnedGeneration) -> bool:
        """Whether all but its lists is as the store has it."""
        had = self._have.environments.get(name)
        return (
            had is not None
            and (had.bundle, had.definitions, had.keys, had.overrides)
            == (entry.bundle, entry.definitions, entry.keys, entry.overrides)
            and name in pinned.manifest.environments
        )

    def _keys(self, body: Body) -> list[tuple[bytes, int, KeyRecord]]:
        found = self._read(body.keys, _decode_keys)
        if any(len(key_hash) != HASH_BYTES or origin not in list(KeyOrigin) for key_hash, origin, _ in found):
            raise PlaceError("its key table can't be read")
        return found

    def _is_had(self, at: ListAt) -> bool:
        return any(at in one.lists.values() for one in self._have.environments.values())

    def _changes(self, index: Index, pinned: PinnedGeneration, number: int) -> list[ChangedBlocks]:
        found = difference(index, pinned.blocks(number), self._sealer.address)
        changes = [changed_blocks(group, index.bits, []) for group in found.gone]
        for group, address in found.wanted.items():
            blocks = decode_group(self._fetch(address, GROUP_BYTES_MAX), group, index.bits)
            changes.append(changed_blocks(group, index.bits, blocks))
        return changes

    def _blocks_of(self, index: Index) -> Callable[[], Iterator[Block]]:
        def blocks() -> Iterator[Block]:
            for group, address in sorted(index.groups.items()):
                yield from decode_group(self._fetch(address, GROUP_BYTES_MAX), group, index.bits)

        return blocks

    def _read(self, address: str, decode: Callable[[bytes], Read]) -> Read:
        return _decode(decode, self._fetch(address), "an object")

    def _fetch_ahead(self, addresses: list[str]) -> None:
        """What is asked for next, in one step: each by itself would wait for an answer."""
        self._turn()
        wanted = {each: self._bytes_max(each) for each in addresses if each not in self._ahead}
        if wanted:
            self._ahead |= zip(wanted, self._place.get_several(wanted), strict=True)

    def _fetch(self, address: str, most: int = OBJECT_BYTES_MAX) -> bytes:
        """`most`: bytes of an object whose size the manifest doesn't say."""
        self._turn()
        sealed = self._ahead.pop(address, None)
        if sealed is None:
            sealed = self._place.get(address, self._bytes_max(address, most))
        self.fetched_bytes += len(sealed)
        return self._sealer.open_object(address, sealed)

    def _bytes_max(self, address: str, most: int = OBJECT_BYTES_MAX) -> int:
        return self._sizes.get(address, most)


def take(
    store: Store,
    place: Place,
    sealer: Sealer,
    manifest: Manifest,
    *,
    role: Literal["publishes", "follows"],
    url: str,
    check: Check,
    turn: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Installs what a manifest says; the store's new generation, and how many bytes were fetched. Raises
    PlaceError, StoreError, BundleError: then the store is as it was."""
    before = origin_of(store)
    if before is not None and before.url != url:
        before = None
    undone = before is not None and role == "publishes" and before.generation != store.generation()
    if undone:
        before = None  # what was changed here since goes, and was never what a rollback goes back to
    taker = Taker(place, sealer, before, check, turn)
    with store.pin() as pinned:
        installation = taker.installation(manifest.body, pinned)

    def origin(generation: int) -> bytes:
        head = manifest.head
        return encode_origin(
            Origin(role, url, head.number, manifest.digest, generation, head.made_at, manifest.body)
        )

    return install(store.transactions, installation, origin, undone=undone), taker.fetched_bytes


def _entry_of(at: ListAt) -> ListEntry:
    return ListEntry(at.number, at.count, at.source, at.secret, at.changes)


def _entries_of(manifest: layout.Manifest) -> dict[int, ListEntry]:
    """By number, of the lists that a manifest names."""
    return {one.number: one for entry in manifest.environments.values() for one in entry.lists.values()}


def _lists_of(pinned: PinnedGeneration) -> dict[int, int]:
    """Number -> secret of every list that the store holds."""
    manifests = [pinned.previous_manifest(), pinned.manifest]
    return {
        number: one.secret
        for manifest in manifests
        if manifest is not None
        for number, one in _entries_of(manifest).items()
    }


def _decode(decode: Callable[[bytes], Read], plain: bytes, what: str) -> Read:
    try:
        return decode(plain)
    except msgspec.MsgspecError as error:
        raise PlaceError(f"{what} of it can't be read: {error}") from None
