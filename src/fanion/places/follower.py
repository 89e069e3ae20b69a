"""The loop of a server that follows a place: looks, takes what is new, waits for the place to speak or for the
time.

It is a process of its own beside the workers. What it can't reach, verify or install changes nothing: the store
serves on what it has, and the loop begins again after a while that doubles up to `places.poll_s`, and to
`AGAIN_S_MAX` at most: a machine that was cut off for long is up to date soon after. The store is opened for each
look, so that one that was put in its place is followed as well. Its copy is made once nothing new has come for
`COPY_AFTER_S`."""

from __future__ import annotations

import logging
import os
import random
import time
from contextlib import closing
from typing import Annotated, Final, Protocol, TypeAlias

import msgspec

from fanion.config.places import Places
from fanion.errors import FanionError, PlaceError
from fanion.places import open_place, shown
from fanion.places.manifest import Origin, read_manifest
from fanion.places.place import Found, Place
from fanion.places.sealing import Sealer
from fanion.places.taking import check_successor, origin_of
from fanion.store.store import Store
from fanion.telemetry.heartbeats import Heartbeat, Standing
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.places import FollowNumbers

log = logging.getLogger("fanion.places")

AGAIN_S: Final = 0.25
AGAIN_S_MAX: Final = 5.0
REPORT_S: Final = 60.0
COPY_AFTER_S: Final = 30.0
BEAT_S: Final = 1.0
JITTER: Final = 0.1
"""Of the time between two looks, so that many machines don't ask at one moment."""
FAULTS: Final = (FanionError, OSError, ValueError, msgspec.MsgspecError)


Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]


class Report(msgspec.Struct, frozen=True):
    """What a machine says of itself in the place. `number`: what it serves; times in Unix seconds."""

    machine: Annotated[str, msgspec.Meta(max_length=100)]
    number: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    at: Seconds
    taken_at: Seconds
    version: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Ending(Protocol):
    def __call__(self) -> bool: ...

    def wait(self, timeout_s: float) -> bool: ...


class Parts(Protocol):
    """What the loop is given. `take`: installs a manifest, with a turn between two reads of the place; the bytes
    that were fetched."""

    def open_store(self) -> Store: ...

    def take(self, store: Store, place: Place, sealer: Sealer, found: Found) -> int: ...

    def keep_copy(self, store: Store) -> None: ...

    def contact(self, at: float, number: int) -> None: ...


def look(parts: Parts, place: Place, sealer: Sealer, url: str) -> tuple[Origin, int]:
    """Takes what is newer than what the store has. Where it stands then, and the bytes that were fetched (0:
    nothing was new). Raises PlaceError, StoreError, BundleError."""
    with parts.open_store() as store:
        origin = origin_of(store)
        if origin is None and store.generation():
            raise PlaceError(
                f"{store.directory} has a store of its own; follow a place from an empty directory"
            )
        if origin is not None and origin.role != "follows":
            raise PlaceError(f"{store.directory} {origin.role} {shown(origin.url)}; use another directory")
        if origin is not None and origin.url != url:
            origin = None  # it followed another place, and has nothing of its own
        found = place.newest() if origin is None else place.newer(origin.number)
        fetched = 0
        if found is not None and check_successor(read_manifest(sealer, found), origin):
            fetched = parts.take(store, place, sealer, found)
        elif origin is None:
            raise PlaceError("nobody has published there yet")
        after = origin_of(store)
        assert after is not None
        return after, fetched


class Follower:
    """`row`, `metrics`: of a server."""

    def __init__(
        self,
        url: str,
        settings: Places,
        parts: Parts,
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        machine: str = "",
        version: str = "",
    ) -> None:
        self._url = url
        self._settings = settings
        self._parts = parts
        self._row = row
        self._numbers = FollowNumbers(metrics) if metrics is not None else None
        self._machine = machine
        self._version = version
        self._failing = ""
        self._contact = 0.0
        self._number = 0
        self._reported: tuple[float, int] = (0.0, -1)
        self._copy_due: float | None = None
        self._said: Standing | None = None

    def run(self, ending: Ending) -> None:
        """Until it is ended."""
        wait_s = AGAIN_S
        while not ending():
            try:
                sealer = Sealer(self._settings.key)
                with closing(open_place(self._url, self._settings)) as place:
                    while True:
                        self._look(place, sealer)
                        wait_s = AGAIN_S
                        if self._wait(place, ending):
                            return
            except FAULTS as error:
                self._fail(error)
            if self._pause(random.uniform(wait_s / 2, wait_s), ending):
                return
            wait_s = min(wait_s * 2, max(self._settings.poll_s, AGAIN_S), AGAIN_S_MAX)

    def _look(self, place: Place, sealer: Sealer) -> None:
        origin, fetched = look(self._parts, place, sealer, self._url)
        now = time.time()
        self._contact, self._number = now, origin.number
        self._parts.contact(now, origin.number)
        if self._numbers is not None:
            self._numbers.looked(origin.number, now)
        if fetched:
            if self._numbers is not None:
                self._numbers.took(fetched, now)
            self._copy_due = time.monotonic() + COPY_AFTER_S
            log.info(
                "a generation was taken from the place",
                extra={"number": origin.number, "generation": origin.generation, "bytes": fetched},
            )
        if self._failing:
            log.warning("the place answers again", extra={"place": shown(self._url)})
        self._failing = ""
        self._say()
        self._report(place, Report(self._machine, origin.number, now, origin.at, self._version))

    def _report(self, place: Place, report: Report) -> None:
        """A place that is only read takes none, which is nobody's fault."""
        at, number = self._reported
        if report.number == number and report.at - at < REPORT_S:
            return
        self._reported = (report.at, report.number)
        try:
            place.report(self._machine, msgspec.json.encode(report))
        except PlaceError as error:
            log.debug("the place takes no report", extra={"reason": str(error)})

    def _wait(self, place: Place, ending: Ending) -> bool:
        """Until the next look; a copy is made and the heart beats meanwhile."""
        ends = time.monotonic() + self._settings.poll_s * random.uniform(1 - JITTER, 1)
        if self._copy_due is not None and time.monotonic() >= self._copy_due:
            self._copy_due = None
            with self._parts.open_store() as store:
                self._parts.keep_copy(store)
        while not ending() and (left := ends - time.monotonic()) > 0:
            self._say()
            if place.wait(min(left, BEAT_S), ending.wait):
                break
        return ending()

    def _pause(self, seconds: float, ending: Ending) -> bool:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._say()
            if ending.wait(min(left, BEAT_S)):
                return True
        return ending()

    def _fail(self, error: Exception) -> None:
        reason = f"{shown(self._url)}: {str(error) or type(error).__name__}"
        if self._numbers is not None:
            self._numbers.failed()
        if reason != self._failing:
            log.error("the place can't be followed now; it is tried again", extra={"reason": reason})
        self._failing = reason
        self._say()

    def _say(self) -> None:
        """The heart beats, and an operator is told how long the place hasn't been heard."""
        if self._row is None:
            return
        self._row.beat()
        notes: tuple[str, ...] = ()
        reasons = (self._failing,) if self._failing else ()
        silent_s = time.time() - self._contact
        if self._failing and self._contact:
            notes = (f"not heard for {round(silent_s):,} s; number {self._number} is served on",)
        standing = Standing(os.getpid(), reasons, notes)
        if standing != self._said:
            self._row.say(standing)
            self._said = standing
