"""Small worlds of one experiment, and how a world's results are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fanion.app import publish
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.results.compute import Asked, compute, read_plans
from fanion.results.report import Result
from tests.unit import result_world
from tests.unit.native_files import writer
from tests.unit.result_rows import Row, write_rows

CONFIG = Config()
START, HOUR, S = result_world.START, 3_600_000_000, 1_000_000


def publish_project(directory: Path, project: dict[str, Any]) -> None:
    (directory / "definitions").mkdir()
    path = writer(directory / "definitions")(**project)
    publish(directory / "data", load([path], vocabulary()), CONFIG)


def results(directory: Path, **asked: Any) -> dict[str, Result]:
    plans = read_plans(directory / "data", CONFIG.store.map_bytes)["env_e"]
    found = compute(directory / "data", "env_e", list(plans.values()), Asked(**asked))
    return {one.experiment: one for one in found}


def saw(unit: str, variant: str, at: int = 0, **members: Any) -> Row:
    return {
        "kind": "served",
        "flag": "copy",
        "unit": unit,
        "variant": variant,
        "event_at": START + at,
    } | members


def did(unit: str, metric: str, at: int = HOUR, **members: Any) -> Row:
    return {"kind": "metric", "unit": unit, "metric": metric, "event_at": START + at} | members


def small(directory: Path, rows: list[Row], asked: dict[str, Any] | None = None, **members: Any) -> Result:
    """The result of `copy`, with one metric `m`: a count of `purchase` within an hour, unless it is said."""
    project = result_world.project()
    one = project["experiments"]["copy"]
    one["metrics"] = {"m": {"event": "purchase", "type": "count", "window_hours": 1}}
    one.pop("pre_period_hours")
    project["experiments"] = {"copy": one | members}
    publish_project(directory, project)
    write_rows(directory / "data", rows)
    return results(directory, **(asked or {}))["copy"]


def means(result: Result) -> dict[str, float | None]:
    return {one.variant: one.mean for one in result.metrics[0].variants}
