"""Data directories as earlier versions left them: today's Fanion serves and reads them, or says what to do.

`formats/*.tar.xz` were written by the versions themselves (`formats/write.py`), and killed: their journals end
anywhere, and their rings hold some of it. A version that changes a format brings one more, by the commit before.
"""

from __future__ import annotations

import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fanion.bundle import format as bundle_format
from fanion.dialects import canonical_forms
from fanion.errors import JournalError, StoreVersionError
from fanion.journal import files, log_segment
from fanion.journal.log_segment import SegmentHeader
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows
from fanion.journal.slot import SlotState, parse_slot
from fanion.journal.window import IDS, EventWindow
from fanion.store import layout
from fanion.store.database import older_path, store_path
from fanion.store.recovery import open_verified
from fanion.store.store import Store
from fanion.store.upgrade import version_of
from tests.commands import run_command
from tests.e2e.server import Running, start

FOLDER = Path(__file__).with_name("formats")
ARCHIVES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))
TODAY = {
    "store": layout.STORE_FORMAT,
    "bundle": bundle_format.VERSION,
    "segment": log_segment.VERSION,
    "ring": files.RING_VERSION,
}
SETTINGS = {
    "FANION_JOURNAL_RETENTION_HOURS": "0",  # their events are as old as they are
    "FANION_PIPELINE_KEEP_DAYS": "0",
}
DEMO = Path(bundle_format.__file__).parents[1] / "definitions" / "demo.yaml"

IDENTITY = '(machine, writer, sequence, "index", part)'
UPGRADED = "the store's bundles had an older format and were compiled again"


class Left(NamedTuple):
    """A directory that a version left, and what it said of it."""

    data: Path
    told: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.told["key"])

    @property
    def older(self) -> bool:
        return bool(self.told["formats"]["bundle"] < TODAY["bundle"])


def unpacked(name: str, folder: Path) -> Left:
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return Left(folder / "data", json.loads((folder / "told.json").read_text()))


def told_by(name: str) -> dict[str, Any]:
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        file = archive.extractfile("told.json")
        assert file is not None
        found: dict[str, Any] = json.load(file)
        return found


TOLD = {name: told_by(name) for name in ARCHIVES}
READ = [name for name in ARCHIVES if TOLD[name]["formats"]["store"] == TODAY["store"]]
OLDER = [name for name in READ if TOLD[name]["formats"]["bundle"] < TODAY["bundle"]]
REFUSED = [name for name in ARCHIVES if name not in READ]


def newest(names: list[str]) -> list[Any]:
    """The others are left to `--rounds full`."""
    return [*(pytest.param(name, marks=pytest.mark.heavy) for name in names[:-1]), *names[-1:]]


@pytest.fixture(params=newest(READ))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return unpacked(request.param, tmp_path)


def events_in(data: Path) -> int:
    machine = (data / "journal" / "machine").read_text().strip()
    rows = (
        row
        for record in JournalReader(data).read()
        for row in expand_rows(record, machine, canonical_forms())
    )
    return sum(row.kind not in ("served", "assigned") for row in rows)


def serving(left: Left) -> Running:
    return start(left.data.parent / "log", "--workers", "1", data=left.data, environment=SETTINGS)


def answers(server: Running, left: Left) -> dict[str, list[Any]]:
    flags = list(left.told["answers"])
    users = range(len(left.told["answers"][flags[0]]))
    found = [server.bulk(*flags, key=left.key, userId=f"user_{number}") for number in users]
    return {flag: [one[flag]["value"] for one in found] for flag in flags}


def version_of_window(head: bytes) -> int:
    """Of a shared file; see fanion_shared.h."""
    assert head[:8] == b"FANIONSH"
    return int.from_bytes(head[12:16], "little")


def test_every_version_of_the_window_of_event_ids_is_here_but_todays(tmp_path: Path) -> None:
    found = set()
    for name in ARCHIVES:
        with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
            file = archive.extractfile("data/shared/window-ids")
            assert file is not None
            found.add(version_of_window(file.read(16)))
    EventWindow.open(tmp_path, 65_536, name=IDS, replace=True).close()
    today = version_of_window((tmp_path / "shared" / "window-ids").read_bytes())
    assert found | {today} == set(range(1, today + 1))


@pytest.mark.parametrize("what", TODAY)
def test_every_version_that_was_ever_written_is_here_but_todays(what: str) -> None:
    """Whoever raises a version writes an archive by the commit before (formats/write.py)."""
    found = {told["formats"][what] for told in TOLD.values()}
    assert found | {TODAY[what]} == set(range(1, TODAY[what] + 1))


def test_it_is_served_as_by_the_version_that_wrote_it_and_kept_as_it_was(left: Left) -> None:
    environment, segment, *members = left.told["list"]
    server = serving(left)
    try:
        assert answers(server, left) == left.told["answers"]
        assert (UPGRADED in server.output) is left.older
    finally:
        assert server.stop() == 0
    shown = run_command(["lists", "show", environment, segment, "--data", left.data])
    assert all(member in shown.stdout for member in members), shown
    assert events_in(left.data) == left.told["events"]
    assert older_path(left.data).exists() is left.older
    server = serving(left)
    try:
        assert UPGRADED not in server.output
    finally:
        assert server.stop() == 0


@pytest.mark.heavy
@pytest.mark.parametrize("left", OLDER, indirect=True)
def test_what_was_kept_is_the_store_that_the_version_before_goes_back_to(left: Left) -> None:
    path = store_path(left.data)
    assert serving(left).stop() == 0
    older_path(left.data).replace(path / "data.mdb")
    (path / "lock.mdb").unlink()
    with Store.open(left.data) as store, store.pin() as pinned:
        found = {version_of(pinned.bundle(name) or b"") for name in pinned.environments()}
    assert found == {left.told["formats"]["bundle"]}
    server = serving(left)  # and up again from there
    try:
        assert UPGRADED in server.output
        assert answers(server, left) == left.told["answers"]
    finally:
        assert server.stop() == 0


def test_its_rows_and_those_of_its_journal_are_asked_together(left: Left) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    columns = f"count(*), count(DISTINCT {IDENTITY}), count(DISTINCT flag)"
    question = f"SELECT {columns} FROM rows WHERE kind = 'evaluation'"
    assert serving(left).stop() == 0  # what its rings hold goes into its journal
    made = run_command(["pipeline", "--once", "--data", left.data], environment=SETTINGS)
    assert made.returncode == 0, made.stderr
    asked = run_command(["sql", "--json", question, "--data", left.data], environment=SETTINGS)
    assert asked.returncode == 0, asked.stderr
    row = json.loads(asked.stdout)
    assert list(row.values()) == [left.told["events"], left.told["events"], 3]


@pytest.fixture(params=newest(REFUSED))
def refused(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return unpacked(request.param, tmp_path)


def test_a_store_that_is_too_old_is_refused_untouched_and_what_is_said_to_do_helps(refused: Left) -> None:
    path = store_path(refused.data)
    before = (path / "data.mdb").read_bytes()
    for use in (Store.open, open_verified):
        with pytest.raises(
            StoreVersionError, match=f"run the older Fanion, or move {path} away and publish again"
        ):
            use(refused.data)
    said = run_command(["serve", "--data", refused.data], environment=SETTINGS)
    assert said.returncode == 1
    assert f"move {path} away and publish again: events and rows stay" in said.stderr
    assert (path / "data.mdb").read_bytes() == before
    shutil.move(path, refused.data.parent / "away")
    published = run_command(["publish", DEMO, "--data", refused.data])
    assert published.returncode == 0, published.stderr
    server = serving(refused)
    try:
        assert server.value("new-checkout", key="sk_demo_server", userId="user_1") is True
    finally:
        assert server.stop() == 0
    assert events_in(refused.data) == refused.told["events"]


def newer(packed: bytes) -> bytes:
    """A header of the journal with a version above today's, and whole."""
    found = bytearray(packed)
    struct.pack_into("<I", found, 8, 99)
    struct.pack_into("<I", found, 12, log_segment.checksum_around(bytes(found)))
    return bytes(found)


MACHINE = bytes(16)
HEADERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "a log segment": (SegmentHeader(MACHINE, 1, 1, 1, 1, 1, 0, 0).pack(), log_segment.parse_header),
    "a ring": (
        files.pack_ring_identity(files.RingIdentity(MACHINE, 1, 1, 65_536, 0)),
        files.parse_ring_identity,
    ),
    "a journal slot": (SlotState(MACHINE, 1, 1, 1, 65_536, 0, True).pack(), parse_slot),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_newer_file_of_the_journal_is_refused_with_advice(what: str) -> None:
    packed, parse = HEADERS[what]
    assert parse(packed) is not None
    with pytest.raises(JournalError, match=f"{what} of format 99, .*; run the newer Fanion"):
        parse(newer(packed))
