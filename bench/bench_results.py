"""Results of experiments over rows, in the small; `python -m bench.results` is the same at length, with memory.

A regression is paid by whoever looks at a result, and by who serves beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.results import FLAGS, ask, fill


@pytest.mark.parametrize("events", [2_000, 20_000, 200_000])
@pytest.mark.parametrize("experiments", [1, FLAGS])
def test_results(benchmark: Any, tmp_path: Path, events: int, experiments: int) -> None:
    fill(tmp_path, events)
    assert benchmark(lambda: ask(tmp_path, experiments)) > 0
