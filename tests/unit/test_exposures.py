"""What answers leave of recorded splits: once a day each, by unit, with whoever is beside the shares."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion._core.exposures import CONTEXT, MEMBER_OR_ATTRIBUTE, MarkTable, Recorder
from fanion.bundle.compiler import compile_bundle
from fanion.dialects import canonical_forms, vocabulary
from fanion.dialects.feather.emit import render
from fanion.engine.evaluator import Bundle, open_environment
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.batch import Record
from fanion.journal.reader import JournalReader
from fanion.journal.rows import Row, expand_rows
from fanion.process.exposures import carrier
from tests.unit.native_files import flag, rule, writer
from tests.unit.test_experiment_definitions import TEXTS
from tests.unit.test_exposure_definitions import rollout

PLACES = (
    (MEMBER_OR_ATTRIBUTE, "userId", "userId", False),
    (MEMBER_OR_ATTRIBUTE, "anonymousId", "anonymousId", True),
)
SETTINGS = JournalSettings(
    ring_bytes=1 << 20,
    segment_bytes=1 << 20,
    compress=False,
    raise_priority=False,
    reserve_bytes=0,
    stall_ms=60_000.0,
)


def bundle_of(folder: Path) -> Bundle:
    flags = {
        "checkout": flag(**TEXTS, rules=[rollout()]),
        "half": flag(**TEXTS, rules=[rollout(id="h", conditions=[], rollout_percentage=50)]),
        "plain": flag(rules=[rule()]),
    }
    path = writer(folder)(environments={"e": {"id": "e", "exposures": {"record": "splits"}}}, flags=flags)
    (lowered,) = definitions.load([path], vocabulary()).environments
    return open_environment("e", compile_bundle(lowered, {"feather": render}))


class World:
    """A bundle, a journal and what records between them."""

    def __init__(self, folder: Path, marks: int = 4096) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.marks = MarkTable(str(folder / "marks"), marks)
        self.recorder = Recorder(self.marks)
        self.recorder.generation = 7
        self.journal = JournalWriter.open(folder, SETTINGS, self.loop)
        self.journal.lend(self.recorder.lend)
        self.bundle = bundle_of(folder)
        self.expose()

    def expose(self, places: tuple[Any, ...] = PLACES, **members: Any) -> None:
        given = {"assigned": False, "anonymous": False, "carried": None, **members}
        table = self.bundle.table("feather")
        self.bundle.expose(table, self.recorder, "feather", places, **given)

    def ask(self, key: str, attributes: dict[str, Any] | None = None, **members: Any) -> None:
        self.bundle.put_one(
            self.bundle.table("feather"), key, False, members, attributes or {}, None, b"", b""
        )

    def counts(self, *names: str) -> list[int]:
        return [self.recorder.counts()[name] for name in names]

    def close(self) -> None:
        if not self.loop.is_closed():
            self.journal.close()
            self.marks.close()
            self.loop.close()

    def records(self) -> Iterator[Record]:
        """Those of the journal, after its end."""
        self.close()
        return JournalReader(self.folder).read()

    def rows(self) -> list[Row]:
        return [row for record in self.records() for row in expand_rows(record, "m", canonical_forms())]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def said(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, name) for name in names) for row in rows]


def digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()


def test_each_unit_leaves_one_row_in_or_out_and_who_met_no_split_none(world: World) -> None:
    for _ in range(2):
        for n in range(100):
            world.ask("checkout", {"plan": "pro" if n % 2 else "free"}, userId=f"u{n}")
        world.ask("plain", userId="u1")
        world.ask("unknown", userId="u1")
    assert world.counts("served", "repeated") == [50, 50]
    rows = world.rows()
    assert [row.unit for row in rows] == [digest(f"u{n}") for n in range(1, 100, 2)]
    assert set(said(rows, "kind", "unit_kind", "flag", "variant", "reason", "generation", "environment")) == {
        ("served", "userId", "checkout", "new", "in", 7, "e"),
        ("served", "userId", "checkout", "control", "out", 7, "e"),
    }
    assert len({row.run for row in rows}) == 1


def test_all_of_a_question_stand_in_one_record(world: World) -> None:
    question = world.bundle.ask({"userId": "u1"}, {"plan": "pro"}, None)
    keys = ["plain", "checkout", "half", "half"]
    question.put_map(world.bundle.table("feather"), keys, False, b"", b"")
    rows = world.rows()
    assert said(rows, "flag", "unit", "index", "sequence") == [
        ("checkout", digest("u1"), 0, 1),
        ("half", digest("u1"), 1, 1),
    ]


def test_units_of_other_kinds_empty_ones_and_anonymous_ones_leave_none_and_are_counted(world: World) -> None:
    world.ask("half", anonymousId="a")
    world.ask("half", userId="", anonymousId="a")
    world.ask("half", userId="")
    world.ask("half")
    assert world.counts("served", "anonymous", "lacking") == [0, 2, 0]  # without a unit no lot was drawn
    world.expose(anonymous=True)
    world.ask("half", anonymousId="a")
    assert world.counts("served", "anonymous") == [1, 2]
    assert said(world.rows(), "unit_kind", "unit") == [("anonymousId", digest("a"))]


def test_a_unit_that_the_api_does_not_know_is_lacking(world: World) -> None:
    table = world.bundle.table("feather")
    places = ((MEMBER_OR_ATTRIBUTE, "email", "email", False),)
    given: dict[str, Any] = {"assigned": False, "anonymous": False, "carried": None}
    world.bundle.expose(table, world.recorder, "feather", places, **given)
    world.ask("half", userId="u")
    assert world.counts("served", "lacking") == [0, 1]


def test_answers_that_return_everything_leave_rows_where_it_is_wanted(world: World) -> None:
    def all_of(unit: str) -> None:
        table = world.bundle.table("feather")
        world.bundle.ask({"userId": unit}, {}, None).put_each(table, ["half", "plain"], False)

    all_of("u1")
    assert world.counts("served", "assigned") == [0, 0]
    world.expose(assigned=True)
    all_of("u1")
    all_of("u1")
    world.ask("half", userId="u1")
    assert world.counts("served", "assigned", "repeated") == [1, 1, 1]
    assert said(world.rows(), "kind") == [("assigned",), ("served",)]


def test_attributes_travel_along_as_they_are_typed(world: World) -> None:
    carried = carrier({"plan": "text", "seats": "number", "beta": "boolean"})
    world.expose(carried=carried)
    world.ask("half", {"plan": "pro", "seats": 3, "beta": "yes", "other": 1}, userId="u1")
    world.ask("half", {"plan": "x" * 257, "seats": True}, userId="u2")
    assert said(world.rows(), "attributes") == [('{"plan":"pro","seats":3}',), (None,)]


def test_a_ring_that_is_full_or_gone_drops_and_counts_and_the_next_is_recorded(world: World) -> None:
    world.recorder.lend(None)
    world.ask("half", userId="u1")
    assert world.counts("dropped", "served") == [1, 0]
    world.journal.lend(world.recorder.lend)
    world.ask("half", userId="u1")
    assert world.counts("dropped", "repeated", "served") == [1, 0, 1]
    assert [row.unit for row in world.rows()] == [digest("u1")]


@pytest.mark.parametrize("units", [3_000])
def test_a_table_too_small_for_a_day_repeats_and_loses_none(tmp_path: Path, units: int) -> None:
    world = World(tmp_path, marks=64)
    for n in range(units):
        world.ask("half", userId=f"u{n}")
        world.ask("half", userId=f"u{n // 2}")
    found = {row.unit for row in world.rows()}
    assert found == {digest(f"u{n}") for n in range(units)}


def test_another_worker_sees_the_marks(world: World, tmp_path: Path) -> None:
    world.ask("half", userId="u1")
    other = Recorder(MarkTable(str(tmp_path / "marks"), 4096))
    table = world.bundle.table("feather")
    world.bundle.expose(table, other, "feather", PLACES, assigned=False, anonymous=False, carried=None)
    world.journal.lend(other.lend)
    world.ask("half", userId="u1")
    assert other.counts()["repeated"] == 1


@pytest.mark.parametrize("id", [5, True, "é", "x" * 5000])
def test_an_id_is_hashed_as_its_text(world: World, id: Any) -> None:
    world.ask("half", userId=id)
    text = id if isinstance(id, str) else "true" if id is True else str(id)
    assert [row.unit for row in world.rows()] == [digest(text)]


def test_a_mark_is_of_the_kind_too_whichever_kind_was_met_before(world: World) -> None:
    table = world.bundle.table("feather")
    world.expose(places=((CONTEXT, "nobody", "", False),))
    asked = [(kind, key) for kind in ("user", "company", "nobody") for key in ("a", "b", "user", "company")]
    for kind, key in asked * 2:
        world.bundle.put_one(table, "half", False, {"userId": key}, {}, ((kind, key, {}),), b"", b"")
    assert world.counts("served", "repeated", "anonymous") == [8, 8, 8]
    found = said(world.rows(), "unit_kind", "unit")
    assert found == [(kind, digest(key)) for kind, key in asked if kind != "nobody"]


def test_a_context_of_a_type_that_is_too_long_is_nobody_and_breaks_no_record(world: World) -> None:
    table = world.bundle.table("feather")
    world.expose(places=((CONTEXT, "", "", False),))
    for n, kind in enumerate(["user", "k" * 70_000, "é" * 512, "é" * 513, "k" * 65_536, "user"]):
        world.bundle.put_one(table, "half", False, {"userId": f"u{n}"}, {}, ((kind, f"u{n}", {}),), b"", b"")
    assert world.counts("served", "lacking") == [3, 3]
    found = said(world.rows(), "unit_kind", "unit")
    assert found == [("user", digest("u0")), ("é" * 512, digest("u2")), ("user", digest("u5"))]


@pytest.mark.parametrize("marks", [63, 65, 32, 0])
def test_marks_are_a_power_of_two(tmp_path: Path, marks: int) -> None:
    with pytest.raises(ValueError, match="a power of two from 64"):
        MarkTable(str(tmp_path / "marks"), marks)


@pytest.mark.parametrize(("marks", "units"), [(64, 5_000), (1 << 17, 100_000)])
def test_no_first_exposure_of_a_day_is_lost_however_many_there_are(
    tmp_path: Path, marks: int, units: int
) -> None:
    table = MarkTable(str(tmp_path / "many"), marks)
    for day in (20_000, 20_001, 20_256):  # the last looks like the first in a mark's own bits
        assert not any(table.meet(b"%d" % n, day) for n in range(units))
        again = sum([table.meet(b"%d" % n, day) for n in range(units)])
        assert again > 0.6 * units or marks < units
    table.close()
