"""A new system is one folder a side and one line in one list.

`toy/` is laid into a copy of the source, and that copy publishes, serves, takes an event and shows it. It is also
what a new source or dialect is written after.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.server import Running, run, start

SOURCE = Path(__file__).parents[2] / "src"
TOY = Path(__file__).with_name("toy")
SIDES = {"dialect": "fanion/dialects", "source": "fanion/definitions/sources"}
"""Folder of the toy -> the room whose list names it."""
LIST = "NAMES: Final = (\n"
WORLD = {
    "organisations": {
        "org": {
            "projects": {
                "shop": {
                    "environments": {
                        "live": {
                            "id": "env_live",
                            "dialects": ["toy"],
                            "sources": [{"format": "toy", "path": "flags/toy.json"}],
                            "keys": [
                                {"key": "toy_sk_secret", "dialects": ["toy"], "scopes": ["ask", "tell"]}
                            ],
                        }
                    },
                    "flags": {"native": {"type": "boolean", "default_value": True}},
                }
            }
        }
    }
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables under which `fanion` is the copy with the toy in it."""
    copy = tmp_path / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder, room in SIDES.items():
        shutil.copytree(TOY / folder, copy / room / "toy", ignore=shutil.ignore_patterns("__pycache__"))
        names = copy / room / "__init__.py"
        text = names.read_text()
        assert text.count(LIST) == 1
        names.write_text(text.replace(LIST, f'{LIST}    "toy",\n'))
    return {"PYTHONPATH": str(copy)}


def fanion(environment: dict[str, str], *arguments: str) -> str:
    done = run(arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(server: Running, path: str, flag: str, key: str) -> tuple[int, object]:
    sent = {"flag": flag, "who": "user_1"}
    answer = server.ask("POST", path, sent, key=None, headers={"x-toy": key})
    return answer.status, answer.json()


def test_a_new_system_is_one_folder_and_one_line_a_side(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / "toy.json").write_text('{"colour": "red", "size": 3}')
    (tmp_path / "world.json").write_text(json.dumps(WORLD))
    data = tmp_path / "data"
    assert "[toy]\ngreeting" in fanion(environment, "serve", "--settings")
    fanion(environment, "publish", str(tmp_path / "world.json"), "--data", str(data))
    created = fanion(
        environment, "keys", "create", "env_live", "--data", str(data), "--dialect", "toy"
    ).strip()
    assert created.startswith("toy_sk_")
    assert 'toy: {"value":"red"}' in fanion(environment, "eval", "env_live", "colour", "--data", str(data))
    more = {**environment, "FANION_TOY_GREETING": "ahoy"}
    server = start(tmp_path / "log", "--workers", "1", "--ack", "buffered", data=data, environment=more)
    try:
        for key in ("toy_sk_secret", created):
            assert ask(server, "/v1/ask", "colour", key) == (200, {"value": "red", "greeting": "ahoy"})
        assert ask(server, "/toy/v1/ask", "native", created) == (200, {"value": True, "greeting": "ahoy"})
        assert ask(server, "/v1/ask", "colour", "toy_sk_wrong")[0] == 401
        assert ask(server, "/v1/tell", "colour", "toy_sk_secret") == (202, {})
        told = server.operations("/openapi/toy.json").json()
        assert list(told["paths"]) == ["/v1/ask", "/v1/tell"]
    finally:
        assert server.stop() == 0
    (line,) = fanion(environment, "journal", "cat", "--data", str(data), "--dialect", "toy").splitlines()
    event = json.loads(line)
    event = event.get("event", event)
    shown = {name: event[name] for name in ("kind", "environment", "unit", "flag_key", "dialect", "source")}
    assert shown == {
        "kind": "evaluation",
        "environment": "env_live",
        "unit": "user_1",
        "flag_key": "colour",
        "dialect": "toy",
        "source": {"flag": "colour", "who": "user_1"},
    }
