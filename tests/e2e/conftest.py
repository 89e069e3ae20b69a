"""One server for the tests that only ask; those that change or kill one start their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import WORLD, Running, publish, start


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("e2e") / "data"
    publish(data, WORLD)
    return data


@pytest.fixture(scope="session")
def server(shared_data: Path) -> Iterator[Running]:
    """Two workers, durable acknowledgements, the default limits."""
    running = start(shared_data.with_name("log"), "--workers", "2", "--ack", "buffered", data=shared_data)
    yield running
    assert running.stop() == 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of the test's own, with the world published."""
    publish(tmp_path / "data", WORLD)
    return tmp_path / "data"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers that end with the test."""
    started: list[Running] = []

    def begin(*arguments: str, **given: Any) -> Running:
        running = start(tmp_path / "log", *arguments, **given)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def node_modules() -> str:
    """OPENFEATURE_NODE_MODULES names a folder in which the packages were installed by npm."""
    named = os.environ.get("OPENFEATURE_NODE_MODULES")
    if named is None or shutil.which("node") is None:
        pytest.skip("OPENFEATURE_NODE_MODULES names no folder with the JavaScript providers, or no node")
    return named


@pytest.fixture(scope="session")
def browser_program() -> str:
    """OPENFEATURE_BROWSER names a Chromium."""
    named = os.environ.get("OPENFEATURE_BROWSER")
    if named is None:
        pytest.skip("OPENFEATURE_BROWSER names no browser")
    return named
