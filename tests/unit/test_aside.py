"""Processes beside the workers at the end of a server: who is asked when."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fanion.pipeline.service import Ending
from fanion.process.aside import Aside, Beside
from fanion.telemetry.heartbeats import Heartbeats
from tests.e2e.server import wait_until

STOP_S = 60.0


@pytest.mark.parametrize("late", [False, True])
def test_one_that_workers_need_is_asked_when_they_have_ended(tmp_path: Path, late: bool) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"

    def run() -> None:
        ending = Ending()
        began.touch()
        while not ending.wait(60):
            pass
        ended.touch()

    aside = Aside(Beside("shipping", run, gentle=True, late=late), Heartbeats(1).rows[0], 1.0)
    aside.keep()
    wait_until(began.exists)
    aside.ask()
    if late:
        assert aside._process is not None
        assert aside._process.is_alive()
        assert not ended.exists()
    aside.kill(time.monotonic() + STOP_S)
    assert ended.exists()
    assert aside.pid is None
