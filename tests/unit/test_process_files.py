"""What processes beside the workers say in files of their own: whole, or none; a flipped bit stops nobody."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import fanion.archive.state
import fanion.shipping.state
from fanion.journal.storage import Storage

ROOMS = (fanion.archive.state, fanion.shipping.state)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_what_is_said_reads_back_and_what_is_damaged_is_none(room: ModuleType, tmp_path: Path) -> None:
    storage, path = Storage(), tmp_path / room.DIRECTORY / "state.json"
    path.parent.mkdir()
    assert room.load_state(storage, tmp_path) == room.State()
    said = room.State(records=7, failing="no answer")
    room.keep_state(storage, tmp_path, said)
    assert room.load_state(storage, tmp_path) == said
    whole = path.read_bytes()
    at = whole.index(b"answer")
    for bent in (whole[:at] + b"\xff" + whole[at + 1 :], whole[:-3], b"[" * 100_000):
        path.write_bytes(bent)
        found = room.load_state(storage, tmp_path)
        assert (found.records, found.failing) == (0, "")
        if room is fanion.archive.state:  # `forget` must know that its list of places is not whole
            assert found.damaged.startswith(f"{path} was damaged: ")
