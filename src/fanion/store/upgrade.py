"""A store whose bundles have an older format: found when a server starts, compiled again from what it keeps.

The compiling is the caller's (`bundle` imports no definitions); here it is told what is outdated and what the
sources were, and its bundles are put in the place of the old ones, with the same keys and lists, under a new
number, without overrides: who starts lays them next. The previous generation stays as it is: rolled back to, it is
compiled again at the next start. Before anything is changed the store is copied to `store/older.mdb`, which the
version that wrote it can be given back.

Decision, 2026-11. A store of a format before `STORE_FORMAT` is refused in words, not converted: format 1 was never
in a release, and what it held is made again by publishing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from fanion.bundle.format import VERSION
from fanion.errors import StoreError, StoreVersionError
from fanion.store.generation import PinnedGeneration
from fanion.store.replacement import replace_bundles
from fanion.store.store import Store

Recompile = Callable[[dict[str, bytes]], Mapping[str, bytes]]
"""Sources by file name -> the bundles of every environment in them."""

_VERSION_OFFSET = 8


def version_of(bundle: bytes | memoryview) -> int:
    """A bundle's format; 0 where it is too short to have one."""
    version: int = struct.unpack_from("<I", bundle, _VERSION_OFFSET)[0] if len(bundle) >= 12 else 0
    return version


def outdated(pinned: PinnedGeneration) -> list[str]:
    """Environments whose bundles have an older format. Raises StoreVersionError when one has a newer."""
    found = []
    for name in pinned.environments():
        bundle = pinned.bundle(name)
        assert bundle is not None
        version = version_of(bundle)
        if version > VERSION:
            raise StoreVersionError(
                f"the bundle of environment {name} has format {version}, this Fanion knows up to {VERSION}; run "
                f"the newer Fanion, or publish again"
            )
        if version < VERSION:
            found.append(name)
    return found


def upgrade(
    store: Store, recompile: Recompile, before: Callable[[Store], None] = Store.keep_older
) -> int | None:
    """Compiles outdated bundles again; the new generation, or None where nothing was outdated. `before`: keeps the
    store as it is, called only if something is outdated.

    Raises StoreVersionError, StoreError when the kept sources don't give an environment's bundle.
    """
    with store.pin() as pinned:
        groups: dict[int, list[str]] = {}
        for name in outdated(pinned):
            groups.setdefault(pinned.manifest.environments[name].publication, []).append(name)
        sources = {publication: pinned.definitions(names[0]) for publication, names in groups.items()}
    if groups:
        before(store)
    number = None
    for publication, names in groups.items():
        compiled = recompile(sources[publication])
        for name in names:
            if name not in compiled:
                raise StoreError(
                    f"environment {name} can't be compiled from what the store keeps; publish it again"
                )
        with store.transactions.publishing():
            replaced = {name: compiled[name] for name in names}
            number = replace_bundles(store.transactions, publication, replaced)
            store.word.raise_to(number)
    return number
