"""Shipping as a process: what it says while nothing is reached, when it comes again, which address it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.config.shipping import Shipping
from fanion.errors import ConfigError, ShippingError
from fanion.journal.replicas import AWAY, Board
from fanion.journal.slot import Slot
from fanion.journal.storage import Storage
from fanion.nats.connection import Access
from fanion.shipping.service import Service
from fanion.shipping.shipper import Shipper
from fanion.shipping.state import load_state
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics
from tests.unit.shipping_world import MACHINE, Journal
from tests.unit.test_pipeline_service import Asked


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


def test_an_address_with_a_password_is_refused_without_it() -> None:
    from fanion.config.loading import load_config
    from fanion.dialects import vocabulary

    with pytest.raises(ConfigError, match=r"shipping\.url has an @") as caught:
        load_config(vocabulary(), environ={"FANION_SHIPPING_URL": "nats://u:secret-one@host/s"})
    assert "secret-one" not in str(caught.value)


def test_how_far_it_is_behind_is_said_also_while_no_stream_was_reached_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: None)
    settings = Shipping(url="nats://127.0.0.1:1/none", timeout_s=1)
    Journal(tmp_path).append(0, 7)
    slot = Slot.take(Storage(), tmp_path / "journal", 0, create=True)
    assert slot is not None
    slot.write(machine=MACHINE, epoch=1, next_sequence=8, ring_bytes=0, clean=True)
    slot.release()
    row, metrics = Heartbeats(1).rows[0], Metrics.open(tmp_path, worker=False)
    try:
        made = functools.partial(Shipper, tmp_path, settings, Access())
        Service(settings, lambda turn: made(turn=turn), row, metrics).run(Asked(2))  # type: ignore[arg-type]
        told = Exposition(tmp_path).text().decode()
    finally:
        metrics.close()
    assert "\nfanion_shipping_lag_records 7\n" in told
    assert "\nfanion_shipping_failing 1\n" in told
    state, standing = load_state(Storage(), tmp_path), row.standing()
    assert "Connect call failed" in state.failing
    assert state.failing_since_unix_s > 0
    assert standing is not None
    assert standing.reasons == (state.failing,)
    assert standing.notes == ("it is 7 requests behind",)


class Unreachable:
    """What a service makes while nothing answers."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self, turn: Callable[[], None]) -> Any:
        self.tries += 1
        turn()
        raise ShippingError("Connect call failed")


def test_a_stream_that_is_away_is_tried_ever_more_seldom_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """N-5's second half, and N-9: no hot loop."""
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: None)
    ending, made = Asked(12), Unreachable()
    row = Heartbeats(1).rows[0]
    metrics = Metrics.open(tmp_path, worker=False)
    try:
        Service(Shipping(url="nats://host/s"), made, row, metrics).run(ending)  # type: ignore[arg-type]
        told = Exposition(tmp_path).text().decode()
    finally:
        metrics.close()
    assert made.tries == 12
    doubled = 0.1
    for wait in ending.waits:
        assert doubled / 2 <= wait <= doubled
        doubled = min(2 * doubled, 5.0)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    standing = row.standing()
    assert standing is not None
    assert standing.reasons == ("Connect call failed",)
    assert "\nfanion_shipping_failing 1\n" in told
    assert "\nfanion_shipping_faults_total 12\n" in told


class Work:
    """What a service opens: steps and ships are counted."""

    def __init__(self, board: Board) -> None:
        self.board, self.done = board, list[str]()
        self.error: Exception | None = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("closed")

    def run_once(self, ended: Any) -> int:
        self.done.append("step")
        return 0

    def ship(self, ended: Any) -> None:
        self.done.append("ship")
        if self.error is not None:
            raise self.error

    def failed(self, reason: str) -> None:
        self.done.append(reason)

    def problems(self) -> list[str]:
        return []


class Rung:
    """An `Ending` in whose waits the bell rings, as often as given; each is noted with its time."""

    def __init__(self, board: Board, rings: int, waits: int) -> None:
        self.board, self.rings, self.left = board, rings, waits
        self.waits: list[tuple[float, tuple[int, ...]]] = []

    def __call__(self) -> bool:
        return self.left <= 0

    def wait(self, timeout_s: float, *bells: int) -> bool:
        self.waits.append((timeout_s, bells))
        self.left -= 1
        if len(self.waits) <= self.rings:
            self.board.ring_shipper()
        return self.left <= 0


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(1)
    yield made
    made.close()


def test_who_is_rung_for_ships_between_its_steps_and_beats(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: pytest.fail("it gives way"))
    work, ending = Work(board), Rung(board, 3, 4)
    monkeypatch.setattr(Service, "look", lambda self, work, failing: [])
    settings = Shipping(url="nats://host/s", interval_s=3_600)
    Service(settings, lambda turn: work, board=board).run(ending)  # type: ignore[arg-type]
    assert work.done == ["step", "ship", "ship", "ship", "closed"]
    assert {bells for _, bells in ending.waits} == {(board.shippers_bell,)}
    assert max(timeout_s for timeout_s, _ in ending.waits) <= 1.0
    assert board._head[1] > 0


def test_a_bell_does_not_shorten_the_wait_after_what_failed(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else many who wait would have it tried without a pause."""
    work, ending = Work(board), Rung(board, 1_000, 8)
    work.error = ShippingError("away")
    monkeypatch.setattr(Service, "look", lambda self, work, failing: [])
    Service(Shipping(url="nats://host/s"), lambda turn: work, board=board).run(ending)  # type: ignore[arg-type]
    assert work.done == ["step", "ship", "away", "closed"] * 4
    assert board.state == AWAY
    assert [bells for _, bells in ending.waits] == [(board.shippers_bell,), ()] * 4
    assert all(0.05 <= timeout_s <= 1.0 for timeout_s, bells in ending.waits if not bells)
