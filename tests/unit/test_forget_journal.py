"""A unit leaves the journal: sealed, compressed and unfinished segments, with kills, and nothing else changes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard

from fanion.dialects import canonical_forms
from fanion.errors import JournalError
from fanion.journal.compression import FRAME, open_source
from fanion.journal.event import expand
from fanion.journal.exposures import ATTRIBUTES, FORM, HEAD, INSIDE, SAME_UNIT, VARIANT
from fanion.journal.forgetting import Forgotten, count_in_journal, forget_in_journal
from fanion.journal.log_segment import KIND_EXPOSURES, START, list_segments
from fanion.journal.retention import run_pass
from fanion.journal.seal import read_index, read_seal
from fanion.model.forgotten import Forms
from tests.model.journal_world import DATA, JOURNAL, SETTINGS, World, new_disk, read_all
from tests.model.simulated_disk import SimulatedStorage
from tests.unit.journal_segments import COMPRESSING

UNIT, ANONYMOUS = "alice@example.org", "anon-5711"
FORMS = Forms([UNIT, ANONYMOUS])
CANONICAL = canonical_forms()
DIGEST = next(iter(FORMS.digests))
ROUNDS = int(os.environ.get("FORGET_KILLS", 12))


def neutral(unit: str, **more: object) -> dict[str, object]:
    return {"type": "metric", "unit": {"kind": "user", "id": unit}, "metric": "bought", **more}


def exposures() -> bytes:
    body = HEAD.pack(FORM, 3, 9)
    body += (
        bytes([INSIDE | VARIANT | ATTRIBUTES]) + b"\6\0userId" + DIGEST + bytes(16) + b"\2\0ab" + b"\2\0on"
    )
    body += b'\7\0{"a":1}' + bytes([SAME_UNIT]) + bytes(16) + b"\1\0c"
    body += bytes([INSIDE]) + b"\4\0user" + b"o" * 32 + bytes(16) + b"\1\0d"
    return struct.pack("<HHIIB3x", 7, 4, 0, 0, 0) + b"feather" + b"prod" + body


def append(
    world: World, events: object, *, dialect: str = "neutral", whole: bool = False, ids: bytes = b""
) -> None:
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    kept = bytes(len(ids) // 16)
    assert world.session.ring.append(dialect, "prod", world.storage.wall(), body, whole, kept, ids) > 0
    assert world.drain()


def fill(world: World, rounds: int = 8) -> None:
    """Events of others, of the unit, and of others that name it, in every shape that a record has."""
    for number in range(rounds):
        others = [neutral(f"user-{number}-{n}", note="x" * 300) for n in range(8)]
        append(world, {"events": [*others, neutral(UNIT)], "sent_by": UNIT}, whole=True, ids=b"i" * 144)
        append(world, [neutral("bob-0001", note=f"a mail to {UNIT}, please"), *others])
        append(world, [{"unit": {"id": "ALICE@example.org"}}, {"unit": {"id": "alice@example.org.uk"}}])
        append(world, b'[{"unit":{"id":"\\u0061lice@example\\u002eorg"}},{"unit":{"id":"carol-77"}}]')
        append(world, {"userIdHash": DIGEST.hex(), "flagKey": "f"}, dialect="feather", whole=True)
        append(
            world, [{"context_type": "user", "context_key": ANONYMOUS, "metric_key": "m"}], dialect="stitchd"
        )
        append(
            world,
            [{"user": {"id": 5, "email": UNIT}, "event": "e"}, {"user": {"id": 6}}],
            dialect="redpennon",
        )
        traffical = [{"type": "track", "unitKey": ANONYMOUS}, {"type": "track", "unitKey": "dave-123"}]
        append(world, traffical, dialect="traffical")
        assert world.session.ring.append_payload(exposures(), world.storage.wall(), KIND_EXPOSURES) > 0
        assert world.drain()


ERASED_A_ROUND, REDACTED_A_ROUND = 9, 1


def others_of(storage: SimulatedStorage) -> dict[tuple[int, int, int], object]:
    """What is left by identity, without the names that others' events lose."""
    found = {}
    for record in read_all(storage)[0]:
        for one in expand(record, CANONICAL):
            event = msgspec.to_builtins(one.event)
            found[one.writer, one.sequence, one.index] = event
    return found


def plain_bytes(storage: SimulatedStorage) -> Iterator[tuple[str, bytes]]:
    """Every byte below the journal, compressed ones also as they were."""
    for name in storage.list_directory(JOURNAL):
        fd = storage.open(JOURNAL / name, write=False)
        data = storage.pread(fd, storage.size(fd), 0)
        storage.close(fd)
        yield name, data
        at = START
        while name.endswith(".zst") and at < len(data):
            size, plain, _ = FRAME.unpack_from(data, at)
            yield name, zstandard.ZstdDecompressor().decompress(data[at + 12 : at + 12 + size], plain)
            at += 12 + size


def held(storage: SimulatedStorage) -> list[str]:
    texts = [b"alice@example.org", b"lice@example\\u002eorg", ANONYMOUS.encode(), *FORMS.digests]
    texts += [digest.hex().encode() for digest in FORMS.digests]
    found = []
    for name, data in plain_bytes(storage):
        data = data.lower().replace(b"alice@example.org.uk", b"")
        found += [f"{name}: {text!r}" for text in texts if text.lower() in data or text in data]
    return found


def forget(storage: SimulatedStorage) -> Forgotten:
    return forget_in_journal(storage, DATA, SETTINGS, FORMS, CANONICAL, wait_s=0.0)


def expected(before: dict[tuple[int, int, int], object], holes: set[tuple[int, int, int]]) -> object:
    left = {key: event for key, event in before.items() if key not in holes}
    return json.loads(
        json.dumps(left_named(left)).replace(f"a mail to {UNIT}, please", "a mail to erased, please")
    )


def left_named(events: dict[tuple[int, int, int], object]) -> dict[str, object]:
    return {repr(key): event for key, event in events.items()}


def test_everything_of_the_unit_leaves_and_everything_else_stays_where_it_was() -> None:
    storage = SimulatedStorage(new_disk(), 11)
    world = World(storage).open()
    fill(world, 8)
    assert world.close()
    assert run_pass(storage, JOURNAL, COMPRESSING) is not None
    assert [s for s in list_segments(storage, JOURNAL)[0] if s.header.compressed]
    before, records = others_of(storage), read_all(storage)[0]
    counted = count_in_journal(storage, DATA, FORMS, CANONICAL)
    assert held(storage)

    found = forget(storage)

    assert (found.events, found.redacted, found.unturned) == (8 * ERASED_A_ROUND, 8 * REDACTED_A_ROUND, [])
    assert (counted.events, counted.redacted, counted.rewritten) == (
        found.events,
        found.redacted,
        found.rewritten,
    )
    assert held(storage) == []
    after, reader = read_all(storage)
    assert reader.defects == []
    assert [r[:4] for r in after] == [r[:4] for r in records]
    holes = {hole[1:] for hole in found.holes}
    assert len(holes) == found.events
    assert left_named(others_of(storage)) == expected(before, holes)
    for segment in list_segments(storage, JOURNAL)[0]:
        with open_source(storage, segment.path, segment.header) as source:
            seal = read_seal(source, segment.header)
            assert seal is not None
            assert read_index(source, segment.header, seal)
    again = forget(storage)
    assert (again.events, again.redacted, again.rewritten, again.holes) == (0, 0, 0, found.holes)


def test_ids_of_erased_events_leave_and_those_of_the_others_stay() -> None:
    storage = SimulatedStorage(new_disk(), 3)
    world = World(storage).open()
    append(
        world,
        [neutral("bob-0001"), neutral(UNIT), neutral("carol-77")],
        ids=b"a" * 16 + b"b" * 16 + b"c" * 16,
    )
    assert world.close()
    forget(storage)
    (record,) = read_all(storage)[0]
    assert record.ids == b"a" * 16 + bytes(16) + b"c" * 16
    assert record.holes
    assert [one.index for one in expand(record, CANONICAL)] == [0, 2]


def test_a_dead_workers_unfinished_segment_and_ring_are_forgotten_as_well() -> None:
    storage = SimulatedStorage(new_disk(), 5)
    fill(World(storage).open(), 3)
    storage = storage.kill()
    found = forget(storage)
    assert found.events == 3 * ERASED_A_ROUND
    assert held(storage) == []
    assert read_all(storage)[1].defects == []
    world = World(storage).open()  # the slot serves again
    append(world, [neutral("erin-1234")])


def test_a_living_writer_turns_and_goes_on_in_its_sequence() -> None:
    storage = SimulatedStorage(new_disk(), 7)
    world = World(storage).open()
    fill(world, 8)
    assert world.close()
    assert run_pass(storage, JOURNAL, COMPRESSING) is not None
    storage = storage.kill()
    assert any(name.startswith("pool-") for name in storage.list_directory(JOURNAL))
    world = World(storage).open()  # its segments have had a life before
    fill(world, 3)
    before = others_of(storage)

    class Driven(SimulatedStorage):
        """The same disk for the command; whenever it waits, the worker has a round."""

        def sleep(self, seconds: float) -> None:
            world.drain()
            world.tick()

    driven = Driven(storage.disk, 8)
    found = forget_in_journal(driven, DATA, SETTINGS, FORMS, CANONICAL, wait_s=30.0)
    assert (found.unturned, found.events) == ([], 11 * ERASED_A_ROUND)
    assert held(storage) == []
    append(world, [neutral("erin-1234")])
    holes = {hole[1:] for hole in found.holes}
    left = others_of(storage)
    new = {key: event for key, event in left.items() if key not in before}
    assert left_named({k: v for k, v in left.items() if k in before}) == expected(before, holes)
    assert len(new) == 1
    sequences = [record.sequence for record in read_all(storage)[0]]
    assert sequences == list(range(1, len(sequences) + 1))


def test_what_waits_in_the_ring_when_a_writer_is_asked_to_turn_is_forgotten() -> None:
    storage = SimulatedStorage(new_disk(), 13)
    world = World(storage).open()
    append(world, [neutral("bob-0001")])
    assert world.session.ring.append_payload(exposures(), storage.wall(), KIND_EXPOSURES) > 0

    class Driven(SimulatedStorage):
        """The worker's steward looks before its writer does."""

        def sleep(self, seconds: float) -> None:
            world.tick()
            world.drain()
            world.tick()

    found = forget_in_journal(Driven(storage.disk, 8), DATA, SETTINGS, FORMS, CANONICAL, wait_s=30.0)
    assert (found.unturned, found.events) == ([], 2)
    assert held(storage) == []


def test_a_writer_that_does_not_answer_is_named() -> None:
    storage = SimulatedStorage(new_disk(), 9)
    world = World(storage).open()
    append(world, [neutral(UNIT)])
    found = forget(storage)
    assert (found.unturned, found.events) == ([0], 0)
    assert world.close()
    assert forget(storage).events == 1


def test_a_kill_anywhere_leaves_all_others_and_a_repeat_finishes() -> None:
    """At evenly spread system calls; every one of them with FORGET_KILLS=0."""
    storage = SimulatedStorage(new_disk(), 11)
    world = World(storage).open()
    fill(world, 5)
    assert world.close()
    assert run_pass(storage, JOURNAL, COMPRESSING) is not None
    world = World(storage.kill()).open()
    fill(world, 1)
    start = world.storage.kill()
    before = others_of(start)
    tried = start.power_off(1_000_000)
    forget(tried)
    total = tried.calls
    step = max(1, total // ROUNDS) if ROUNDS else 1

    class Killed(BaseException):
        pass

    for at in range(1, total, step):
        dying = start.power_off(1_000_000)

        def call(_: str, dying: SimulatedStorage = dying, at: int = at) -> None:
            if dying.calls == at:
                raise Killed

        dying.on_call = call
        with pytest.raises(Killed):
            forget(dying)
        for after in (dying.kill(), dying.power_off(at)):
            left, reader = read_all(after)
            assert reader.defects == []
            found = forget(after)
            holes = {hole[1:] for hole in found.holes}
            assert len(holes) == 6 * ERASED_A_ROUND
            assert left_named(others_of(after)) == expected(before, holes)
            assert held(after) == []
            assert len(left) == len(read_all(after)[0])


def test_a_unit_may_be_named_by_its_digest_alone() -> None:
    storage = SimulatedStorage(new_disk(), 15)
    world = World(storage).open()
    append(world, [{"userIdHash": DIGEST.hex(), "flagKey": "f"}], dialect="feather")
    assert world.session.ring.append_payload(exposures(), storage.wall(), KIND_EXPOSURES) > 0
    assert world.drain()
    assert world.close()
    named = Forms([DIGEST.hex()])
    assert forget_in_journal(storage, DATA, SETTINGS, named, CANONICAL, wait_s=0.0).events == 3


def test_a_null_that_was_sent_is_no_hole_and_a_body_that_no_one_reads_stays_one() -> None:
    storage = SimulatedStorage(new_disk(), 17)
    world = World(storage).open()
    append(world, [None, neutral(UNIT), None])
    append(world, b'[{"unit":{"id":"%b"}},{' % UNIT.encode())
    assert world.close()
    found = forget(storage)
    assert {hole[2:] for hole in found.holes} == {(1, 1)}
    assert held(storage) == []
    first, second = read_all(storage)[0]
    assert [one.index for one in expand(first, CANONICAL)] == [0, 2]
    with pytest.raises(JournalError, match="is not JSON"):
        list(expand(second, CANONICAL))


def test_no_file_shrinks_under_a_name_that_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steward takes a pool's file by its name, a reader a segment beside its twin: neither loses a byte."""
    storage = SimulatedStorage(new_disk(), 11)
    world = World(storage, COMPRESSING).open()
    fill(world, 12)
    assert world.close()
    run_pass(storage, JOURNAL, COMPRESSING)
    (compressed, *_) = (name for name in storage.list_directory(JOURNAL) if name.endswith(".zst"))
    for name in ("pool-7.free", compressed.replace(".zst", ".log")):
        fd = storage.open(JOURNAL / name, create=True)
        storage.pwrite(fd, b"x" * 5_000_000, 0)
        storage.close(fd)
    shrunk: list[str] = []
    truncate = storage.truncate

    def watched(fd: int, size: int) -> None:
        file = storage.open_files[fd]
        shrunk.extend(name for name, one in storage.disk.names.items() if one is file)
        truncate(fd, size)

    monkeypatch.setattr(storage, "truncate", watched)
    forget(storage)
    names = {Path(name).name for name in shrunk}
    assert any(name.startswith("removed-") for name in names)
    assert not [
        name for name in names if name.startswith("pool-") or name == compressed.replace(".zst", ".log")
    ]
    left = storage.list_directory(JOURNAL)
    assert not [name for name in left if name.startswith(("pool-", "removed-"))]
