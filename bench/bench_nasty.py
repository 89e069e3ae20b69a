"""The shapes of `bench.nasty`, once each and small: every route answers each of them, and none with a 5xx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import nasty
from bench.gate import entry


def bench_nasty(benchmark: Any, tmp_path: Path) -> None:
    """A regression here lets one request hold a worker; `python -m bench.nasty` has full sizes and the goal."""
    served = entry.Served(tmp_path)
    try:
        costs = benchmark.pedantic(lambda: list(nasty.measure(served, 1, lambda ingest: 20_000)), rounds=1)
        assert len(costs) > 200
        assert all(cost.status < 500 for _, _, cost in costs)
    finally:
        served.close()
