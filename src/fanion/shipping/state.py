"""What is said of shipping, in one small file that is only ever renamed into place. Nothing is decided by it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import DamagedFileError
from fanion.journal.storage import Storage
from fanion.shipping import DIRECTORY
from fanion.small_files import read_document, replace_file, sealed

NAME: Final = "state.json"


class State(msgspec.Struct, frozen=True):
    """Counts are over all time. `sent_unix_s`: when the stream last took something.
    `verified_blocks`: that were read back. `resent_blocks`: that it had lost. `unrecovered_records`: of those,
    what the journal can't read any more either. `failing`: why it doesn't, since
    when; empty: it does. `made`: when the stream was, as NATS writes it, that has what the ledger says.
    `acknowledged`: writer -> since and until, what it acknowledged without a gap (`acks`)."""

    blocks: int = 0
    records: int = 0
    bytes: int = 0
    sent_unix_s: float = 0.0
    verified_blocks: int = 0
    resent_blocks: int = 0
    unrecovered_records: int = 0
    failing: str = ""
    failing_since_unix_s: float = 0.0
    made: str = ""
    acknowledged: dict[int, tuple[int, int]] = {}


_decode = msgspec.json.Decoder(State).decode  # once, as threads read too


def load_state(storage: Storage, data: Path) -> State:
    """An empty one where nothing was shipped yet, or what was said is damaged."""
    try:
        return read_document(storage, data / DIRECTORY / NAME, _decode)
    except (FileNotFoundError, DamagedFileError):
        return State()


def keep_state(storage: Storage, data: Path, state: State) -> None:
    replace_file(storage, data / DIRECTORY / NAME, sealed(msgspec.json.encode(state)), synced=False)
