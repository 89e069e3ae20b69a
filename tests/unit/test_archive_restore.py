"""A journal comes back from its archive: the same records, each once, whatever is missing, damaged or there."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from fanion.archive.packed import make_object, parse_object
from fanion.archive.restoring import LEAP, choose_machine
from fanion.cli import group
from fanion.errors import ArchiveError
from fanion.journal.inspection import verify_segments
from fanion.journal.log_segment import START, list_segments
from fanion.journal.reader import JournalReader
from fanion.journal.retention import LOCK_NAME
from fanion.journal.session import open_session
from fanion.journal.slot import Slot, read_slot
from fanion.journal.storage import Storage
from fanion.process.directory import DirectoryLock
from tests.unit.archive_world import ID, SETTINGS, EventJournal, World, need_library
from tests.unit.shipping_world import Records, records_of


@pytest.fixture(autouse=True)
def library() -> None:
    need_library()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Archived whole, but for two segments that hold nothing yet."""
    made = World(tmp_path)
    made.journal.fill(random.Random(3), 60)
    made.journal.finish()
    made.archive()
    return made


def records(data: Path) -> Records:
    found: Records = {}
    for batch in JournalReader(data).read_batches():
        new = records_of(batch)
        assert not found.keys() & new.keys(), "twice"
        found |= new
    return found


def session_of(data: Path) -> int:
    """The sequence that a server's first worker gives next."""
    session = open_session(Storage(), data / "journal", SETTINGS)
    try:
        return session.recovered.next_sequence
    finally:
        session.abandon()


def test_an_empty_directory_gets_every_record_once(world: World) -> None:
    into = world.directory / "new"
    found = world.restore(into)
    assert (found.problems, found.kept, sorted(found.leapt)) == ([], 0, [0, 1])
    assert records(into) == world.journal.records()
    verified = verify_segments(into)
    assert sum(verified) == 60
    assert verified.defects == []
    assert (into / "journal" / "machine").read_text().strip() == ID


def test_it_is_the_same_again_and_does_nothing(world: World) -> None:
    into = world.directory / "new"
    world.restore(into)
    before = {path.name: path.read_bytes() for path in (into / "journal").iterdir() if path.is_file()}
    found = world.restore(into)
    assert (found.segments, found.problems, found.leapt) == (0, [], [])
    assert found.kept == len(world.objects())
    assert {path.name: path.read_bytes() for path in (into / "journal").iterdir() if path.is_file()} == before


def test_rows_of_a_restored_journal_are_the_original_s(world: World) -> None:
    pytest.importorskip("pyarrow")
    from tests.unit.pipeline_world import kept, pipeline

    into = world.directory / "new"
    world.restore(into)
    rows = []
    for data in (world.data, into):
        with pipeline(data) as made:
            made.run_once()
            rows.append(kept(made, data))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 120


def test_a_server_goes_on_behind_all_that_the_lost_disk_may_have_given(world: World) -> None:
    into = world.directory / "new"
    world.restore(into)
    ends = world.bucket().ends(ID)
    assert session_of(into) == ends[0] + LEAP
    state = read_slot(Storage(), into / "journal", 1)
    assert state is not None
    assert (state.clean, state.next_sequence) == (True, ends[1] + LEAP)
    again = world.restore(into)
    assert again.problems == []
    assert again.leapt == [0], "that worker didn't end well, and nobody knows what it gave"


def test_a_directory_that_lost_a_part_gets_that_and_keeps_the_rest(world: World) -> None:
    whole = world.journal.records()
    paths = sorted((world.data / "journal").glob("*.log"))
    kept = {path: path.read_bytes() for path in paths[::2]}
    for path in paths[1::2]:
        path.unlink()
    damaged = next(iter(kept))
    content = bytearray(kept.pop(damaged))
    content[START + 100] ^= 0xFF
    damaged.write_bytes(content)
    found = world.restore(world.data)
    assert found.problems == []
    assert found.segments + found.kept == len(world.objects())
    assert records(world.data) == whole
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert not damaged.exists(), "its good copy is there, compressed"


def test_a_slot_that_ended_well_or_has_its_last_segment_knows_where_it_was(world: World) -> None:
    storage, journal = Storage(), world.data / "journal"
    ends = world.bucket().ends(ID)
    for writer, clean in ((0, True), (1, False)):
        slot = Slot.take(storage, journal, writer, create=True)
        assert slot is not None
        slot.write(
            machine=bytes.fromhex(ID),
            epoch=1,
            next_sequence=ends[writer] + 5 if clean else 1,
            ring_bytes=0,
            clean=clean,
        )
        slot.release()
    assert world.restore(world.data).leapt == []
    for path in list(journal.glob("001-*.log")):
        path.unlink()
    assert world.restore(world.data).leapt == [1], "its last segment is gone, and it didn't end well"
    state = read_slot(storage, journal, 1)
    assert state is not None
    assert state.next_sequence == ends[1] + LEAP
    before = read_slot(storage, journal, 0)
    assert before is not None
    assert before.next_sequence == ends[0] + 5


def test_damaged_and_missing_objects_are_named_and_the_others_restored(world: World) -> None:
    names = [name for name in world.objects() if name.startswith("000")]
    missing, damaged, cut = names[1], names[3], names[5]
    whole = {name: world.path_of(name).read_bytes() for name in (missing, damaged, cut)}
    world.path_of(missing).unlink()
    content = bytearray(whole[damaged])
    content[-1] ^= 1
    world.path_of(damaged).write_bytes(content)
    world.path_of(cut).write_bytes(whole[cut][:-1])
    into = world.directory / "new"
    found = world.restore(into)
    assert found.segments == len(world.objects()) - 2
    text = "\n".join(found.problems)
    assert f"{damaged} is damaged" in text
    assert f"{cut} has {len(whole[cut]) - 1:,} bytes" in text
    assert text.count("are neither here nor in the archive") == 3
    there = records(into)
    assert there.items() <= world.journal.records().items()
    assert len(there) < 60
    for name, content in whole.items():
        world.path_of(name).write_bytes(content)
    assert world.restore(into).problems == []
    assert records(into) == world.journal.records()


def test_segments_that_are_missing_at_the_end_are_noticed(world: World) -> None:
    last = max(name for name in world.objects() if name.startswith("001"))
    world.path_of(last).unlink()
    (problem,) = world.restore(world.directory / "new").problems
    assert problem.startswith("requests ")
    assert "of writer 1 are neither here nor in the archive" in problem


@pytest.mark.parametrize(
    "said", ["{", '{"0":9223372036854775807}', '{"0":-1}', '{"4000000000":1}', '{"0":1e400}', "[" * 100_000]
)
def test_damage_of_what_says_how_far_it_goes_is_named_and_restores_all_the_same(
    world: World, said: str
) -> None:
    (world.directory / "archive" / ID / "ends").write_text(said)
    found = world.restore(world.directory / "new")
    assert found.problems == [f"{ID}/ends can't be read: it is damaged"]
    assert records(world.directory / "new") == world.journal.records()


def test_an_object_that_says_it_holds_the_last_of_all_sequences_is_named(world: World) -> None:
    """A writer that goes on behind it would find no numbers."""
    name = min(world.objects())
    head, content = parse_object(world.objects()[name], name)
    far = msgspec.structs.replace(head, next=(1 << 64) - 2)
    world.path_of(name).write_bytes(make_object(far, bytes(content)))
    found = world.restore(world.directory / "new")
    assert any(f"{name} says that it holds records" in problem for problem in found.problems)


def test_an_object_whose_segment_doesnt_hold_what_its_head_says_is_refused(world: World) -> None:
    name = min(world.objects())
    head, content = parse_object(world.objects()[name], name)
    rotten = bytearray(content)
    rotten[-20] ^= 1  # within a frame: its records don't verify, and the digest is the new one's
    world.path_of(name).write_bytes(make_object(head, bytes(rotten)))
    into = world.directory / "new"
    with pytest.raises(ArchiveError, match="records that can be read"):
        world.restore(into)
    assert not list((into / "journal").glob("*.zst"))
    assert not list((into / "journal").glob("*.tmp"))


def test_a_kill_at_any_moment_leaves_what_another_run_finishes(tmp_path: Path) -> None:
    """Each call that changes the disk in turn is the last one of its process."""
    world = World(tmp_path)
    for writer in (0, 0, 1):
        world.journal.append(writer, 3)
        world.journal.begin(writer)
    world.archive()

    class Killed(BaseException):
        pass

    class Dying(Storage):
        left = 0

        def _step(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed

        def pwrite(self, fd: int, data: object, offset: int) -> int:
            self._step()
            return super().pwrite(fd, data, offset)  # type: ignore[arg-type]

        def rename(self, source: Path, target: Path) -> None:
            self._step()
            super().rename(source, target)

        def unlink(self, path: Path) -> None:
            self._step()
            super().unlink(path)

        def sync_directory(self, path: Path) -> None:
            self._step()
            super().sync_directory(path)

    whole, ends = world.journal.records(), world.bucket().ends(ID)
    for step in range(10_000):
        into = world.directory / f"new-{step}"
        storage = Dying()
        storage.left = step
        done = False
        try:
            for _ in world.restoring(into, storage):
                pass
            done = True
        except Killed:
            pass
        if (into / "journal" / "machine").exists():
            assert records(into).items() <= whole.items()
            if list_segments(Storage(), into / "journal")[0]:
                assert session_of(into) >= ends[0] + LEAP, (
                    "a server that starts in between gives nothing twice"
                )
        assert world.restore(into).problems == []
        assert records(into) == whole
        shutil.rmtree(into)
        if done:
            break
    assert 10 < step < 9_999


def test_another_machines_directory_and_another_life_are_refused(world: World) -> None:
    other = EventJournal(world.directory / "other", b"o" * 16)
    other.append(0, 1)
    with pytest.raises(ArchiveError, match="has the journal of machine"):
        world.restore(other.directory)
    fresh = EventJournal(world.directory / "fresh")
    fresh.append(0, 500)
    first = fresh.path(0, 1)
    content = bytearray(first.read_bytes())
    segment = list_segments(Storage(), fresh.directory / "journal")[0][0]
    header = msgspec.structs.replace(segment.header, salt=77)
    first.write_bytes(header.page() + content[4_096:])
    with pytest.raises(ArchiveError, match="is no copy of"):
        world.restore(fresh.directory)
    first.write_bytes(
        msgspec.structs.replace(segment.header, epoch=9, first_sequence=3).page() + content[4_096:]
    )
    with pytest.raises(ArchiveError, match="began anew here"):
        world.restore(fresh.directory)


def test_other_records_under_the_same_sequences_are_refused(world: World) -> None:
    """A directory that was begun anew, of which nothing meets the archive's ordinals."""
    into = EventJournal(world.directory / "other")
    into._ordinals[0] = 1_000
    into.begin(0)
    into.append(0, 40)
    with pytest.raises(ArchiveError, match="different records under the same sequences"):
        world.restore(into.directory)


def test_which_machine_is_said_where_there_are_several(world: World) -> None:
    other = World.__new__(World)
    other.__dict__.update(world.__dict__)
    other.journal = EventJournal(world.directory / "second", b"s" * 16)
    other.journal.append(0, 3)
    other.journal.begin(0)
    other.archive()
    second, into = (b"s" * 16).hex(), world.directory / "new"
    with pytest.raises(ArchiveError, match=r"several machines.*--machine"):
        world.restore(into)
    assert choose_machine(world.bucket(), Storage(), into, second) == second
    with pytest.raises(ArchiveError, match="has nothing of machine"):
        choose_machine(world.bucket(), Storage(), into, "0" * 32)
    assert choose_machine(world.bucket(), Storage(), world.data, "") == ID
    with pytest.raises(ArchiveError, match="name another directory"):
        choose_machine(world.bucket(), Storage(), world.data, second)


def test_retention_at_work_is_not_disturbed(world: World) -> None:
    into = world.directory / "new"
    world.restore(into)
    storage = Storage()
    fd = storage.open(into / "journal" / LOCK_NAME, create=True)
    assert storage.lock(fd)
    with pytest.raises(ArchiveError, match="retention is at work"):
        world.restore(into)
    storage.close(fd)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, arguments)
    return done.exit_code, f"{done.output}{done.exception if isinstance(done.exception, Exception) else ''}"


def test_the_command_restores_says_so_and_refuses_beside_a_server(world: World) -> None:
    into = world.directory / "new"
    status, told = run("journal", "restore", "--from", world.url, "--data", str(into))
    assert status == 0, told
    objects = len(world.objects())
    assert f"machine {ID}: {objects} log segments with 60 requests restored, 0 were here" in told
    assert f"writers 0, 1 go on {LEAP:,} behind" in told
    assert "journal.retention_hours" in told
    status, told = run("journal", "restore", "--from", world.url, "--data", str(into))
    assert (status, f"0 log segments with 0 requests restored, {objects} were here" in told) == (0, True), (
        told
    )
    world.path_of(max(world.objects())).unlink()
    status, told = run("journal", "restore", "--from", world.url, "--data", str(world.directory / "newer"))
    assert status == 1
    assert "neither here nor in the archive" in told
    lock = DirectoryLock(into)
    status, told = run("journal", "restore", "--from", world.url, "--data", str(into))
    assert status == 1
    assert "another server uses this data directory" in told
    lock.close()
    for url, said in (("nats://a/b", "--from is"), ("s3://a@b/c", "--from has an @")):
        status, told = run("journal", "restore", "--from", url, "--data", str(into))
        assert (status, said in told) == (2, True), told
    status, told = run("journal", "restore", "--from", f"file://{world.directory}/none", "--data", str(into))
    assert (status, "there is no such folder" in told) == (1, True), told


def test_the_command_archives_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.journal.append(0, 7)
    world.journal.begin(0)
    assert run("journal", "archive", "--once", "--data", str(world.data))[0] == 2
    monkeypatch.setenv("FANION_ARCHIVE_URL", world.url)
    status, told = run("journal", "archive", "--once", "--data", str(world.data))
    assert (status, told.strip()) == (0, f"1 log segment was archived to {world.url}")
    status, told = run("cluster", "status", "--data", str(world.data))
    assert (status, "1 archived, the last at 20" in told) == (0, True), told
    monkeypatch.setenv("FANION_ARCHIVE_URL", "elsewhere")
    assert "archive.url is 'elsewhere'" in run("journal", "archive", "--once", "--data", str(world.data))[1]


def test_the_loop_of_the_command_ends_by_sigterm(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.append(0, 7)
    world.journal.begin(0)
    environment = {"FANION_ARCHIVE_URL": world.url, "FANION_ARCHIVE_INTERVAL_S": "0.05"}
    command = [sys.executable, "-m", "fanion", "journal", "archive", "--data", str(world.data)]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    deadline = time.monotonic() + 60
    while not (tmp_path / "archive" / ID / "ends").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    assert process.wait(120) == 0
    assert len(world.objects()) == 1
