"""What a worker serves from: the current generation, followed without a restart.

The request path costs one acquire load of the shared generation word. Only when it has moved, and once a
second in `tick` (the word is a hint; the number inside the commit counts), the store is read.

Invariants: a snapshot is one generation, whole; a request takes it once and doesn't await between taking it
and its last use. A bundle that doesn't verify is refused, and the environment goes on with the last good one
(this worker's, else the store's previous). A store that can't be read leaves the last snapshot in place.
At most two generations are pinned, one more for each environment whose newest bundle was refused.
One Reloader belongs to one process and one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
import xxhash

from fanion._core.list_block import ListReader
from fanion.errors import BundleError, StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.model.signing import SigningKeys
from fanion.store.database import Word
from fanion.store.generation import PinnedGeneration
from fanion.store.signing import ROW, decode_signing_keys
from fanion.store.store import Store
from fanion.store.unit_keys import ROW as UNIT_KEYS_ROW
from fanion.store.unit_keys import decode_unit_keys

View = TypeVar("View")

MakeView = Callable[[str, memoryview, Callable[[], bytes | None]], View]
"""Environment, bundle, the key of its units' digests (None: it never had one) -> what requests use. Verifies the
bundle; BundleError refuses it."""

Report = Callable[[str, str], None]
"""Told of a fault: the environment ("" for the store as a whole) and what is wrong."""

KEY_CACHE_ENTRIES = 65_536

UNREAD: Final = object()

_decode_record = msgspec.json.Decoder(KeyRecord).decode


def _no_report(environment: str, problem: str) -> None:
    """The default: whoever builds the worker passes its log instead."""


class Snapshot(Generic[View]):
    """One generation as this worker serves it."""

    def __init__(
        self,
        pinned: PinnedGeneration,
        make_view: MakeView[View],
        now: Callable[[], float],
        report: Report,
        entries: int,
        known: set[bytes],
        used: set[str],
    ) -> None:
        self.number = pinned.number
        self.confirmed_at = time.monotonic()
        """Monotonic seconds when the store last said that this generation is the current one."""
        self.member: Callable[[str, str, bytes], bool] = pinned.member
        """(environment, list name, member) -> whether the list segment holds it."""
        self.list_reader: Callable[[str, str], ListReader | None] = pinned.list_reader
        """(environment, list name) -> its reader, for many look-ups at once; None: empty or unknown."""
        self.overrides = pinned.overrides
        """What lies over the definitions."""
        self._pinned = pinned
        self._make_view = make_view
        self._now = now
        self._report = report
        self._views: dict[str, View] = {}
        self._refused: dict[str, StoreError] = {}
        self._borrowed: dict[str, PinnedGeneration] = {}
        """Environment -> the older generation that its view is still read from, since the newer was refused."""
        self._digests: dict[str, int] = {}
        """Environment -> the xxh64 of the bundle that its view is read from."""
        self._contents: dict[str, bytes] = {}
        self._signing_keys: Any = UNREAD
        self._unit_keys: Mapping[str, bytes] | None = None
        self._keys: dict[bytes, KeyRecord] = {}
        self._keys_max = entries
        self._known = known
        self._used = used
        self._lapsed = False

    def environments(self) -> tuple[str, ...]:
        """Ids of the environments of this generation."""
        return self._pinned.environments()

    def view(self, environment: str) -> View | None:
        """What the environment is answered from; None when this generation doesn't serve it.

        Made at the first use. Raises StoreError when no bundle of it verifies.
        """
        try:
            return self._views[environment]
        except KeyError:
            return self._first_view(environment)

    def content(self, environment: str) -> bytes:
        """What the environment is answered from, its view made: another digest for any other bundle or member of a
        list. A publish that changes neither keeps it. Raises StoreError, as `view` does."""
        known = self._contents.get(environment)
        if known is None:
            self.view(environment)
            entry = self._pinned.manifest.environments.get(environment)
            lists = {} if entry is None else entry.lists
            named = [(name, lists[name]) for name in sorted(lists)]
            state = msgspec.msgpack.encode((self._digests.get(environment, 0), named))
            known = self._contents[environment] = xxhash.xxh3_128_digest(state)
        return known

    def known_key(self, raw_key: bytes) -> KeyRecord | None:
        """As `key`, but the store is asked only for a key that this process has found there before."""
        record = self._keys.get(raw_key)
        if record is None:
            return self.key(raw_key) if hash_key(raw_key) in self._known else None
        if record.expires_at is not None and self._now() >= record.expires_at:
            return None
        return record

    def key(self, raw_key: bytes) -> KeyRecord | None:
        """The record of a key that opens something now: known, not revoked, not expired, its environment served.

        Known keys are remembered for this generation; unknown ones are not, so that guessing fills nothing.
        Raises StoreError when the store can't be read: that is no refusal.
        """
        record = self._keys.get(raw_key)
        if record is None:
            record = self._look_up(raw_key)
            if record is None:
                return None
        if record.expires_at is not None and self._now() >= record.expires_at:
            return None
        return record

    def holder(self, key_hash: bytes) -> KeyRecord | None:
        """As `key`, for whoever has no more of a key than its SHA-256; nothing is remembered."""
        record = self._find(key_hash)
        if record is None or (record.expires_at is not None and self._now() >= record.expires_at):
            return None
        return record

    @property
    def signing_keys(self) -> SigningKeys | None:
        """What trace tokens and addresses of streams are signed with in this generation. Raises StoreError."""
        if self._signing_keys is UNREAD:
            self._signing_keys = decode_signing_keys(self._pinned.meta(ROW))
        keys: SigningKeys | None = self._signing_keys
        return keys

    def key_hashes(self) -> Iterator[bytes]:
        """Of the keys in the store, as many as are remembered. Raises StoreError."""
        return self._pinned.key_hashes(self._keys_max)

    def _find(self, key_hash: bytes) -> KeyRecord | None:
        found = None if self._lapsed else self._pinned.key(key_hash)
        if found is None:
            return None
        try:
            record = _decode_record(found)
        except msgspec.MsgspecError as error:
            raise StoreError(f"the store holds a key record that can't be read: {error}") from error
        return record if record.environment in self._pinned.manifest.environments else None

    def _look_up(self, raw_key: bytes) -> KeyRecord | None:
        key_hash = hash_key(raw_key)
        record = self._find(key_hash)
        if record is None:
            return None
        if len(self._keys) >= self._keys_max:
            self._keys.clear()
        self._keys[raw_key] = record
        if record.expires_at is None or self._now() < record.expires_at:
            self._used.add(record.id)
        if len(self._known) < self._keys_max:
            self._known.add(key_hash)
        return record

    def _first_view(self, environment: str) -> View | None:
        if environment in self._refused:
            raise self._refused[environment]
        bundle = self._pinned.bundle(environment)
        if bundle is None:
            return None
        view = self._try_view(environment, bundle)
        if view is None:
            previous = self._pinned.previous_bundle(environment)
            view = None if previous is None else self._try_view(environment, previous)
        if view is None:
            error = StoreError(f"no bundle of environment {environment} verifies; publish it again")
            self._refused[environment] = error
            raise error
        self._views[environment] = view
        return view

    def _try_view(self, environment: str, bundle: memoryview) -> View | None:
        try:
            made = self._make_view(environment, bundle, lambda: self._unit_key(environment))
        except BundleError as error:
            self._report(environment, str(error))
            return None
        self._digests[environment] = xxhash.xxh64_intdigest(bundle)
        return made

    def _unit_key(self, environment: str) -> bytes | None:
        if self._unit_keys is None:
            self._unit_keys = decode_unit_keys(self._pinned.meta(UNIT_KEYS_ROW)).keys
        return self._unit_keys.get(environment)

    def _continue(self, older: Snapshot[View]) -> None:
        """Takes over what `older` served: unchanged environments as they are, changed ones made anew, and those
        whose new bundle is refused with their last good view."""
        for environment, view in older._views.items():
            lender = older._borrowed.get(environment)
            if lender is None and self._pinned.adopt(older._pinned, environment):
                self._views[environment] = view
                self._digests[environment] = older._digests[environment]
                continue
            bundle = self._pinned.bundle(environment)
            if bundle is None:
                continue
            made = self._try_view(environment, bundle)
            if made is not None:
                self._views[environment] = made
            else:
                self._views[environment] = view
                self._digests[environment] = older._digests[environment]
                self._borrowed[environment] = lender or older._pinned

    def _lenders(self) -> list[PinnedGeneration]:
        return list({id(pinned): pinned for pinned in self._borrowed.values()}.values())

    def _forget(self) -> None:
        """Lets go of every view, so that the pin can be released."""
        self._views.clear()
        self._borrowed.clear()
        self._keys.clear()


class Reloader(Generic[View]):
    """Follows the store for one worker."""

    def __init__(
        self,
        store: Store,
        word: Word,
        make_view: MakeView[View],
        *,
        now: Callable[[], float] = time.time,
        report: Report = _no_report,
        key_cache_entries: int = KEY_CACHE_ENTRIES,
    ) -> None:
        """`now`: Unix seconds that a key's expiry is judged by. Raises StoreError when there is nothing to serve
        from."""
        self._store = store
        self._load = word.load
        self._make_view = make_view
        self._now = now
        self._report = report
        self._entries = key_cache_entries
        self._retired: list[PinnedGeneration] = []
        self._problem = ""
        self.replaced = ""
        """What `Store.replaced` said at the last tick. What was served is served on, but a process that opens the
        store anew has to take this one's place."""
        self._seen = self._load()
        self._known: set[bytes] = set()
        """Hashes of keys that the store holds or has held: those of the start, and those found since."""
        self._used: set[str] = set()
        self._lapsed = False
        self._snapshot = self._pin()
        self._known.update(self._snapshot.key_hashes())

    def current(self) -> Snapshot[View]:
        """The generation that counts from now on. Never raises; see `problem`."""
        if self._load() != self._seen:
            self._follow()
        return self._snapshot

    @property
    def serving(self) -> Snapshot[View]:
        """The snapshot that `current` gave last. For what an evaluation asks on its way: it never moves on."""
        return self._snapshot

    @property
    def problem(self) -> str:
        """Why the store could not be read when last tried; empty when it could."""
        return self._problem

    @property
    def refused(self) -> dict[str, str]:
        """Environments of which no bundle verifies, so that nothing of theirs can be answered, and why."""
        return {environment: str(error) for environment, error in self._snapshot._refused.items()}

    def tick(self) -> None:
        """Once a second, also when idle: asks the store itself, frees what dead processes had pinned, and lets go
        of what is no longer used."""
        try:
            self._store.check_readers()
            self.replaced = self._store.replaced()
            if self.replaced:
                self._fail(StoreError(self.replaced))
                return
            moved = self._store.generation() != self._snapshot.number
        except StoreError as error:
            self._fail(error)
            return
        if moved:
            self._follow()
        else:
            self._problem = ""
            self._snapshot.confirmed_at = time.monotonic()
        self._release(keep=0)

    def take_used(self) -> set[str]:
        """Ids of the keys that requests were let in by and the store was asked for, since this was last asked."""
        used = self._used.copy()
        self._used.clear()
        return used

    def lapse(self, lapsed: bool) -> None:
        """No key opens anything from now on, or those that the store holds do again."""
        self._lapsed = self._snapshot._lapsed = lapsed
        self._snapshot._keys.clear()

    def forget_keys(self) -> None:
        """Has every key be looked up again at its next request."""
        self._snapshot._keys.clear()

    def close(self) -> None:
        """Lets go of everything; the Reloader is unusable from here on."""
        self._retire(self._snapshot, None)
        self._release(keep=0)

    def _pin(self) -> Snapshot[View]:
        return Snapshot(
            self._store.pin(),
            self._make_view,
            self._now,
            self._report,
            self._entries,
            self._known,
            self._used,
        )

    def _follow(self) -> None:
        """Moves to the committed generation; on a fault, the last snapshot stays and `tick` tries again."""
        self._seen = self._load()
        try:
            newer = self._pin()
        except StoreError as error:
            self._fail(error)
            return
        self._problem = self.replaced
        older = self._snapshot
        if newer.number == older.number:
            older.confirmed_at = newer.confirmed_at
            self._retire(newer, None)
            return
        try:
            newer._continue(older)
        except StoreError as error:
            self._retire(newer, None)
            self._fail(error)
            return
        newer._lapsed = self._lapsed
        self._snapshot = newer
        self._retire(older, newer)
        self._release(keep=1)

    def _retire(self, snapshot: Snapshot[View], heir: Snapshot[View] | None) -> None:
        """Puts what `snapshot` pins up for release, but for what its heir goes on borrowing."""
        pins = [*snapshot._lenders(), snapshot._pinned]
        lent = [] if heir is None else heir._lenders()
        snapshot._forget()
        self._retired += [pinned for pinned in pins if not any(pinned is other for other in lent)]

    def _release(self, *, keep: int) -> None:
        """Ends retired generations but the newest `keep`: one, for a request that took it a moment ago. Those
        whose views are still in use stay until they aren't."""
        kept = self._retired[len(self._retired) - keep :] if keep else []
        self._retired = [p for p in self._retired[: len(self._retired) - keep] if not p.release()] + kept

    def _fail(self, error: StoreError) -> None:
        if self._problem != str(error):
            self._report("", str(error))
        self._problem = str(error)
