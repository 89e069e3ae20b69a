"""One server for a file of tests of stitchd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Running, start
from tests.e2e.stitchd_world import publish_world


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stitchd") / "data"
    publish_world(made)
    return made


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    running = start(data.with_name("log"), "--workers", "2", data=data)
    yield running
    assert running.stop() == 0
