"""How far a sink is, in one small file that is only ever renamed into place."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import DamagedFileError, SinkError
from fanion.journal.reader import Checkpoint
from fanion.journal.storage import Storage
from fanion.small_files import read_document, replace_file, sealed

DIRECTORY: Final = "sinks"
VERSION: Final = 1


class State(msgspec.Struct):
    """`place`: all before it was taken. `planned`: where the step ends that may have been taken in part.
    `fresh_us`: everything durable before this time of the wall clock was taken; 0: not known. Counts are over all
    time. `failing`: why the last step was not taken, since when; empty: it was."""

    version: int = VERSION
    place: Checkpoint = msgspec.field(default_factory=Checkpoint)
    planned: Checkpoint | None = None
    steps: int = 0
    rows: int = 0
    unreadable: int = 0
    left_out: int = 0
    fresh_us: int = 0
    taken_unix_s: float = 0.0
    failing: str = ""
    failing_since_unix_s: float = 0.0


_decode = msgspec.json.Decoder(State).decode  # once, as threads read too


def load_state(storage: Storage, data: Path, name: str) -> State:
    """Of the sink `name` in the data directory; an empty one where it never ran. Raises SinkError."""
    path = data / DIRECTORY / f"{name}.json"
    try:
        state = read_document(storage, path, _decode)
    except FileNotFoundError:
        return State()
    except DamagedFileError as error:
        raise SinkError(
            f"{path}: not a sink's place: {error}; remove it to have everything taken again"
        ) from None
    if state.version != VERSION:
        raise SinkError(
            f"{path}: format version {state.version}, this Fanion reads {VERSION}; run the newer Fanion, or remove "
            "it to have everything taken again"
        )
    return state


def keep_state(storage: Storage, data: Path, name: str, state: State) -> None:
    replace_file(storage, data / DIRECTORY / f"{name}.json", sealed(msgspec.json.encode(state)))
