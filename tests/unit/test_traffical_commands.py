"""The commands on a Traffical bundle: changes under one version are told, values are shown with their layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fanion.cli import group
from fanion.definitions import DEMO

ENVIRONMENT = "org_acme/proj_marketplace/production"


def run(*arguments: str | Path) -> tuple[str, str]:
    result = CliRunner().invoke(group, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "bundle.json"
    document = json.loads(DEMO.with_name("demo_traffical.json").read_text())
    file.write_text(json.dumps(document | changes))
    return file


def test_other_content_under_the_same_version_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "version" not in run("publish", write(tmp_path), "--data", data)[1]
    assert "version" not in run("publish", write(tmp_path), "--data", data)[1]
    again = run("publish", write(tmp_path, suggestedRefreshMs=1000), "--data", data)[1]
    assert "other content under the same version, '2026-05-21T10:30:00.000Z'" in again
    assert "version" not in run("publish", write(tmp_path, version="2"), "--data", data)[1]


def test_a_parameter_is_evaluated_with_the_layers_that_override_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("publish", write(tmp_path), "--data", data)
    context = json.dumps({"userId": "user_789"})
    answer, _ = run("eval", "--data", data, ENVIRONMENT, "checkout.button.color", context)
    assert answer.startswith('traffical: "#00AA55"\n  resolution SPLIT by ROLLOUT, outcome 1, bucket 6377\n')
    assert 'traffical: "#FF6600"' in run("eval", "--data", data, ENVIRONMENT, "checkout.button.color")[0]
    program, _ = run("inspect", "--data", data, ENVIRONMENT, "pricing.discount_pct")
    assert "bucket -> 0..4999 3, 5000..9999 4, else 5" in program
    assert "traffical outcome 1: 10" in program
