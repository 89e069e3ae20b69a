"""What the tests of evaluating in process share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.evaluator.stores import publish, small


@pytest.fixture
def data(tmp_path: Path) -> Path:
    publish(tmp_path / "data", small("first"))
    return tmp_path / "data"
