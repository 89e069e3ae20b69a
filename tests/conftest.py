"""`--interface rsgi`: every real server of this run speaks it, where a test doesn't say otherwise."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--interface", choices=["asgi", "rsgi"], help="the interface of servers that tests start"
    )


def pytest_configure(config: pytest.Config) -> None:
    if (interface := config.getoption("--interface")) is not None:
        os.environ["FANION_SERVER_INTERFACE"] = interface
