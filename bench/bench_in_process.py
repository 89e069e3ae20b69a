"""What one flag takes in process: a regression here is paid by every evaluation of a Python program.

The rows and their interleaved comparison are `bench.in_process`'s; here each is run by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.in_process import ROWS


@pytest.mark.parametrize("name", ROWS)
def bench_one_flag_in_process(benchmark: Any, tmp_path: Path, name: str) -> None:
    with ROWS[name](tmp_path) as ask:
        assert isinstance(benchmark(ask), bool)
