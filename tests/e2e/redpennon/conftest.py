"""One server for a file of tests of Red Pennon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.redpennon.asking import SMALL_WINDOWS
from tests.e2e.redpennon_world import publish_world
from tests.e2e.server import Running, start


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("redpennon") / "data"
    publish_world(made)
    return made


@pytest.fixture(scope="module")
def pennon(data: Path) -> Iterator[Running]:
    running = start(data.with_name("log"), "--workers", "2", data=data, environment=SMALL_WINDOWS)
    yield running
    assert running.stop() == 0
