"""What a command loads before it is done with what it is waited for: modules, counted by name and not by time.

A command that switches a flag off, or revokes a key, is waited for in an incident, and an import that one function
needs costs every command that loads its module."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

SERVER = ("asyncio", "granian", "ssl", "fanion.http", "fanion.process", "fanion.journal")
"""What serves requests."""
HEAVY = (
    "duckdb",
    "importlib.metadata",
    "numpy",
    "pyarrow",
    "re2",
    "rich",
    "scipy",
    "subprocess",
    "tomllib",
    "yaml",
)

RUN = """
import json, sys
from fanion.store.store import Store

def told(change):
    def stood(*args, **options):
        done = change(*args, **options)
        print(json.dumps(sorted(sys.modules)), flush=True)
        return done
    return stood

Store.publish, Store.revoke_key = told(Store.publish), told(Store.revoke_key)
from fanion.cli import main
main()
"""


def world(*, enabled: bool) -> str:
    flag = {"id": "one", "type": "boolean", "default_value": False, "enabled": enabled, "rules": []}
    environment = {"id": "env", "keys": [{"key": f"sha256:{'ab' * 32}", "kind": "server"}]}
    project = {"environments": {"live": environment}, "flags": {"one": flag}}
    return json.dumps({"fanion": 1, "organisations": {"org": {"projects": {"shop": project}}}})


def loaded(*arguments: object) -> list[str]:
    """Modules at the moment at which what the command changed is served."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[0])
    return found


def of(modules: Sequence[str], rooms: Sequence[str]) -> set[str]:
    return {module for module in modules for room in rooms if f"{module}.".startswith(f"{room}.")}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `world.json`, published into `data`."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "world.json").write_text(world(enabled=True))
    loaded("publish", folder / "world.json", "--data", folder / "data")
    return folder


def test_a_publication_of_one_changed_flag_loads_what_it_needs(published: Path) -> None:
    (published / "world.json").write_text(world(enabled=False))
    modules = loaded("publish", published / "world.json", "--data", published / "data")
    assert "fanion.bundle.amending" in modules  # it was amended
    assert not of(modules, [*SERVER, *HEAVY])
    assert not [name for name in modules if name.startswith("fanion.dialects.") and name.endswith(".routes")]
    assert not of(modules, ["fanion.places", "fanion.app.serving", "fanion.app.machines", "fanion.preview"])


def test_a_revocation_loads_no_definitions_and_no_api(published: Path) -> None:
    modules = loaded("keys", "revoke", f"key_{'ab' * 8}", "--data", published / "data")
    assert not of(modules, [*SERVER, *HEAVY])
    assert not of(modules, ["fanion.definitions.loading", "fanion.definitions.sources", "fanion.places"])
    assert of(modules, ["fanion.app"]) == {"fanion.app", "fanion.app.changing"}


def test_the_list_of_commands_loads_neither_the_store_nor_a_library_of_it() -> None:
    names = "('click', 'fanion')"
    code = f"import sys; from fanion.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules, {names})"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "fanion.cli" in modules
    assert not of(
        modules, [*SERVER, *HEAVY, "lmdb", "msgspec", "fanion.store", "fanion.config", "fanion.app"]
    )
