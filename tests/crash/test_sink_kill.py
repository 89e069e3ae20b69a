"""kill -9 of sinks at random moments, with real receivers: each row is there, once by identity.

`SINK_KILL_ROUNDS` is how often each is killed; 50 is the full round.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanion.dialects import canonical_forms
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows
from tests.crash import receivers
from tests.rounds import rounds
from tests.unit.pipeline_world import MACHINE

pyarrow = pytest.importorskip("pyarrow.parquet")

ROUNDS = rounds(1, 3, "SINK_KILL_ROUNDS")
IDENTITY = ("machine", "writer", "sequence", "index", "part")
TIMEOUT = pytest.mark.timeout(300 + 60 * ROUNDS)


def killed(directory: Path, name: str, environment: dict[str, str]) -> list[tuple[Any, ...]]:
    """Kills the sink and lets it end at last; the identities of all rows."""
    seed = int(os.environ.get("SINK_KILL_SEED", str(random.randrange(1 << 30))))
    print(f"SINK_KILL_SEED={seed}")
    given = {
        **os.environ,
        **environment,
        "FANION_SINKS_INTERVAL_S": "0.05",
        "FANION_SINKS_AGAIN_S_MAX": "0.05",
    }
    root = str(Path(__file__).parents[2])
    given["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tests.crash.sink_worker", str(directory), name, str(ROUNDS), str(seed)]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > ROUNDS
    return sorted(
        (row.machine, row.writer, row.sequence, row.index, row.part)
        for record in JournalReader(directory).read()
        for row in expand_rows(record, MACHINE.hex(), canonical_forms())
    )


def ids_of(lines: list[bytes]) -> set[tuple[Any, ...]]:
    return {tuple(row[name] for name in IDENTITY) for row in map(json.loads, lines)}


@pytest.mark.heavy
@TIMEOUT
def test_objects_have_each_row_exactly_once(tmp_path: Path) -> None:
    with receivers.object_store(tmp_path) as environment:
        wanted = killed(tmp_path / "data", "parquet", environment)
        rows: list[tuple[Any, ...]] = []
        for name, content in receivers.objects(environment).items():
            assert name.startswith(("environment=prod/day=", "environment=test!2F!C3!B6/day="))
            table = pyarrow.read_table(io.BytesIO(content), columns=list(IDENTITY))
            rows += [tuple(row[column] for column in IDENTITY) for row in table.to_pylist()]
    assert sorted(rows) == wanted


@TIMEOUT
@pytest.mark.parametrize("kind", ["mock", pytest.param("broker", marks=pytest.mark.heavy)])
def test_a_topic_has_each_row_once_by_its_key(tmp_path: Path, kind: str) -> None:
    with receivers.mock_brokers() if kind == "mock" else receivers.broker(tmp_path) as environment:
        wanted = killed(tmp_path / "data", "kafka", environment)
        found = receivers.messages(environment, len(wanted))
    assert sorted(ids_of([value for _, value in found])) == wanted
    assert len({key for key, _ in found}) == len(wanted)
    assert all(json.loads(value)["id"] == key.decode() for key, value in found)


@TIMEOUT
def test_a_file_has_each_row_once_by_its_id_and_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    wanted = killed(tmp_path / "data", "file", {"FANION_SINKS_FILE_PATH": str(path)})
    assert sorted(ids_of(path.read_bytes().splitlines())) == wanted


@TIMEOUT
def test_a_command_has_each_row_once_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    script = f"while IFS= read -r line; do printf '%s\\n' \"$line\"; done >> {path}"
    wanted = killed(
        tmp_path / "data",
        "command",
        {"FANION_SINKS_COMMAND": f"sh -c '{script}'".replace("'%s\\n'", '"%s\\n"')},
    )
    assert sorted(ids_of(path.read_bytes().splitlines())) == wanted
