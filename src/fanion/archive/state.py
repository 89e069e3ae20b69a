"""What is said of the archive, in one small file that is only ever renamed into place. Nothing is decided by it but
where `fanion forget` looks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fanion.archive import DIRECTORY
from fanion.errors import DamagedFileError
from fanion.journal.storage import Storage
from fanion.small_files import read_document, replace_file, sealed

NAME: Final = "state.json"


class State(msgspec.Struct, frozen=True):
    """Counts are over all time. `archived_unix_s`: when a segment was last read back. `lost_records`: of archived
    segments, what the journal could not read. `conflicts`: objects that hold something else than the journal.
    `failing`: why it doesn't, since when; empty: it does. `urls`: where anything was ever archived; all of
    it, unless `damaged` says that what was said before is lost."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    lost_records: int = 0
    archived_unix_s: float = 0.0
    conflicts: list[str] = []
    failing: str = ""
    failing_since_unix_s: float = 0.0
    urls: list[str] = []
    damaged: str = ""


_decode = msgspec.json.Decoder(State).decode  # once, as threads read too


def load_state(storage: Storage, data: Path) -> State:
    """An empty one where nothing was archived yet; where what was said is damaged, one that says so."""
    path = data / DIRECTORY / NAME
    try:
        return read_document(storage, path, _decode)
    except FileNotFoundError:
        return State()
    except DamagedFileError as error:
        return State(damaged=f"{path} was damaged: {error}")


def keep_state(storage: Storage, data: Path, state: State) -> None:
    replace_file(storage, data / DIRECTORY / NAME, sealed(msgspec.json.encode(state)))
