"""The same definitions compile to the same bytes in every process: entity tags and event streams go by them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
WORLDS = [GOLDEN / "ofrep" / "world.yaml", GOLDEN.with_name("e2e") / "world.yaml"]

SCRIPT = """
import hashlib, sys
from pathlib import Path
from fanion import app
from fanion.bundle.compiler import compile_bundle
from fanion.definitions import load
from fanion.dialects import vocabulary

for lowered in load([Path(name) for name in sys.argv[1:]], vocabulary()).environments:
    tables = {name: one for name, one in app.renderers().items() if name in lowered.identifiers}
    print(lowered.environment, hashlib.sha256(compile_bundle(lowered, tables)).hexdigest())
"""


def test_a_bundle_is_the_same_bytes_whatever_the_seed_of_the_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, WORLDS)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert next(iter(said)).count("\n") >= len(WORLDS)
