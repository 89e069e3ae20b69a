"""Every command opens the store with as much address space as the settings say, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmdb
import pytest
from click.testing import CliRunner

from fanion.cli import group
from fanion.definitions import DEMO

MAP_BYTES = 48 << 20
COMMANDS = [
    ["publish", str(DEMO), "--data", "DATA"],
    ["check", str(DEMO)],
    ["diff", str(DEMO), "--against", "DATA", "--units", "10"],
    ["inspect", "--data", "DATA"],
    ["eval", "env_01hx", "new-checkout", "{}", "--data", "DATA"],
    ["keys", "create", "env_01hx", "--data", "DATA"],
    ["keys", "list", "--data", "DATA"],
    ["keys", "rotate-signing", "--data", "DATA"],
    ["lists", "show", "--data", "DATA"],
    ["override", "set", "env_01hx", "new-checkout", "false", "--data", "DATA"],
    ["override", "list", "--data", "DATA"],
    ["override", "clear", "env_01hx", "new-checkout", "--data", "DATA"],
    ["forget", "user-4711", "--dry-run", "--data", "DATA"],
    ["forget", "user-4711", "--data", "DATA"],
    ["optimise", "nothing", "--reward", "purchase", "--data", "DATA"],
    ["results", "--data", "DATA"],
    ["rollback", "--data", "DATA"],
    ["doctor", "--data", "DATA"],
]


def test_every_command_maps_the_store_as_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANION_STORE_MAP_BYTES", str(MAP_BYTES))
    opened: list[int] = []
    given = lmdb.open

    def noting(*arguments: Any, **options: Any) -> Any:
        if "map_size" in options:
            opened.append(options["map_size"])
        return given(*arguments, **options)

    monkeypatch.setattr(lmdb, "open", noting)
    for command in COMMANDS:
        opened.clear()
        result = CliRunner().invoke(group, [word.replace("DATA", str(tmp_path / "data")) for word in command])
        assert set(opened) <= {MAP_BYTES}, command
        assert opened or command[0] == "check", (command, result.output, result.exception)
