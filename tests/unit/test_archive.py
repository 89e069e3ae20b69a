"""The archive of a journal: every finished segment is there once, checked, whatever form it had, whoever failed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest
import zstandard

from fanion._core import journal_format
from fanion.archive import DIRECTORY, READER
from fanion.archive.archiver import Archiver
from fanion.archive.forgetting import holding_archive
from fanion.archive.packed import HEAD, head_of, make_object, parse_object
from fanion.archive.service import Service
from fanion.config import Config
from fanion.config.archive import Archive, problems_of_archive
from fanion.errors import ArchiveConflictError, ArchiveError
from fanion.journal.compression import FRAME, FRAME_BYTES, CompressedSource
from fanion.journal.gaps import load_gaps
from fanion.journal.log_segment import PAGE, START, Segment, list_segments, parse_header
from fanion.journal.packing import pack_segment
from fanion.journal.reader import JournalReader, list_checkpoints
from fanion.journal.retention import run_pass
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.telemetry.metrics import Metrics
from tests.unit.archive_world import ID, SETTINGS, World, need_library


@pytest.fixture(autouse=True)
def library() -> None:
    need_library()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def place_of(world: World) -> dict[int, int]:
    return list_checkpoints(Storage(), world.data / "journal")[READER].next_sequence


def test_finished_segments_are_there_once_and_the_last_ones_arent(world: World) -> None:
    world.journal.fill(random.Random(1), 40)
    count = len(list_segments(Storage(), world.data / "journal")[0])
    assert world.archive() == count - 2
    assert len(world.objects()) == count - 2
    assert world.archive() == 0
    world.journal.finish()
    assert world.archive() == 2
    assert place_of(world) == world.bucket().ends(ID)


def test_an_object_says_what_it_holds_and_is_a_compressed_segment(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    ((name, content),) = world.objects().items()
    head, segment = parse_object(content, name)
    assert (head.writer, head.first, head.next, head.records, head.lost) == (0, 1, 8, 7, 0)
    header = parse_header(bytes(segment[:PAGE]))
    assert header is not None
    assert header.compressed
    assert header.machine.hex() == ID


@pytest.mark.parametrize("at", [0, 9, 41, HEAD.size - 1, HEAD.size + 5, -1])
def test_any_byte_that_changed_is_found(world: World, at: int) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    ((name, content),) = world.objects().items()
    damaged = bytearray(content)
    damaged[at] ^= 1
    with pytest.raises(ArchiveError, match=name):
        parse_object(bytes(damaged), name)
    with pytest.raises(ArchiveError, match="bytes"):
        parse_object(content[:-1], name)
    with pytest.raises(ArchiveError, match="belongs under the name"):
        parse_object(content, name[:-1] + "9")


def test_what_a_segment_is_packed_to_is_the_same_in_each_of_its_forms(tmp_path: Path) -> None:
    """Plain, sealed, with an earlier life's bytes behind its end, compressed."""
    world = World(tmp_path)
    world.journal.append(0, 30, size=2_000)
    world.journal.begin(0)
    world.journal.append(0, 1)
    storage, journal = Storage(), world.data / "journal"
    found = []

    def pack() -> None:
        first, _ = list_segments(storage, journal)[0]
        packed = pack_segment(storage, first, 31)
        found.append(make_object(head_of(packed), packed.content))

    pack()
    with world.journal.path(0, 1).open("ab") as file:
        file.write(b"an earlier life" * 10_000)
    pack()
    assert run_pass(storage, journal, msgspec.structs.replace(SETTINGS, compress=False)) is not None
    pack()
    done = run_pass(storage, journal, SETTINGS)
    assert done is not None
    assert done.compressed == 1
    pack()
    assert len(set(found)) == 1


def test_a_damaged_segment_is_archived_with_its_damage(world: World) -> None:
    world.journal.append(0, 20)
    world.journal.begin(0)
    content = bytearray(world.journal.path(0, 1).read_bytes())
    content[START + 1_000] ^= 0xFF
    world.journal.path(0, 1).write_bytes(content)
    with world.archiver() as archiver:
        archiver.run_once()
        assert archiver.stands().lost_records == 1
    ((name, content_there),) = world.objects().items()
    head, _ = parse_object(content_there, name)
    assert (head.records, head.lost, head.next) == (19, 1, 21)


def test_a_journal_without_a_segment_yet_leaves_nothing_in_the_archive(world: World) -> None:
    with world.archiver() as archiver:
        assert archiver.run_once() == 0
        assert archiver.stands().waiting_segments == 0
        assert list((world.directory / "archive").iterdir()) == []
        world.journal.append(0, 7)
        world.journal.begin(0)
        assert archiver.run_once() == 1
        assert place_of(world) == {0: 8}


def test_a_segment_of_nothing_is_passed_over(world: World) -> None:
    world.journal.begin(0)
    world.journal.begin(0)
    assert world.archive() == 0
    assert world.objects() == {}


def test_another_content_under_a_name_is_an_alarm_and_stays(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.journal.append(1, 7)
    world.journal.begin(1)
    with world.archiver() as archiver:
        packed = pack_segment(Storage(), list_segments(Storage(), world.data / "journal")[0][0], 8)
    head = head_of(packed)
    other = make_object(msgspec.structs.replace(head, digest=bytes(32)), packed.content)
    world.path_of(head.name).parent.mkdir(parents=True)
    world.path_of(head.name).write_bytes(other)
    with world.archiver() as archiver:
        with pytest.raises(ArchiveError, match="holds something else") as failed:
            archiver.run_once()
        archiver.failed(str(failed.value))
        assert archiver.stands().conflicts == 1
        assert archiver.state.segments == 1, "the other writer's goes on"
    assert world.path_of(head.name).read_bytes() == other
    assert place_of(world) == {1: 8}
    world.path_of(head.name).unlink()
    with world.archiver() as archiver:
        assert archiver.run_once() == 1
        assert archiver.stands().conflicts == 0
        assert archiver.state.failing == ""


def test_a_damaged_object_that_is_there_is_an_alarm(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    (name,) = world.objects()
    world.path_of(name).write_bytes(world.path_of(name).read_bytes()[:-3])
    (world.data / "journal" / "readers" / f"{READER}.json").unlink()
    with world.archiver() as archiver, pytest.raises(ArchiveError, match="move it away"):
        archiver.run_once()


def test_an_object_larger_than_memory_in_a_segments_place_is_an_alarm(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    (name,) = world.objects()
    (world.data / "journal" / "readers" / f"{READER}.json").unlink()
    os.truncate(world.path_of(name), 1 << 42)
    with world.archiver() as archiver, pytest.raises(ArchiveError, match="move it away"):
        archiver.run_once()
    with pytest.raises(ArchiveConflictError, match="4,398,046,511,104 bytes"):
        world.bucket().get(ID, name)


def test_a_frame_that_says_it_is_larger_than_it_may_be_is_damage(world: World) -> None:
    """A few KB of it could have all of a machine's memory asked for, in whoever reads it."""
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    ((name, there),) = world.objects().items()
    _, content = parse_object(there, name)
    bomb = zstandard.ZstdCompressor().compress(b"\1" * (64 << 20))
    path = world.directory / "bomb.zst"
    frame = FRAME.pack(len(bomb), FRAME_BYTES, journal_format.crc32c(bomb)) + bomb
    path.write_bytes(bytes(content[:START]) + frame)
    with CompressedSource(Storage(), path) as source:
        assert source.read(START, FRAME_BYTES) == bytes(FRAME_BYTES)
    short = zstandard.ZstdCompressor(write_content_size=False).compress(b"\1" * 100)
    path.write_bytes(
        bytes(content[:START]) + FRAME.pack(len(short), 200, journal_format.crc32c(short)) + short
    )
    with CompressedSource(Storage(), path) as source:
        assert source.read(START, 200) == bytes(200)


def test_what_is_there_and_holds_the_same_otherwise_compressed_is_taken_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    before = world.objects()
    (world.data / "journal" / "readers" / f"{READER}.json").unlink()
    monkeypatch.setattr("fanion.journal.compression.LEVEL", 19)
    assert world.archive() == 1
    assert world.objects() == before


def test_what_recovery_wrote_again_to_the_next_segment_is_no_other_content(world: World) -> None:
    """The server and the archiver were killed at once, just after the segment was archived whole."""
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    before = world.objects()
    (world.data / "journal" / "readers" / f"{READER}.json").unlink()
    world.journal.path(0, 2).unlink()
    world.journal._next[0], world.journal._ordinals[0] = 6, 1
    world.journal.begin(0)
    world.journal.append(0, 2)
    records = world.journal.records()
    assert world.archive() == 1
    assert world.objects() == before
    world.journal.begin(0)
    world.archive()
    with pytest.raises(ArchiveError, match="different records"):  # as recovery wouldn't write them
        world.restore(world.directory / "new")
    assert len(records) == 7


def test_an_object_that_reads_back_differently_is_no_archive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    monkeypatch.setattr("fanion.archive.bucket.Bucket.get", lambda *_: b"FNANARC1" + bytes(HEAD.size))
    with world.archiver() as archiver, pytest.raises(ArchiveError, match="stays"):
        archiver.run_once()
    assert place_of(world) == {}


def test_retention_waits_for_the_archive_and_no_longer_than_the_disk_allows(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.journal.append(0, 1)
    world.archiver().close()
    storage, journal = Storage(), world.data / "journal"
    old = msgspec.structs.replace(SETTINGS, retention_bytes=1, compress=False)
    assert run_pass(storage, journal, old)[1] == 0  # type: ignore[index]

    class Full(Storage):
        def free_bytes(self, path: Path) -> int:
            return 0

    assert run_pass(Full(), journal, old)[1] == 1  # type: ignore[index]
    assert load_gaps(storage, journal, READER).records == 7
    with world.archiver() as archiver:
        archiver.run_once()
        assert archiver.stands().gap_records == 7
    assert place_of(world) == {}


def test_an_archive_that_is_away_moves_nothing_and_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.append(0, 7)
    world.journal.begin(0)
    (tmp_path / "archive").write_text("no folder")
    with world.archiver() as archiver:
        with pytest.raises(ArchiveError, match="can't be opened"):
            archiver.run_once()
        archiver.failed("away")
        assert archiver.stands().waiting_segments == 1
    assert place_of(world) == {}
    (tmp_path / "archive").unlink()
    assert world.archive() == 1


def test_only_one_archives_and_a_forgetting_has_its_turn(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    with world.archiver() as archiver:
        with pytest.raises(ArchiveError, match="another process"):
            world.archiver()
        with holding_archive(Storage(), world.data, 1.0):
            assert archiver.run_once() == 0
            with (
                pytest.raises(ArchiveError, match="has not let go"),
                holding_archive(Storage(), world.data, 0),
            ):
                pass
        assert archiver.run_once() == 1


def test_a_segment_that_is_written_anew_meanwhile_waits_for_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of its writer is archived before it, or its place would be passed over."""
    for _ in range(2):
        world.journal.append(0, 7)
        world.journal.begin(0)
    real, failed = pack_segment, []

    def once(storage: Storage, segment: Segment, limit: int) -> object:
        if not failed:
            failed.append(segment)
            raise FileNotFoundError(2, "gone")
        return real(storage, segment, limit)

    monkeypatch.setattr("fanion.archive.archiver.pack_segment", once)
    with world.archiver() as archiver:
        assert archiver.run_once() == 0
        assert archiver.places == {}
        assert archiver.run_once() == 2


def test_a_segment_whose_end_was_not_durable_at_the_look_is_not_cut_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The durable end is read before the segments are listed, so it may lie within one that is finished by then."""
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.journal.append(0, 7)
    world.journal.begin(0)
    real = JournalReader.chains

    def earlier(reader: JournalReader) -> object:
        return [(segments, 10, proven) for segments, _, proven in real(reader)]

    with world.archiver() as archiver:
        monkeypatch.setattr(JournalReader, "chains", earlier)
        assert archiver.run_once() == 1
        assert archiver.places == {0: 8}
        monkeypatch.setattr(JournalReader, "chains", real)
        assert archiver.run_once() == 1
        assert archiver.places == {0: 15}


def test_a_journal_that_was_begun_anew_is_archived_beside_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    (tmp_path / "data").rename(tmp_path / "old")
    other = World.__new__(World)
    other.__dict__.update(world.__dict__)
    from tests.unit.archive_world import EventJournal

    other.journal = EventJournal(tmp_path / "data", b"m" * 16)
    other.journal.append(0, 3)
    other.journal.begin(0)
    (tmp_path / "old" / "journal" / "readers").rename(tmp_path / "data" / "journal" / "readers")
    assert other.archive() == 1
    assert world.bucket().machines() == sorted([ID, (b"m" * 16).hex()])


def test_the_loop_counts_says_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: None)
    world = World(tmp_path, interval_s=0.05, again_s_max=0.05)
    world.journal.append(0, 7)
    world.journal.begin(0)
    (tmp_path / "archive").write_text("no folder")
    metrics = Metrics.prepare(world.data) or Metrics.open(world.data, worker=False)
    rounds: list[int] = []

    class Ending:
        def __call__(self) -> bool:
            return len(rounds) > 6

        def wait(self, timeout_s: float) -> bool:
            rounds.append(1)
            if len(rounds) == 3:
                (tmp_path / "archive").unlink()
            return self()

    def make(turn: object) -> Archiver:
        return world.archiver(turn=turn)

    Service(world.settings, make, None, metrics).run(Ending())  # type: ignore[arg-type]
    assert len(world.objects()) == 1
    metrics.close()


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/a/b", "gs://b/p", "az://container/p", "file:///mnt/archive"]
)
def test_addresses_that_are_taken(url: str) -> None:
    assert list(problems_of_archive(Archive(url=url))) == []


@pytest.mark.parametrize(
    "url", ["s3://", "bucket", "file://relative", "s3://user:hidden@host/b", "nats://a/b"]
)
def test_addresses_that_are_refused(url: str) -> None:
    (problem,) = problems_of_archive(Archive(url=url))
    assert problem.startswith("archive.url")
    assert "hidden" not in problem


def test_a_pipe_in_an_archive_is_refused_and_not_waited_for(world: World) -> None:
    world.journal.append(0, 7)
    world.journal.begin(0)
    world.archive()
    (name,) = world.objects()
    bucket, folder = world.bucket(), Path(world.url.removeprefix("file://"))
    for path in (f"{ID}/segments/{name}", f"{ID}/ends"):
        (folder / path).unlink()
        os.mkfifo(folder / path)
    with pytest.raises(ArchiveError, match="a pipe, not a plain file"):
        bucket.get(ID, name)
    with pytest.raises(ArchiveError, match="a pipe, not a plain file"):
        bucket.head(ID, name, 1)
    with pytest.raises(ArchiveError, match="a pipe, not a plain file"):
        bucket.ends(ID)


def test_it_is_off_by_default() -> None:
    assert Config().archive.url == ""
    assert DIRECTORY == "archive"
    assert issubclass(ArchiveConflictError, ArchiveError)
    assert JournalSettings().compress
