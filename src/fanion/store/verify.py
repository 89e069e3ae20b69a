"""Is this store's file whole? Checked before it is mapped, and in a process of its own that may die of it.

LMDB has no checksums: a truncated file ends the process (SIGBUS), a damaged page may (SIGSEGV), and a flipped
byte is returned silently. So: `check_file` compares sizes from the file's own header, without mapping;
`verify` walks every page that a server would touch, in a child, comparing the checksums that we keep.
`python -m fanion.store.verify DIR` is that child: exit 0 whole, 1 damaged, 3 of another format, 4 can't be read
now, which is no damage (said on standard output).
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

import lmdb
import xxhash

from fanion.errors import StoreBusyError, StoreError, StoreMissingError, StoreVersionError
from fanion.store import layout
from fanion.store.generation import PinnedGeneration
from fanion.store.handles import Handles, translate
from fanion.store.layout import DATABASES, read_key, unseal
from fanion.store.signing import ROW as SIGNING_ROW
from fanion.store.signing import decode_signing_keys
from fanion.store.unit_keys import ROW as UNIT_KEYS_ROW
from fanion.store.unit_keys import decode_unit_keys
from fanion.store.weights import read_weights

DATA_FILE = "data.mdb"
CHILD_TIMEOUT_S = 600
OTHER_FORMAT_STATUS = 3
BUSY_STATUS = 4
BUSY_WAIT_S = 3.0
"""A server's workers free the places of dead readers every second."""
BUSY_PAUSE_S = 0.05
META_MAGIC = 0xBEEFC0DE
META_VERSION = 1
META_FLAG = 0x08


class FileHead(NamedTuple):
    """What the file's newer meta page says of it."""

    map_bytes: int
    transaction: int
    short_by: int
    """Bytes missing at the end. LMDB may leave out trailing pages that it has freed, so this alone isn't damage."""


def check_file(directory: Path) -> FileHead:
    """Reads the two meta pages of DIR/data.mdb. Raises StoreMissingError, StoreError when it isn't a store's file
    or is too short to hold its own meta pages."""
    path = directory / DATA_FILE
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            pages = file.read(2 * 65_536)
    except FileNotFoundError:
        raise StoreMissingError(f"{directory}: there is no store here; `fanion publish` makes one") from None
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from None
    page_bytes = int(struct.unpack_from("<I", pages, 40)[0]) if len(pages) >= 152 else 0
    if page_bytes not in (4096, 8192, 16_384, 32_768, 65_536):
        raise StoreError(f"{path}: not a store's file, or cut off in its first page ({size} bytes)")
    if size < 2 * page_bytes:
        raise StoreError(
            f"{path}: cut off: {size} bytes, and its two header pages alone take {2 * page_bytes}"
        )
    heads = [_read_meta(pages, start) for start in (0, page_bytes)]
    newest = max((head for head in heads if head is not None), key=lambda head: head[2], default=None)
    if newest is None:
        raise StoreError(f"{path}: not a store's file: both header pages are damaged")
    map_bytes, last_page, transaction = newest
    return FileHead(map_bytes, transaction, max(0, (last_page + 1) * page_bytes - size))


def _read_meta(pages: bytes, start: int) -> tuple[int, int, int] | None:
    """(map size, last page, transaction) of the meta page at `start`; None when it isn't one."""
    flags = struct.unpack_from("<H", pages, start + 10)[0]
    magic, version = struct.unpack_from("<II", pages, start + 16)
    if (magic, version) != (META_MAGIC, META_VERSION) or not flags & META_FLAG:
        return None
    last_page, transaction = struct.unpack_from("<QQ", pages, start + 136)
    return struct.unpack_from("<Q", pages, start + 32)[0], last_page, transaction


def verify(directory: Path, *, deep: bool = False) -> str | None:
    """None when the store in `directory` is whole, else what is wrong with it. `deep`: long lists too.

    Runs in a child process, since reading a damaged file may kill the reader. Raises StoreVersionError for another
    format and StoreBusyError for a file that can't be read now: neither is damage.
    """
    ends = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            return _verify_once(directory, deep=deep)
        except StoreBusyError:
            if time.monotonic() >= ends:
                raise
        time.sleep(BUSY_PAUSE_S)


def _verify_once(directory: Path, *, deep: bool) -> str | None:
    import subprocess  # a store that is only opened has no child

    command = [sys.executable, "-m", "fanion.store.verify", str(directory), *(["deep"] if deep else [])]
    try:
        child = subprocess.run(command, capture_output=True, timeout=CHILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{directory}: reading it through took longer than {CHILD_TIMEOUT_S} s"
    if child.returncode == 0:
        return None
    said = child.stdout.decode(errors="replace").strip()
    if child.returncode == OTHER_FORMAT_STATUS:
        raise StoreVersionError(said)
    if child.returncode == BUSY_STATUS:
        raise StoreBusyError(said)
    if said:
        return said
    return f"{directory}: the process that read it through ended with status {child.returncode}"


def walk(directory: Path, *, deep: bool) -> None:
    """Reads what a server reads and compares checksums. Raises StoreError, or dies with the process."""
    check_file(directory)
    try:
        environment = lmdb.open(
            str(directory), readonly=True, lock=_is_live(directory), max_dbs=len(DATABASES), create=False
        )
    except lmdb.Error as error:
        raise translate(error, str(directory)) from None
    try:
        databases = open_databases(environment, create=False)
        with environment.begin(buffers=True) as transaction:
            pinned = PinnedGeneration(transaction, databases)
            lists: set[int] | None = set() if deep else None
            _walk_generation(pinned, lists)
            _walk_meta(pinned)
            previous = layout.read_manifest(transaction, databases, b"previous")
            if previous is not None:
                pinned.manifest = previous
                _walk_generation(pinned, lists)
            for name in ("key_sets", "definitions"):
                for key, value in transaction.cursor(databases[name]):
                    unseal(bytes(key), bytes(value), name)
            for key, value in transaction.cursor(databases["api_keys"]):
                read_key(bytes(key), bytes(value))
    except lmdb.Error as error:
        raise translate(error, str(directory)) from None
    finally:
        environment.close()


def _walk_meta(pinned: PinnedGeneration) -> None:
    """What belongs to no generation."""
    pinned.overrides()
    decode_signing_keys(pinned.meta(SIGNING_ROW))
    decode_unit_keys(pinned.meta(UNIT_KEYS_ROW))
    for name in pinned.environments():
        read_weights(pinned, name)


def _walk_generation(pinned: PinnedGeneration, lists: set[int] | None) -> None:
    """`lists`: numbers of those that were read through already, each once; None leaves them out."""
    for name, entry in pinned.manifest.environments.items():
        bundle = pinned.bundle(name)
        if bundle is None or xxhash.xxh64_intdigest(bundle) != entry.digest:
            raise StoreError(f"the bundle of environment {name} is damaged")
        for blocks in entry.lists.values():
            if lists is not None and blocks.number not in lists:
                pinned.check_list(blocks)
                lists.add(blocks.number)


def _is_live(directory: Path) -> bool:
    """A copy has no lock file and no writer."""
    return (directory / "lock.mdb").exists()


def open_databases(environment: lmdb.Environment, *, create: bool) -> Handles:
    """Handles of the named databases; checks the format first. Raises StoreVersionError, StoreError."""
    try:
        meta = environment.open_db(b"meta", create=create)
    except lmdb.NotFoundError:
        raise StoreMissingError(f"{environment.path()}: nothing has been published here yet") from None
    with environment.begin() as transaction:
        found = transaction.get(b"format", db=meta)
    if found is None and not create:
        raise StoreMissingError(f"{environment.path()}: nothing has been published here yet")
    if found is not None and int(found) > layout.STORE_FORMAT:
        raise StoreVersionError(
            f"{environment.path()}: the store has format {int(found)}, this Fanion knows up to "
            f"{layout.STORE_FORMAT}; run the newer Fanion, or publish into a new directory"
        )
    if found is not None and int(found) < layout.STORE_FORMAT:
        raise StoreVersionError(
            f"{environment.path()}: the store has format {int(found)}, this Fanion reads only "
            f"{layout.STORE_FORMAT}; run the older Fanion, or move {environment.path()} away and publish again: "
            "events and rows stay"
        )
    databases = {name: environment.open_db(name.encode(), create=create) for name in DATABASES}
    if found is None:
        with environment.begin(write=True) as transaction:
            transaction.put(b"format", str(layout.STORE_FORMAT).encode(), db=meta)
    return databases


def main() -> None:
    """The child: argument 1 the directory, argument 2 "deep" or nothing."""
    try:
        walk(Path(sys.argv[1]), deep=sys.argv[2:] == ["deep"])
    except StoreError as error:
        print(error)
        if isinstance(error, StoreBusyError):
            sys.exit(BUSY_STATUS)
        sys.exit(OTHER_FORMAT_STATUS if isinstance(error, StoreVersionError) else 1)


if __name__ == "__main__":
    main()
