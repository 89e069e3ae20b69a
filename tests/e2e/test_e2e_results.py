"""Results of an experiment from a real server, computed beside its workers (docs/apis/neutral.md: Results)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from fanion import app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from tests.e2e.server import start
from tests.unit.native_files import writer
from tests.unit.result_world import project, rows

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
pytest.importorskip("scipy")

from fanion.results.report import Result
from tests.unit.result_rows import write_rows

KEY = "results_e2e_server"
PATH = "/fanion/v1/experiments/copy/results"


def test_a_server_answers_what_the_rows_say_and_serves_on(tmp_path: Path) -> None:
    key = {"key": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", "scopes": ["results:read"]}
    path = writer(tmp_path)(environments={"e": {"id": "env_e", "keys": [key]}}, **project())
    data = tmp_path / "data"
    app.publish(data, load([path], vocabulary()), Config())
    write_rows(data, rows(2_000))
    server = start(tmp_path / "log", "--workers", "1", data=data)
    try:
        answer = server.ask("GET", f"{PATH}?daily=true", key=KEY)
        assert answer.status == 200, (answer, server.log.read_text())
        (result,) = msgspec.json.decode(answer.body, type=dict[str, list[Result]])["results"]
        assert sum(result.units.values()) == 2_000
        assert result.days
        assert server.ask("GET", PATH.replace("copy", "none"), key=KEY).status == 404
        assert server.ask("GET", PATH, key="nobody").status == 401
    finally:
        server.stop()
