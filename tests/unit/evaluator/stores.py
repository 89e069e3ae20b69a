"""Stores to evaluate from in process: small ones, and the world of all formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fanion import app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from tests.unit.ofrep_world import FOLDER

WORLD = FOLDER / "world.yaml"
USER = {"targetingKey": "user-1"}


def publish(data: Path, definitions: Path | str) -> int:
    path = definitions
    if isinstance(definitions, str):
        path = data.with_name("small.json")
        Path(path).write_text(definitions)
    return app.publish(data, load([Path(path)], vocabulary()), Config())


def small(value: str, environment: str = "env", **more: Any) -> str:
    """Definitions of one environment with one flag."""
    project = {
        "environments": {"p": {"id": environment, **more}},
        "flags": {"a": {"type": "string", "default_value": value}},
    }
    organisation = {"projects": {"p": project}}
    return json.dumps({"fanion": 1, "organisations": {f"org_{environment}": organisation}})
