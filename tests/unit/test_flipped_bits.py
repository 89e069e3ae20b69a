"""Small files that a server keeps, with any one bit flipped: told in words of our own, or begun anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from fanion.auth.key_use import read_key_use
from fanion.clock.belief import begin
from fanion.clock.keeper import GuardedClock, clock_path, decode, encode, look_at, read_clocks
from fanion.errors import FanionError
from fanion.journal.gaps import Gap, Gaps, keep_gaps, load_gaps
from fanion.journal.reader import Checkpoint, load_checkpoint
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import Manifest, commit_manifest, load_manifest
from fanion.sinks.state import State, keep_state, load_state
from fanion.small_files import replace_file, sealed

FanionState: TypeAlias = "Gaps | Checkpoint | Manifest | State"

TEXT = b'{"version":1,"machine":"abc","boot":"x-y","eras":[["a",1]]}'


def flips(content: bytes) -> list[bytes]:
    found = []
    for at in range(8 * len(content)):
        bent = bytearray(content)
        bent[at // 8] ^= 1 << at % 8
        found.append(bytes(bent))
    return found


def test_a_flipped_bit_in_the_clock_begins_it_anew(tmp_path: Path) -> None:
    kept = encode(begin(read_clocks()))
    assert decode(kept) is not None
    assert [bent for bent in flips(kept) if decode(bent) is not None] == []
    path = clock_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(kept.replace(b'"', b'"\xb5'))
    look_at(tmp_path)
    clock = GuardedClock.open(tmp_path, 60.0)
    clock.tick()
    assert abs(clock.expiry() - time.time()) < 60
    assert decode(path.read_bytes()) is not None


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("shared/key-use", read_key_use),
        ("journal/readers/x.gaps", lambda at: load_gaps(Storage(), at / "journal", "x")),
        ("journal/readers/x.json", lambda at: load_checkpoint(Storage(), at / "journal", "x")),
        ("rows/manifest.json", lambda at: load_manifest(Storage(), at / "rows")),
        ("sinks/x.json", lambda at: load_state(Storage(), at, "x")),
    ],
)
def test_a_flipped_bit_in_a_small_file_is_told_in_our_words(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    for bent in [*flips(TEXT), b'{"\xb5":1}', b"[" * 100_000]:
        path.write_bytes(bent)
        try:
            read(tmp_path)
        except FanionError:
            continue


@pytest.mark.parametrize("kind", ["gaps", "checkpoint", "manifest", "sink"])
def test_a_flipped_bit_never_moves_a_place(tmp_path: Path, kind: str) -> None:
    storage, place = Storage(), Checkpoint("abc", {3: 1_234_567})
    for folder in ("journal/readers", "rows", "sinks"):
        (tmp_path / folder).mkdir(parents=True)
    journal, rows = tmp_path / "journal", tmp_path / "rows"
    kept: FanionState
    read: Callable[[], FanionState]
    if kind == "gaps":
        kept, path = Gaps(2, 30, [Gap("a", 3, 4, 34, 1.5)]), journal / "readers" / "x.gaps"
        keep_gaps(storage, journal, "x", kept)
        read = partial(load_gaps, storage, journal, "x")
    elif kind == "checkpoint":
        kept, path = place, journal / "readers" / "x.json"
        replace_file(storage, path, sealed(msgspec.json.encode(place)))
        read = partial(load_checkpoint, storage, journal, "x")
    elif kind == "manifest":
        kept, path = Manifest(step=7, place=place), rows / "manifest.json"
        commit_manifest(storage, rows, kept)
        read = partial(load_manifest, storage, rows)
    else:
        kept, path = State(place=place, rows=12), tmp_path / "sinks" / "x.json"
        keep_state(storage, tmp_path, "x", kept)
        read = partial(load_state, storage, tmp_path, "x")
    assert read() == kept
    for bent in flips(path.read_bytes()):
        path.write_bytes(bent)
        found, told = kept, str(path)
        try:
            found = read()
        except FanionError as error:
            told = str(error)
        assert found == kept
        assert str(path) in told
