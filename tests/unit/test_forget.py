"""The forms of a unit; rows, lists and the command of `fanion forget`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion import app
from fanion.cli import group
from fanion.cli.forget import IDS_MAX
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.journal.forgetting import Hole
from fanion.journal.retention import LOCK_NAME
from fanion.journal.storage import Storage
from fanion.model.forgotten import Forms
from fanion.model.units import keyed_unit
from fanion.pipeline.forgetting import forget_in_rows, holding_rows
from fanion.store.database import older_path
from fanion.store.store import Store
from fanion.store.verify import verify
from tests.unit.stitchd_worlds import ENVIRONMENT, flag

UNIT = "alice@example.org"
FORMS = Forms([UNIT, "user-4711", "user/4711", "7"])
DIGEST = hashlib.sha256(UNIT.encode())


@pytest.mark.parametrize(
    "text",
    [UNIT, "ALICE@Example.org", f"user:{UNIT}", DIGEST.hexdigest(), DIGEST.hexdigest().upper(), "7", 7],
)
def test_a_text_in_a_units_place_is_the_unit(text: object) -> None:
    assert FORMS.is_unit(text)
    assert FORMS.occur_in(json.dumps({"unit": text}).encode())


@pytest.mark.parametrize("key", [b"k" * 32, b"other" * 8])
def test_a_digest_that_was_sent_in_capitals_and_then_keyed_is_the_unit(key: bytes) -> None:
    """It stood in the row as if it had been an id; a digest that isn't the unit's does so too, and stays."""
    forms = Forms([UNIT], [b"x" * 32, key])
    for digest in (DIGEST.hexdigest(), DIGEST.hexdigest().upper(), DIGEST.hexdigest().capitalize()):
        assert forms.is_unit(keyed_unit(key, digest, hashed=True))
    assert forms.is_unit(keyed_unit(key, UNIT, hashed=False))
    written_before = DIGEST.hexdigest().upper()
    assert forms.is_unit(keyed_unit(key, written_before, hashed=False)), "as an id"
    other = hashlib.sha256(b"bob@example.org").hexdigest()
    assert not forms.is_unit(keyed_unit(key, other.upper(), hashed=True))
    only = Forms([DIGEST.hexdigest().upper()], [key])
    assert only.is_unit(keyed_unit(key, DIGEST.hexdigest().upper(), hashed=True)), (
        "where nothing else is known"
    )


@pytest.mark.parametrize(
    "text", ["alice@example.org.uk", "USER-4711", "user-47111", "xuser-4711", "77", None, True, {}, ["7"]]
)
def test_a_text_of_another_is_not(text: object) -> None:
    assert not FORMS.is_unit(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"write to {UNIT}.", "write to erased."),
        ("mail=alice%40example.org&x=1", "mail=erased&x=1"),
        ("/login?next=%2fu%2f" + "user%2f4711", "/login?next=%2fu%2ferased"),
        ("/users/user-4711/cart", "/users/erased/cart"),
        (f"sha256 {DIGEST.hexdigest()}", "sha256 erased"),
        (base64.b64encode(DIGEST.digest()).decode(), "erased"),
        (base64.b64encode(b'{"id":"user-4711"}').decode(), "erased"),
        (base64.urlsafe_b64encode(b'x{"id":"user-4711"}').decode().rstrip("="), "erased"),
        ("user-47111 alice@example.org.uk user-4711-b 7", None),
        (base64.b64encode(b'{"id":"user-47111"}').decode(), None),
    ],
)
def test_another_text_loses_the_name_and_nothing_else(text: str, left: str | None) -> None:
    assert FORMS.redact(text) == (text if left is None else left)


@pytest.mark.parametrize(
    "written", [r"\u0061lice@example.org", r"alice\u0040example.org", "ALICE@EXAMPLE.ORG"]
)
def test_escapes_and_case_hide_nothing(written: str) -> None:
    assert FORMS.occur_in(f'{{"a":"{written}"}}'.encode())
    assert Forms(["\U0001f600-zoe"]).occur_in(rb'"\ud83d\ude00-zoe"')


@pytest.mark.parametrize("units", [[], [""], ["a", ""]])
def test_a_unit_without_an_id_is_refused(units: list[str]) -> None:
    with pytest.raises(ValueError, match="without an id"):
        Forms(units)


Feather = Callable[[list[tuple[str, str]]], None]


@pytest.fixture
def journal(tmp_path: Path) -> tuple[Path, Feather]:
    """A data directory with a journal of Feather's events, each of a unit and a value, and their rows."""
    pytest.importorskip("pyarrow")
    from tests.unit.pipeline_world import Journal

    made = Journal(tmp_path)

    def append(units: list[tuple[str, str]]) -> None:
        made.append_events([{"flagKey": "f", "userIdHash": unit, "value": value} for unit, value in units])

    return tmp_path, append


def rows_of(directory: Path) -> list[tuple[object, ...]]:
    from fanion.pipeline.query import ask

    return sorted(ask(directory, 'SELECT sequence, "index", unit, value_text FROM rows')[1])


def test_the_key_of_a_text_that_lost_the_name_is_made_anew(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    from fanion.journal.rows import hash_64, unit_key
    from fanion.pipeline.query import ask
    from tests.unit.result_rows import write_rows

    sent = {"event_at": 1, "kind": "metric", "unit": "bob"}
    write_rows(tmp_path, [sent | {"event_id": f"of {UNIT}"}, sent | {"event_id": "b"}])
    with holding_rows(Storage(), tmp_path, 0):
        assert forget_in_rows(Storage(), tmp_path, FORMS, set()).redacted == 1
    kept = ask(tmp_path, "SELECT event_id, event_key, unit_key FROM rows ORDER BY event_id DESC")[1]
    assert kept == [(text, hash_64(text), unit_key("bob", hashed=False)) for text in ("of erased", "b")]


def test_an_id_in_another_case_is_somebody_elses_also_in_one_file(tmp_path: Path) -> None:
    from fanion.pipeline.query import ask
    from tests.unit.result_rows import write_rows

    sent = {"kind": "metric", "event_at": 1_772_323_200_000_000, "metric": "m"}
    units = ["user-4711", "USER-4711", "User-4711", "alice@example.org", "ALICE@Example.org", "bob"]
    write_rows(tmp_path, [sent | {"unit": unit} for unit in units])
    with holding_rows(Storage(), tmp_path, 0):
        found = forget_in_rows(Storage(), tmp_path, Forms(["user-4711", "alice@example.org"]), set())
    assert found.rows == 3
    assert ask(tmp_path, "SELECT unit FROM rows ORDER BY sequence")[1] == [
        ("USER-4711",),
        ("User-4711",),
        ("bob",),
    ]


def test_rows_leave_by_unit_and_by_the_journals_holes_and_others_lose_the_name(
    journal: tuple[Path, Feather],
) -> None:
    from tests.unit.pipeline_world import MACHINE, pipeline

    directory, append = journal
    other = hashlib.sha256(b"bob").hexdigest()
    with pipeline(directory) as made:
        for sent in (
            [(other, "x"), (DIGEST.hexdigest(), "on"), (other, f"of {UNIT}")],
            [(other, "a hole"), (other, "y")],
            [(DIGEST.hexdigest(), "alone")],
        ):
            append(sent)
            made.run_once()
        assert len(made.manifest.files) == 3
        spilled = directory / "rows" / "query-4194305-dead"
        spilled.mkdir()
        place = made.manifest.place
    holes: set[Hole] = {(MACHINE.hex(), 0, 2, 0)}
    with holding_rows(Storage(), directory, 0):
        found = forget_in_rows(Storage(), directory, FORMS, holes)
    assert (found.files, found.rewritten, found.rows, found.redacted) == (3, 3, 3, 1)
    assert rows_of(directory) == [(1, 0, other, "x"), (1, 2, other, "of erased"), (2, 1, other, "y")]
    with pipeline(directory) as made:
        assert made.manifest.place == place
        assert made.run_once() == 0
        named = {file.name for file in made.manifest.files}
    assert {path.name for path in (directory / "rows").glob("*.parquet")} == named
    assert not spilled.exists()
    assert forget_in_rows(Storage(), directory, FORMS, holes).rewritten == 0


def test_a_pipeline_stands_aside_and_goes_on_where_it_was(journal: tuple[Path, Feather]) -> None:
    from fanion.errors import RowsError
    from tests.unit.pipeline_world import pipeline

    directory, append = journal
    append([("a", "x")])

    class Patient(Storage):
        """Lets go of the turn when the pipeline waits for it."""

        def sleep(self, seconds: float) -> None:
            self.waited = True
            storage.close(turn)

    patient, storage = Patient(), Storage()
    with pipeline(directory, storage=patient) as made:
        assert made.run_once() == 1
        with pytest.raises(RowsError, match="has not let go"), holding_rows(storage, directory, 0):
            pass
        turn = storage.open(directory / "rows" / "turn")
        assert storage.lock(turn)
        append([("b", "y")])
        assert made.run_once() == 1
        assert patient.waited


def published(folder: Path, *included: str) -> Path:
    lists = [{"id": "l1", "key": "beta", "context_type": "user", "include": ["u1", *included]}]
    document = {"flags": [flag(environment_id=ENVIRONMENT)], "list_segments": lists}
    (folder / "flag_definitions.json").write_text(json.dumps(document))
    app.publish(folder / "data", load([folder / "flag_definitions.json"], vocabulary()), Config())
    return folder / "data"


def lists(data: Path, verb: str, *members: str) -> None:
    done = CliRunner().invoke(group, ["lists", verb, "--data", str(data), ENVIRONMENT, "beta", *members])
    assert done.exit_code == 0, done.output


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    data = published(tmp_path)
    lists(data, "add", UNIT, "user-4711")
    return data


def forget(data: Path, *arguments: str) -> list[str]:
    result = CliRunner().invoke(group, ["forget", "--data", str(data), *arguments])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def bytes_of(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (data / "store").rglob("*") if path.is_file())


def test_members_leave_every_generation_and_the_stores_free_pages(listed: Path) -> None:
    with Store.open(listed, write=True) as store:
        store.keep_older()
    lists(listed, "replace", "u1", UNIT)
    assert "lists: 1 membership to take out" in forget(listed, UNIT, "user-4711", "--dry-run")[2]
    assert UNIT.encode() in bytes_of(listed)
    assert forget(listed, UNIT, "user-4711")[2].startswith("lists: 1 membership taken out: ")
    assert not older_path(listed).exists()
    for form in (UNIT.encode(), b"user-4711"):
        assert form not in bytes_of(listed)
    assert verify(listed / "store", deep=True) is None
    assert verify(listed / "store" / "copy", deep=True) is None
    with Store.open(listed) as store:
        pinned = store.pin()
        (name,) = (
            n for n in pinned.manifest.environments[ENVIRONMENT].lists if n.endswith("beta/user/include")
        )
        assert list(pinned.members(ENVIRONMENT, name)) == [b"u1"]
        pinned.release()
    before = (listed / "store" / "data.mdb").stat().st_ino
    assert forget(listed, UNIT, "user-4711")[2] == "lists: 0 memberships taken out"
    assert (listed / "store" / "data.mdb").stat().st_ino == before


def test_definitions_that_name_the_unit_are_said_and_left(tmp_path: Path) -> None:
    data = published(tmp_path, UNIT)
    said = "/flag_definitions.json names it; change it there and publish"
    for more in (("--dry-run",), ()):
        assert [line for line in forget(data, UNIT, *more) if line.startswith("definitions") and said in line]
    inode = (data / "store" / "data.mdb").stat().st_ino
    assert forget(data, UNIT)[-1].startswith("backups")
    assert (data / "store" / "data.mdb").stat().st_ino == inode
    published(tmp_path)
    assert any("of the generation before" in line for line in forget(data, UNIT))
    published(tmp_path)
    forget(data, UNIT)
    assert UNIT.encode() not in bytes_of(data)


def test_units_come_from_standard_input_and_none_is_a_usage_error(listed: Path) -> None:
    run = CliRunner().invoke(
        group, ["forget", "--data", str(listed), "--file", "-"], input=f"{UNIT}\n\nx-1\n"
    )
    assert run.exit_code == 0, run.output
    assert UNIT.encode() not in bytes_of(listed)
    assert CliRunner().invoke(group, ["forget", "--data", str(listed)]).exit_code == 2
    assert CliRunner().invoke(group, ["forget", "--data", str(listed), ""]).exit_code == 2


def test_ids_that_are_no_names_are_counted_and_not_shown(listed: Path) -> None:
    said = forget(listed, "user-4711", "ab12", "--dry-run")
    assert said[0].startswith("1 of 2 ids is shorter than 6 characters: what is theirs leaves, but not where")
    assert not any("ab12" in line for line in said)
    assert not any("shorter" in line for line in forget(listed, "user-4711", "--dry-run"))


def test_as_many_ids_as_can_be_looked_for_are_taken_and_no_more(listed: Path, tmp_path: Path) -> None:
    """A thousand of them took minutes before the first event was read."""
    many = tmp_path / "ids"
    many.write_text("".join(f"u{n}\n" for n in range(IDS_MAX)))
    assert forget(listed, "--file", str(many), "--dry-run")
    result = CliRunner().invoke(group, ["forget", "one-more", "--file", str(many), "--data", str(listed)])
    assert result.exit_code == 1
    assert str(result.exception) == "201 ids; at most 200 at a time, since every event is held against all"


def test_readers_that_may_have_copies_are_named_and_identities_are_written(
    journal: tuple[Path, Feather], tmp_path: Path
) -> None:
    from fanion.journal.reader import JournalReader
    from tests.unit.pipeline_world import MACHINE

    directory, append = journal
    append([("a", "x"), (DIGEST.hexdigest(), "y")])
    append([("b", "x")])
    JournalReader(directory, name="warehouse")
    file = tmp_path / "identities"
    said = forget(directory, UNIT, "--identities", str(file))
    assert [line for line in said if "'warehouse'" in line]
    assert json.loads(file.read_text()) == {"machine": MACHINE.hex(), "writer": 0, "sequence": 1, "index": 1}
    directory.joinpath("rows").mkdir(exist_ok=True)
    storage = Storage()
    lock = storage.open(directory / "journal" / LOCK_NAME, create=True)
    assert storage.lock(lock)
    kept = file.read_text()
    line = ["forget", "--data", str(directory), UNIT, "--identities", str(file)]
    assert CliRunner().invoke(group, [*line, "--wait", "0"]).exit_code == 1
    for never in ("nan", "inf", "-1", "-inf"):
        assert CliRunner().invoke(group, [*line, "--wait", never]).exit_code == 2
    storage.close(lock)
    assert file.read_text() == kept, "what the journal wasn't asked for is written over nothing"
    assert CliRunner().invoke(group, [*line, "--dry-run"]).exit_code == 2
    assert file.read_text() == kept
