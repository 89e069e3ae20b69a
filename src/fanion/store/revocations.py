"""Revocations beside the store: a copy that is older than one must not revive the key when it is put in place.

    DIR/store/revoked   a line for each revoked key: its SHA-256 in hex, a space, its record as JSON

A line is written and synced before its revocation commits, under LMDB's write lock. So revoking needs no new copy
of the store, which would take as long as the store is large. Lines are never removed; neither are revoked keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fanion.errors import StoreError
from fanion.model.api_key import HASH_BYTES, KeyRecord
from fanion.store.database import store_path


def note_revocations(directory: Path, revoked: Iterable[tuple[bytes, KeyRecord]]) -> None:
    """Hashes and records of keys. Raises StoreError when they can't be made durable."""
    path = store_path(directory) / "revoked"
    lines = b"".join(
        b"\n%s %s\n"
        % (key_hash.hex().encode(), msgspec.json.encode(record))  # the line before may be cut off
        for key_hash, record in revoked
    )
    if not lines:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "ab", closefd=False) as file:
                file.write(lines)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror}; nothing is revoked") from None


def noted_revocations(directory: Path) -> dict[bytes, KeyRecord]:
    """Whole lines only. Raises StoreError when the file can't be read."""
    path = store_path(directory) / "revoked"
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from None
    found = {}
    for line in lines:
        try:
            key_hash = bytes.fromhex(line[: 2 * HASH_BYTES].decode())
            found[key_hash] = msgspec.json.decode(line[2 * HASH_BYTES :], type=KeyRecord)
        except (ValueError, msgspec.MsgspecError):
            continue
    return {key_hash: record for key_hash, record in found.items() if len(key_hash) == HASH_BYTES}
