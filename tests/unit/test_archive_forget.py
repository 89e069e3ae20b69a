"""A person leaves the archive with the journal; what can't be reached there is said by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.app.reaching import reach
from fanion.archive import READER
from fanion.archive.state import State, keep_state, load_state
from fanion.cli import group
from fanion.config import Config
from fanion.journal.reader import JournalReader
from fanion.journal.retention import run_pass
from fanion.journal.storage import Storage
from tests.unit.archive_world import ID, SETTINGS, World, need_library

PERSON = "zoe.planted@example.org"
DIGEST = hashlib.sha256(PERSON.encode()).hexdigest()


@pytest.fixture(autouse=True)
def library() -> None:
    need_library()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three archived segments, of which the person is in the first and named in the second; the first has left the
    journal."""
    made = World(tmp_path)
    own = {"flagKey": "f", "userIdHash": DIGEST}
    named = {"flagKey": "f", "userIdHash": "a" * 64, "ruleId": f"asked by {PERSON}"}
    other = {"flagKey": "f", "userIdHash": "b" * 64}
    for events in ([own, other], [named, other], [other, other]):
        monkeypatch.setattr(made.journal, "body", lambda size, events=events: json.dumps(events).encode())
        made.journal.append(0, 3)
        made.journal.begin(0)
    made.archive()
    made.journal.path(0, 1).unlink()
    monkeypatch.setenv("FANION_ARCHIVE_URL", made.url)
    return made


def forget(world: World, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, ["forget", PERSON, "--data", str(world.data), "--wait", "2", *more])
    return done.exit_code, f"{done.output}{done.exception if isinstance(done.exception, Exception) else ''}"


def bodies(data: Path) -> str:
    return "".join(record.body.decode() for record in JournalReader(data).read())


def test_its_objects_are_written_anew_and_restored_without_the_person(world: World) -> None:
    before = world.objects()
    status, told = forget(world, "--dry-run")
    assert (
        status,
        f"archive {world.url}: 3 events to erase, 3 of others name it; 2 of 3 objects" in told,
    ) == (0, True)
    assert world.objects() == before
    status, told = forget(world)
    assert (status, f"archive {world.url}: 3 events erased, 3 of others name it; 2 of 3 objects" in told) == (
        0,
        True,
    ), told
    after = world.objects()
    assert sum(before[name] != after[name] for name in before) == 2
    assert before.keys() == after.keys()
    into = world.directory / "new"
    found = world.restore(into)
    assert (found.records, found.problems) == (9, [])
    assert DIGEST not in bodies(into)
    assert PERSON not in bodies(into)
    assert bodies(into).count("b" * 64) == 12, "events of others stay"
    assert forget(world)[1].count("archive file") == 1
    assert world.objects() == after
    assert not list((world.data / "archive").glob("*.tmp"))


def test_what_was_erased_in_both_is_no_conflict(world: World) -> None:
    """An archiver that has lost its place meets what `forget` wrote anew, here and there alike."""
    forget(world)
    (world.data / "journal" / "readers" / f"{READER}.json").unlink()
    assert run_pass(Storage(), world.data / "journal", SETTINGS) is not None
    assert world.archive() == 2


def test_an_archive_that_is_away_is_said_and_its_objects_named(world: World) -> None:
    (world.directory / "archive").rename(world.directory / "away")
    for more in ([], ["--dry-run"]):
        status, told = forget(world, *more)
        assert status == 1
        assert f"{world.url}/{ID}/segments/, 3 objects in all, may hold the person" in told
    (world.directory / "away").rename(world.directory / "archive")
    assert forget(world)[0] == 0
    into = world.directory / "new"
    world.restore(into)
    assert DIGEST not in bodies(into)


def test_a_damaged_object_is_named_and_the_others_are_written_anew(world: World) -> None:
    first, *_ = world.objects()
    world.path_of(first).write_bytes(world.path_of(first).read_bytes()[:-1])
    status, told = forget(world)
    assert status == 1
    assert f"{world.url}/{ID}/segments/{first} may hold the person" in told
    assert "1 of 3 objects" in told


def test_where_it_was_archived_once_is_looked_at_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FANION_ARCHIVE_URL")
    assert load_state(Storage(), world.data).urls == [world.url]
    status, told = forget(world)
    assert (status, f"archive {world.url}: 3 events erased" in told) == (0, True), told


def test_a_damaged_list_of_places_is_told_and_stays_told(world: World) -> None:
    path = world.data / "archive" / "state.json"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'"records":', b'"recordr":'))
    state = load_state(Storage(), world.data)
    keep_state(Storage(), world.data, state)  # as the archiver goes on
    status, told = forget(world)
    assert status == 1
    assert f"archive {world.url}: 3 events erased" in told
    assert (
        "its checksum is not that of its content; where it was archived besides is not known any more" in told
    )
    config = Config(archive=world.settings)
    (finding,) = [one for one in reach(world.data, config) if one.what == "archive"]
    assert (finding.verdict, "was damaged" in finding.found) == ("bad", True)


def test_a_restored_directory_knows_where_it_came_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FANION_ARCHIVE_URL")
    into = world.directory / "new"
    world.restore(into)
    world.journal.directory = into
    status, told = forget(world)
    assert (status, f"archive {world.url}: 3 events erased" in told) == (0, True), told


def test_doctor_says_how_the_archive_is(world: World) -> None:
    config = Config(archive=world.settings)

    def found() -> tuple[str, str]:
        (finding,) = [one for one in reach(world.data, config) if one.what == "archive"]
        return finding.verdict, finding.found

    assert found() == ("ok", f"{world.url}: journals of 1 machines; of this one 3 segments")
    storage = Storage()
    keep_state(storage, world.data, State(failing="no answer", failing_since_unix_s=1.0))
    assert found() == ("bad", "failing since 1970-01-01T00:00:01.000000Z: no answer")
    keep_state(storage, world.data, State(conflicts=["one"]))
    assert found() == ("bad", "conflict: one")
    keep_state(storage, world.data, State(lost_records=3))
    assert found() == ("bad", "3 records aren't in it")
    (world.directory / "archive").rename(world.directory / "away")
    assert found()[0] == "bad"
    assert "there is no such folder" in found()[1]
    assert [one for one in reach(world.data, Config()) if one.what == "archive"] == []
