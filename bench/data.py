"""Seeded inputs that the benches share: native definitions of any size, contexts that match and that miss.

Every flag of a world has the shape that the targets speak of: two conditions joined by AND, then a 50 % split.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanion import definitions
from fanion.bundle.compiler import compile_bundle
from fanion.dialects import vocabulary
from fanion.dialects.feather.emit import render
from fanion.engine.evaluator import Bundle, open_environment
from fanion.model.program import Lowered, Table

ENVIRONMENT = "env_bench"
MATCHING: dict[str, Any] = {"country": "DE", "plan": "pro"}
MISSING: dict[str, Any] = {"country": "FR", "plan": "free"}
MEMBERS: dict[str, Any] = {"userId": "user_123"}


def flag_key(number: int) -> str:
    return f"flag-{number}"


def world(flags: int) -> dict[str, Any]:
    """Native definitions of one environment with this many flags."""
    conditions = [
        {"attribute": "country", "operator": "in", "value": ["DE", "AT", "CH"]},
        {"attribute": "plan", "operator": "equals", "value": "pro"},
    ]
    return {
        "fanion": 1,
        "organisations": {
            "org_bench": {
                "name": "Bench",
                "projects": {
                    "bench": {
                        "environments": {"production": {"id": ENVIRONMENT, "dialects": ["feather"]}},
                        "flags": {
                            flag_key(number): {
                                "id": f"flag_{number:06}",
                                "type": "boolean",
                                "client_safe": True,
                                "default_value": False,
                                "rules": [
                                    {
                                        "id": "rule-half",
                                        "name": "Half of them",
                                        "conditions": conditions,
                                        "value": True,
                                        "rollout_percentage": 50,
                                    }
                                ],
                            }
                            for number in range(flags)
                        },
                    }
                },
            }
        },
    }


def write_world(directory: Path, flags: int) -> Path:
    path = directory / f"world-{flags}.json"
    path.write_text(json.dumps(world(flags)))
    return path


def open_world(flags: int, **renderers: Callable[[Lowered], Table]) -> Bundle:
    """The compiled and verified bundle of `world(flags)`; without renderers, Feather's."""
    with tempfile.TemporaryDirectory() as directory:
        loaded = definitions.load([write_world(Path(directory), flags)], vocabulary())
    (lowered,) = loaded.environments
    return open_environment(lowered.environment, compile_bundle(lowered, renderers or {"feather": render}))
