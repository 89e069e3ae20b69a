"""A journal of some segments on the simulated disk: what the tests of retention and recycling share."""

from __future__ import annotations

import msgspec

from fanion.clock.belief import Moment, begin
from fanion.clock.keeper import clock_path, encode
from fanion.journal.log_segment import list_segments
from fanion.journal.storage import write_all
from tests.model.journal_world import DATA, JOURNAL, SETTINGS, World, new_disk, read_all
from tests.model.simulated_disk import SimulatedStorage

COMPRESSING = msgspec.structs.replace(SETTINGS, compress=True)
HOUR_NS = 3_600_000_000_000


def build(segments: int = 6, *, close: bool = True) -> SimulatedStorage:
    storage = SimulatedStorage(new_disk(), 11)
    world = World(storage).open()
    while len([s for s in list_segments(storage, JOURNAL)[0] if s.header.started]) < segments:
        world.append(b'["%d"]' % len(world.sent) + b" " * 3000)
        assert world.drain()
    if close:
        assert world.close()
    return storage


def follow_time(storage: SimulatedStorage) -> None:
    """As a server does from its start, for long enough that something may be deleted by age."""
    moment = Moment(storage.wall() / 1e9, storage.boottime() / 1e9, storage.boot())
    belief = msgspec.structs.replace(begin(moment), kept_s=SETTINGS.clock_trust_s)
    path = clock_path(DATA)
    storage.make_directory(path.parent)
    fd = storage.open(path, create=True)
    write_all(storage, fd, encode(belief), 0)
    storage.close(fd)


def names(storage: SimulatedStorage, suffix: str) -> list[str]:
    return [name for name in storage.list_directory(JOURNAL) if name.endswith(suffix)]


def sequences(storage: SimulatedStorage) -> list[int]:
    return [record.sequence for record in read_all(storage)[0]]
