"""Bundles that are what compiling would give, since nothing that they are compiled from changed.

The store says of each bundle what it was compiled from: a digest of the lowered environment, of the APIs that serve
it, and of this Fanion's own files, so that another version, or another state of a source tree, compiles anew. A
bundle whose bytes aren't those that the store noted is no bundle. What lies over an environment is in what it is
lowered to; a bundle that was put in a published one's place (`store.replacement`) says nothing.

Decision, 2026-11. Whole environments, and what is lowered, not what the files say. Options: parts of a bundle by
flag, files by their bytes, or environments by what they are lowered to. Where a text of a bundle stands depends on
which flag uses it first, so parts would have to be put together anew; a file says several environments, and an
override, applied weights or an API's setting aren't in it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from fanion.errors import StoreError
from fanion.model.program import Lowered
from fanion.store.store import Store

PACKAGE: Final = Path(__file__).parents[1]
CODE: Final = (".py", ".so")


def digest_of(lowered: Lowered, tables: Collection[str]) -> str:
    """What a bundle is compiled from; empty where that can't be said in a few bytes."""
    try:
        said = msgspec.msgpack.encode(lowered)
    except (OverflowError, UnicodeEncodeError):  # a whole number beyond 64 bits, half of a surrogate pair
        return ""
    given = (own_files(), msgspec.__version__, sorted(tables), xxhash.xxh3_128_digest(said))
    return xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode(given))


@cache
def own_files() -> bytes:
    """A digest of the files that Fanion runs from, by what they hold: packagers set their times as they like."""
    found = sorted((path[len(os.fspath(PACKAGE)) :], _digest_of_file(path)) for path in _files_in(PACKAGE))
    return xxhash.xxh3_128_digest(msgspec.msgpack.encode(found))


def _files_in(folder: str | Path) -> Iterator[str]:
    """By `os.scandir`: a `Path` of each takes three times as long as reading it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_in(entry.path)
            elif entry.name.endswith(CODE):
                yield entry.path


def _digest_of_file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see `_files_in`
        return xxhash.xxh3_128_digest(file.readall())


def served_bundles(store: Store, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """Environment -> the bundle that is served, of those that were compiled from what their digest says. One that
    the store has lost or can't read is none, so that publishing puts it right."""
    found = {}
    with store.pin() as pinned:
        for environment, digest in wanted.items():
            entry = pinned.manifest.environments.get(environment)
            if entry is not None and digest and entry.compiled_from == digest:
                try:
                    bundle = bytes(pinned.bundle(environment) or b"")
                except StoreError:
                    continue
                if xxhash.xxh64_intdigest(bundle) == entry.digest:
                    found[environment] = bundle
    return found
