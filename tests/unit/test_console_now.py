"""The page of now: rates and quantiles out of the metrics file, one rendering for all who look, and readers."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.config import Config
from fanion.console import reader as reader_module
from fanion.console.exchange import Asked, RefusedError
from fanion.console.history import History, Moment, quantile, rate
from fanion.console.now import Now
from fanion.console.questions import Tokens
from fanion.console.reader import Reader, ReaderError
from fanion.console.rendering import Templates, ago, milli, moment, percent, read_static, size
from fanion.process.operations import Operations
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats, Standing
from fanion.telemetry.journal import HISTOGRAMS, LATENCY_BOUNDS_US
from fanion.telemetry.metrics import Metrics

PLAIN = Asked("GET", "now", {}, {}, {})


class World:
    """A metrics file that one worker counts in, and the page over it."""

    def __init__(self, directory: Path) -> None:
        self.metrics = Metrics.open(directory)
        self.at = 1_000.0
        self.history = History(Exposition(directory), lambda: self.at)
        heartbeats = Heartbeats(2)
        heartbeats.rows[0].beat()
        heartbeats.rows[0].say(Standing(7, (), ("the <b>clock</b> jumped",), 5))
        self.now = Now(self.history, Operations(heartbeats.rows, lambda: b"").readiness, directory, Config())

    def moment(self) -> None:
        self.at += 2.0
        made = self.history.take()
        self.history.moments[-1] = made._replace(monotonic_s=self.at)

    def values(self) -> dict[str, Any]:
        return dict(asyncio.run(self.now.page(PLAIN, "")).values)

    def text(self) -> str:
        page = asyncio.run(self.now.page(PLAIN, "live"))
        return Templates("/console", read_static("/console")).render(page.template, **page.values)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_before_anything_happened_the_page_says_so(world: World) -> None:
    text = world.text()
    assert "Nobody has asked yet" in text
    assert "No events yet" in text
    world.moment()
    assert "Nobody has asked yet" in world.text()


def test_rates_are_of_the_last_seconds_by_api(world: World) -> None:
    world.moment()
    for _ in range(8):
        world.metrics.answered("feather", "evaluate", 200)
    for _ in range(4):
        world.metrics.answered("neutral", "events", 202)
    for _ in range(2):
        world.metrics.answered("feather", "evaluate", 401)
    world.moment()
    values = world.values()
    assert (values["asked"], values["events"]) == (5.0, 2.0)
    assert [tuple(api) for api in values["apis"]] == [
        ("feather", 5.0, 0.0, 1.0, 10.0),
        ("neutral", 0.0, 2.0, 0.0, 4.0),
    ]
    (refusal,) = values["refusals"]
    assert (refusal.status, refusal.lately, refusal.why) == ("401", 2.0, "no key, or an unknown one")
    assert json.loads(values["lines"]) == {
        "at": [1004.0],
        "series": [{"name": "feather", "values": [5.0]}, {"name": "neutral", "values": [2.0]}],
    }


def test_the_promise_is_held_against_what_was_measured(world: World) -> None:
    metric = HISTOGRAMS["receipt_to_durable"][0]
    world.metrics.know([metric])
    world.moment()
    counts = [0] * (len(LATENCY_BOUNDS_US) + 1)
    counts[2], counts[LATENCY_BOUNDS_US.index(50_000)], counts[LATENCY_BOUNDS_US.index(100_000)] = 97, 2, 1
    world.metrics.add_counts(metric, counts, 1)
    world.moment()
    values = world.values()
    assert values["within"] == pytest.approx(0.99)
    assert [durable for _, durable, _ in values["quantiles"]] == [2_000, 50_000, 100_000]
    assert 'class="bar bad"' in values["bars"]
    text = world.text()
    assert "99 %" in text
    assert "≤ 50 ms" in text


def test_all_who_look_at_a_moment_are_shown_one_rendering(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.moment()
    made: list[int] = []
    figures = world.now._figures

    def counted() -> dict[str, Any]:
        made.append(1)
        return figures()

    monkeypatch.setattr(world.now, "_figures", counted)
    for _ in range(10):
        world.values()
    world.moment()
    world.values()
    assert len(made) == 2


def test_a_file_that_was_made_anew_begins_a_new_history(world: World) -> None:
    world.metrics.answered("feather", "evaluate", 200)
    world.moment()
    before = world.history.moments[-1]
    world.history.moments[-1] = before._replace(answers={("feather", "evaluate", "200"): 5.0})
    world.moment()
    assert len(world.history.moments) == 1


def test_what_workers_say_is_escaped(world: World) -> None:
    text = world.text()
    assert "<b>clock" not in text
    assert "the &lt;b&gt;clock" in text
    assert "Ready, but not every worker" in text


def test_other_parts_of_the_page_there_are_none(world: World) -> None:
    with pytest.raises(RefusedError):
        asyncio.run(world.now.page(PLAIN, "other"))


def test_quantiles_are_bounds_and_of_nothing_there_is_none() -> None:
    assert quantile((0, 0), (1,), 0.5) is None
    assert quantile((1, 1), (10,), 0.5) == 10.0
    assert quantile((1, 1), (10,), 0.99) == math.inf
    plain = Moment(0, 0, {}, *([0.0] * 10), (), ())
    assert rate(plain, plain._replace(monotonic_s=2.0, records=8.0), lambda one: one.records) == 4.0
    assert rate(plain._replace(records=9.0), plain._replace(monotonic_s=2.0), lambda one: one.records) == 0.0


def test_numbers_in_words() -> None:
    assert [size(value) for value in (0, 1023, 1024, 150 * 1024, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "150 KiB",
        "3.0 TiB",
    ]
    assert [percent(share) for share in (0, 0.5, 0.12345, 1)] == ["0 %", "50 %", "12.35 %", "100 %"]
    assert [milli(value) for value in (None, 500, 5e6, math.inf)] == ["–", "≤ 0.5 ms", "≤ 5000 ms", "> 5 s"]
    assert [ago(value) for value in (-1, 5, 119, 120, 7_200, 172_800)] == [
        "0 seconds",
        "5 seconds",
        "119 seconds",
        "2 minutes",
        "2 hours",
        "2 days",
    ]
    assert [moment(at) for at in (None, 0, 1e300, -1e300)] == ["–", "1970-01-01 00:00:00", "–", "–"]


# -- readers

CHILD = """
import struct, sys, time
HEAD = struct.Struct("<BI")
sys.stdout.buffer.write(HEAD.pack(0, 0)); sys.stdout.buffer.flush()
while head := sys.stdin.buffer.read(5):
    asked = sys.stdin.buffer.read(HEAD.unpack(head)[1])
    {body}
    sys.stdout.buffer.write(HEAD.pack(status, len(answer)) + answer)
    sys.stdout.buffer.flush()
"""


def reader_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, **options: Any) -> Reader:
    name = f"console_child_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(CHILD.format(body=body))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Reader(name, **{"timeout_s": 20.0, **options})


def ask(reader: Reader, times: int = 1) -> list[bytes]:
    async def run() -> list[bytes]:
        try:
            return [await reader.ask(Tokens()) for _ in range(times)]
        finally:
            await reader._end()

    return asyncio.run(run())


def test_a_reader_stays_for_the_next_question_or_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import os; status, answer = 0, str(os.getpid()).encode()"
    assert len(set(ask(reader_of(tmp_path, monkeypatch, body), 2))) == 1
    assert len(set(ask(reader_of(tmp_path, monkeypatch, body, kept=False), 2))) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("status, answer = 1, b'there is none'", "there is none"),
        ("sys.exit()", "ended"),
        ("time.sleep(60)", "longer than 0 seconds"),
        ("sys.stdout.buffer.write(HEAD.pack(0, 2**31)); status, answer = 0, b''", "too large"),
    ],
)
def test_why_a_reader_has_no_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    timeout_s = 0.3 if "sleep" in body else 20.0
    with pytest.raises(ReaderError, match=words):
        ask(reader_of(tmp_path, monkeypatch, body, timeout_s=timeout_s))


def test_those_who_wait_for_a_reader_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = reader_of(tmp_path, monkeypatch, "time.sleep(60)", timeout_s=0.5, waiting_max=1)

    async def run() -> list[Any]:
        return await asyncio.gather(*(made.ask(Tokens()) for _ in range(4)), return_exceptions=True)

    found = asyncio.run(run())
    assert all(isinstance(one, ReaderError) for one in found)
    assert sum("Too many" in str(one) for one in found) >= 1


def test_a_reader_that_nobody_asks_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "IDLE_S", 0.01)
    made = reader_of(tmp_path, monkeypatch, "status, answer = 0, b'1'")

    async def run() -> None:
        await made.ask(Tokens())
        while made._process is not None:
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_the_reader_of_a_directory_without_a_store_knows_no_token(tmp_path: Path) -> None:
    made = Reader("fanion.app.answering", str(tmp_path), timeout_s=60.0)
    assert [msgspec.json.decode(one) for one in ask(made)] == [[]]
