"""Shipping as a process: what it says while nothing is reached, when it comes again, which address it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion.config.shipping import Shipping
from fanion.errors import ConfigError, ShippingError
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
