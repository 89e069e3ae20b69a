"""Asking living writers to turn: to end the segment in use, begin a fresh one, and wipe their rings behind it.

`turn` in the journal's directory holds a random word while somebody asks; each writer's steward does it and answers
in `NNN.turned` with that word and the last ordinal of before. A worker that begins while it is asked turns as well.
What an asker that was killed left is asked once more of each new session, which harms nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fanion._core.ring import Ring
from fanion.errors import JournalError
from fanion.journal.batch import EVENTS_HEADER
from fanion.journal.exposures import FORM, HEAD
from fanion.journal.files import random_name
from fanion.journal.log_segment import KIND_EXPOSURES
from fanion.journal.session import Session
from fanion.journal.slot import is_owned
from fanion.journal.storage import Storage, read_file, write_all

NAME: Final = "turn"
POLL_S: Final = 0.02
NOTHING: Final = EVENTS_HEADER.pack(0, 0, 0, 0, 0) + HEAD.pack(FORM, 0, 0)
"""A record of no exposures: a segment begins with a record, and there may be none for long."""
WIPE_BYTES: Final = 1 << 20
"""At a time on the event loop: about a tenth of a millisecond."""


class Asked:
    """`writers`: those that had an owner when they were asked."""

    def __init__(self, storage: Storage, journal: Path, word: str, writers: Sequence[int]) -> None:
        self._storage = storage
        self._journal = journal
        self._word = word
        self.writers = set(writers)

    def wait(self, seconds: float) -> dict[int, int]:
        """Each writer that turned, with its last ordinal of before. Nobody waits for one without an owner."""
        deadline = self._storage.now() + int(seconds * 1e9)
        while True:
            turned = {w: found for w in self.writers if (found := self._answer(w)) is not None}
            missing = self.writers - turned.keys()
            living = [writer for writer in missing if is_owned(self._storage, self._journal, writer)]
            if not living or self._storage.now() >= deadline:
                return turned
            self._storage.sleep(POLL_S)

    def _answer(self, writer: int) -> int | None:
        word, _, ordinal = read_word(self._storage, answer_path(self._journal, writer)).partition(" ")
        return int(ordinal) if word == self._word and ordinal else None


@contextmanager
def asking_to_turn(storage: Storage, journal: Path, writers: Sequence[int]) -> Iterator[Asked]:
    """Asks until it ends; nobody where there are no writers."""
    word = random_name(storage)
    if writers:
        write_word(storage, journal / NAME, word)
    try:
        yield Asked(storage, journal, word, writers)
    finally:
        for path in (journal / NAME, *(answer_path(journal, writer) for writer in writers)):
            with contextlib.suppress(FileNotFoundError):
                storage.unlink(path)


def answer_path(journal: Path, writer: int) -> Path:
    return journal / f"{writer:03d}.turned"


def asked_word(storage: Storage, journal: Path) -> str:
    """The word of who asks now; "": nobody."""
    return read_word(storage, journal / NAME)


def read_word(storage: Storage, path: Path) -> str:
    try:
        return read_file(storage, path).decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def write_word(storage: Storage, path: Path, word: str) -> None:
    """In one write; a reader that meets half of it sees another word and looks again."""
    fd = storage.open(path, create=True)
    try:
        storage.truncate(fd, 0)
        write_all(storage, fd, word.encode("ascii"), 0)
    finally:
        storage.close(fd)


class Turning:
    """The steward's part, a step a round. `call`: runs something on the event loop's thread."""

    def __init__(self, storage: Storage, journal: Path, call: Callable[[Callable[[], None]], None]) -> None:
        self._storage = storage
        self._journal = journal
        self._call = call
        self._word = self._done = ""
        self._session: Session | None = None
        self._last = self._head = 0
        self._wiped = self._begun = False

    def run(self, session: Session) -> None:
        word = asked_word(self._storage, self._journal)
        if not word or (word == self._done and session is self._session):
            return
        if word != self._word or session is not self._session:
            self._word, self._done, self._session = word, "", session
            self._last, self._begun, self._wiped = -1, False, False
            self._head = session.ring.head_sequence
        if self._last < 0:
            if session.ring.durable < self._head:
                return  # what came before goes to segments of before
            self._last = session.ordinal
        if any(ready.header.ordinal <= self._last for ready in session.made.values()):
            self._begin(session)
        elif not self._begun:
            self._begun = True
            self._call(lambda: self._wipe(session.ring))
        elif self._wiped:
            answer = f"{word} {self._last}"
            write_word(self._storage, answer_path(self._journal, session.slot.writer), answer)
            self._done = word

    def _begin(self, session: Session) -> None:
        """Has the writer begin the next segment, until those that were made before are used up: they may have had
        an earlier life, and the pool is empty while it is asked to turn."""
        with contextlib.suppress(OSError, JournalError):
            if not session.native.offers:
                session.offer_segment(zeroed=False)
            if not session.native.turning:
                session.native.turn()
                now = self._storage.wall()
                self._call(lambda: self._append(session.ring, now))

    @staticmethod
    def _append(ring: Ring, now_ns: int) -> None:
        ring.append_payload(NOTHING, now_ns, KIND_EXPOSURES)

    def _wipe(self, ring: Ring, position: int = 0, end: int = 0) -> None:
        if not end:
            position, end = ring.free_room()
        ring.wipe(position, min(WIPE_BYTES, end - position))
        position += WIPE_BYTES
        if position < end:
            self._call(lambda: self._wipe(ring, position, end))
        else:
            self._wiped = True
