"""The last good time of a data directory, in DIR/shared/clock, and how every process of it keeps to the same one.

The file is the authority: replaced whole, synced, under a lock, by whichever worker is due first, once a minute, at
a jump and at a stop. Everyone else follows it. A file that is missing or doesn't verify is begun anew, which costs
no more than that nothing is deleted by age for as long as a jump isn't believed. `look_at` only reads it, for
commands and for retention.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time_ns

import msgspec

from fanion.clock.belief import LOOK_EVERY_S, STEP_MAX_S, Belief, Moment, begin, look, trust
from fanion.model.json_value import UNREADABLE
from fanion.small_files import Files, replace_file

log = logging.getLogger("fanion.clock")

FOLDER, NAME, LOCK_NAME = "shared", "clock", "clock.lock"
FRESH_S = 1.0
"""What another worker saved this lately need not be saved again."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ADVICE = "`fanion journal trust-clock --data DIR`"


@functools.cache
def boot_id() -> str:
    """Which boot CLOCK_BOOTTIME counts from; of this process alone where the system doesn't say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return f"process {os.getpid()}"


def read_clocks() -> Moment:
    return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id())


def clock_path(directory: Path) -> Path:
    return directory / FOLDER / NAME


_decode = msgspec.json.Decoder(Belief).decode
"""Made here, not with the first call: the library builds what it knows of a type once, and two threads that both
begin with it read it half built, which ends the process."""


def decode(data: bytes) -> Belief | None:
    """A belief out of the file's bytes: a line with the checksum of the next, which is JSON. None: not one."""
    checksum, _, body = data.partition(b"\n")
    try:
        found = _decode(body)
    except UNREADABLE:
        return None
    return found if checksum == b"%08x" % zlib.crc32(body) and found.eras else None


def encode(belief: Belief) -> bytes:
    body = msgspec.json.encode(belief) + b"\n"
    return b"%08x\n%b" % (zlib.crc32(body), body)


def read_belief(directory: Path) -> Belief | None:
    try:
        return decode(clock_path(directory).read_bytes())
    except OSError:
        return None


def look_at(directory: Path, clocks: Callable[[], Moment] = read_clocks) -> Belief:
    """What is believed now, for a command; nothing is written. Without a file the wall clock is."""
    now, belief = clocks(), read_belief(directory)
    return begin(now) if belief is None else look(belief, now, math.inf)


def trust_wall(directory: Path, clocks: Callable[[], Moment] = read_clocks) -> Belief:
    """An operator says that the wall clock is right; running servers follow within a second. Raises OSError."""
    (directory / FOLDER).mkdir(mode=0o700, exist_ok=True)
    with _locked(directory, wait=True):
        belief = trust(read_belief(directory), clocks())
        _write(directory, belief)
    return belief


class GuardedClock:
    """One worker's view. `tick` belongs to the event loop and does no more than a stat; `save` may wait for the
    disk, so it belongs to a thread."""

    def __init__(
        self, directory: Path, trust_s: float, floor: float, clocks: Callable[[], Moment] = read_clocks
    ) -> None:
        self._directory = directory
        self._trust_s = trust_s
        self._clocks = clocks
        self._stamp: tuple[int, int] | None = None
        self._failed = ""
        self._wall_ns = time_ns if clocks is read_clocks else lambda: int(clocks().wall * 1e9)
        self._anchor = self.belief = begin(clocks(), floor)

    @classmethod
    def open(
        cls, directory: Path, trust_s: float, floor: float = 0.0, clocks: Callable[[], Moment] = read_clocks
    ) -> GuardedClock:
        """Takes up the file of `directory`, or begins one. `floor`: a moment that has certainly been."""
        clock = cls(directory, trust_s, floor, clocks)
        clock.tick()  # takes up the file, also when another worker is just saving it
        clock.save()
        return clock

    def expiry(self) -> float:
        """Unix seconds by which keys and tokens end."""
        return self._later(self.belief.expiry)

    def expiry_ns(self) -> int:
        """The same for every token that is issued: the wall, and by how much it was behind at the last look, a
        second ago at most."""
        return self._wall_ns() + self._behind_ns

    @property
    def belief(self) -> Belief:
        return self._belief

    @belief.setter
    def belief(self, belief: Belief) -> None:
        self._belief = belief
        self._behind_ns = int((belief.expiry - belief.wall) * 1e9)

    def month(self) -> float:
        """Unix seconds that decide the month."""
        return self._later(self.belief.month)

    def _later(self, reading: float) -> float:
        return reading + max(0.0, self._clocks().boottime - self.belief.boottime)

    @property
    def note(self) -> str:
        """What an operator should know of the wall clock; empty when it is believed."""
        jump, words = self.belief.jump, describe(self.belief)
        if jump is None or not words:
            return ""
        left_s = max(0.0, self._trust_s - jump.lasted_s)
        return (
            f"clock: {words} It is believed when it stays so for {span(left_s)} more, or at once by {ADVICE}"
        )

    def tick(self) -> bool:
        """Looks at the clocks, and at the file when it was replaced. True: `save` is due."""
        if self._stamp_now() != self._stamp:
            self._take_up()
        self.belief = look(self._anchor, self._clocks(), self._trust_s)
        jumped = (self.belief.jump is None) != (self._anchor.jump is None)
        return jumped or self.belief.age - self._anchor.age >= LOOK_EVERY_S or self._stamp is None

    def save(self) -> None:
        """Judges from what the file says, and replaces it. When it can't be written the judgement stands."""
        try:
            (self._directory / FOLDER).mkdir(mode=0o700, exist_ok=True)
            with _locked(self._directory, wait=False) as mine:
                if mine:
                    self._save_locked()
                self._failed = ""
        except OSError as error:
            if str(error) != self._failed:
                self._failed = str(error)
                log.error("the last good time can't be kept", extra={"reason": self._failed})
            self._anchor = self.belief = look(self._anchor, self._clocks(), self._trust_s)
            self._stamp = self._stamp_now() or (0, 0)

    def close(self) -> None:
        self.save()

    def _save_locked(self) -> None:
        before = self._take_up()
        if before is None and clock_path(self._directory).exists():
            log.warning("the last good time doesn't verify and is begun anew")
        after = look(before or self._anchor, self._clocks(), self._trust_s)
        if before is not None and self._says_the_same(before, after):
            return
        _write(self._directory, after)
        self._stamp = self._stamp_now()
        self._anchor = self.belief = after
        self._tell(before, after)

    def _says_the_same(self, before: Belief, after: Belief) -> bool:
        """Whether another worker has saved just now."""
        jumped = (before.jump is None) != (after.jump is None)
        return not jumped and before.boot == after.boot and 0 < after.age - before.age < FRESH_S

    def _tell(self, before: Belief | None, after: Belief) -> None:
        """A jump and its end, once over all workers: by the one that wrote it down."""
        was, found = before.jump if before else None, after.jump
        if found is not None and not found.quiet:
            if was is None or was.quiet or abs(was.ahead - found.ahead) > STEP_MAX_S:
                log.warning("the wall clock has jumped", extra={"reason": describe(after)})
        elif was is not None and not was.quiet:
            log.warning("the wall clock is believed again")

    def _take_up(self) -> Belief | None:
        stamp, found = self._stamp_now(), read_belief(self._directory)
        if found is not None:
            self._anchor = found
            self._stamp = stamp
        return found

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = clock_path(self._directory).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def describe(belief: Belief) -> str:
    """The distrust in words; empty when there is none, or none that anyone need be told."""
    jump = belief.jump
    if jump is None or jump.quiet:
        return ""
    where = "ahead of" if jump.ahead > 0 else "behind"
    return f"The wall clock is {span(abs(jump.ahead))} {where} the last good time and what has passed since."


def span(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


@contextlib.contextmanager
def _locked(directory: Path, *, wait: bool) -> Iterator[bool]:
    """The lock of the file, or False when another process has it."""
    fd = os.open(directory / FOLDER / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _give_to_owner(fd, directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


class _OwnersFiles(Files):
    """What it makes belongs to the directory's owner."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        fd = super().open(path, create=create, write=write)
        try:
            _give_to_owner(fd, self._directory)
        except BaseException:
            self.close(fd)
            raise
        return fd


def _write(directory: Path, belief: Belief) -> None:
    """Replaces the file; it is on disk when this returns."""
    replace_file(_OwnersFiles(directory), clock_path(directory), encode(belief))


def _give_to_owner(fd: int, directory: Path) -> None:
    """What root made the directory's owner must be able to replace."""
    owner = directory.stat()
    if os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)
