"""Warnings of a publication as they are printed, and completion: what a shell asks of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.cli import group


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Feather's, with ten operators that nobody knows and one key that nobody finds."""
    rule = {"id": "r", "enabled": True, "value": True}
    flags = {
        f"flag-{number}": {
            "enabled": True,
            "defaultValue": False,
            "rules": [{**rule, "conditions": [{"attribute": "a", "operator": f"op{number}", "value": "x"}]}],
        }
        for number in range(10)
    }
    flags["Never Found"] = {"enabled": True, "defaultValue": False, "rules": []}
    (tmp_path / "bundle.json").write_text(json.dumps(flags))
    return tmp_path / "bundle.json"


def warnings(bundle: Path, *options: str) -> list[str]:
    result = CliRunner().invoke(group, ["check", str(bundle), "--environment", "env", *options])
    assert result.exit_code == 0, result.output
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


def test_three_of_a_kind_are_shown_and_the_rest_is_counted(bundle: Path) -> None:
    shown = warnings(bundle)
    kind = "unknown, so the condition is false"
    assert sum(line.endswith(f"; {kind}") for line in shown) == 3
    assert f"warning: 7 more like it: {kind} (--verbose shows all)" in shown
    assert any("Never Found" in line for line in shown)
    assert sum(line.endswith(f"; {kind}") for line in warnings(bundle, "--verbose")) == 10
