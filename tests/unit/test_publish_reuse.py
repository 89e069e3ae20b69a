"""What didn't change isn't compiled again, and nobody can tell: every bundle has the bytes of a full publication,
after any edits, overrides, rollbacks and damages."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from fanion import app
from fanion.app import publishing, reuse
from fanion.app.compiling import compile_environment, renderers, spend_environment
from fanion.cli import group
from fanion.config import Config
from fanion.definitions import DEMO, Loaded, load
from fanion.dialects import NAMES, vocabulary
from fanion.model.program import Lowered
from fanion.store import layout
from fanion.store.replacement import replace_bundles
from fanion.store.store import Store

ENVIRONMENTS = ("one", "two", "three")
ROUNDS = int(os.environ.get("FANION_REUSE_ROUNDS", "8"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The environments that publications compile, as they do."""
    names: list[str] = []

    def noted(given: list[Lowered], *rest: Any) -> bytes:
        names.append(given[-1].environment)
        return spend_environment(given, *rest)

    monkeypatch.setattr(publishing, "spend_environment", noted)
    monkeypatch.setattr(Store, "keep_copy", lambda store: None)  # a process of its own each time
    return names


def world() -> dict[str, Any]:
    conditions = [{"segment": "staff"}, {"attribute": "plan", "operator": "in", "value": ["pro", "team"]}]
    flags = {
        f"flag-{number}": {
            "type": "boolean",
            "default_value": False,
            "rules": [{"id": "r", "value": True, "conditions": conditions, "rollout_percentage": number}],
        }
        for number in range(6)
    }
    flags["asks"] = {
        "type": "string",
        "default_value": "no",
        "rules": [{"id": "r", "value": "yes", "conditions": [{"flag": "flag-1", "is": True}]}],
    }
    segments = {
        "staff": {"conditions": [{"attribute": "email", "operator": "ends_with", "value": "@shop.example"}]},
        "known": {"list": {"include": ["u1", "u2"]}},
    }
    environments = {name: {"id": name} for name in ENVIRONMENTS}
    return {"environments": environments, "segments": segments, "flags": flags}


def edit(draw: random.Random, project: dict[str, Any]) -> None:
    """One change, of one environment or of all; or none."""
    flags, name = project["flags"], draw.choice(ENVIRONMENTS)
    key = draw.choice([key for key in flags if key.startswith("flag-")])
    match draw.randrange(10):
        case 0:
            flags[key].setdefault("environments", {})[name] = {"enabled": draw.random() < 0.5}
        case 1:
            flags[key].setdefault("environments", {})[name] = {
                "rules": draw.choice([[], flags[key]["rules"]])
            }
        case 2:
            flags[key]["rules"][0]["rollout_percentage"] = draw.randrange(101)
        case 3:
            flags[f"flag-{draw.randrange(6, 99)}"] = copy.deepcopy(flags[key])
        case 4 if key != "flag-1":
            flags[f"flag-{draw.randrange(100, 199)}"] = flags.pop(key)
        case 5:
            project["segments"]["staff"]["conditions"][0]["value"] = f"@{draw.randrange(9)}.example"
        case 6:
            project["environments"][name]["dialects"] = draw.sample(NAMES, draw.randrange(1, len(NAMES) + 1))
        case 7:
            project["environments"][name]["exposures"] = {"record": draw.choice(["off", "splits"])}
        case 8:
            flags[key]["description"] = f"Of no consequence {draw.randrange(3)}"
        case _:
            project["environments"] = dict(draw.sample(sorted(project["environments"].items()), 3))


def written(folder: Path, project: dict[str, Any]) -> list[Path]:
    path = folder / "world.json"
    path.write_text(json.dumps({"fanion": 1, "organisations": {"o": {"projects": {"p": project}}}}))
    return [path, DEMO]


def loaded_for(data: Path, paths: list[Path]) -> Loaded:
    laid = app.standing(data, Config())
    return load(paths, vocabulary(), overrides=laid.overrides, weights=laid.weights)


def bundles(data: Path) -> dict[str, bytes]:
    with Store.open(data) as store, store.pin() as pinned:
        return {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}


def run(data: Path, *arguments: str) -> None:
    result = CliRunner().invoke(group, [*arguments, "--data", str(data)])
    assert result.exit_code == 0, result.output + str(result.exception)


@pytest.mark.parametrize("seed", range(2))
def test_after_any_edits_the_bytes_are_those_of_a_full_publication(
    seed: int, tmp_path: Path, compiled: list[str]
) -> None:
    draw = random.Random(seed)
    project, data = world(), tmp_path / "data"
    left = 0
    for at in range(ROUNDS):
        loaded = loaded_for(data, written(tmp_path, project))
        compiled.clear()
        app.publish(data, loaded, Config())
        left += len(loaded.environments) - len(compiled)
        expected = {one.environment: compile_environment(one, renderers()) for one in loaded.environments}
        assert bundles(data) == expected, (seed, at)
        match draw.randrange(5):
            case 0:
                run(
                    data,
                    "override",
                    "set",
                    draw.choice(ENVIRONMENTS),
                    "flag-1",
                    draw.choice(["true", "false"]),
                )
            case 1 if at:
                run(data, "rollback")
            case _:
                edit(draw, project)
    assert left > ROUNDS


def test_only_the_environment_that_changed_is_compiled(tmp_path: Path, compiled: list[str]) -> None:
    project, data = world(), tmp_path / "data"
    everything = loaded_for(data, written(tmp_path, project))
    app.publish(data, everything, Config())
    assert sorted(compiled) == sorted(one.environment for one in everything.environments)
    compiled.clear()
    app.publish(data, everything, Config())
    assert compiled == []
    project["flags"]["flag-2"]["environments"] = {"two": {"enabled": False}}
    app.publish(data, loaded_for(data, written(tmp_path, project)), Config())
    assert compiled == ["two"]


def test_a_full_publication_compiles_everything_to_the_same_bytes(
    tmp_path: Path, compiled: list[str]
) -> None:
    data = tmp_path / "data"
    paths = [str(path) for path in written(tmp_path, world())]
    run(data, "publish", *paths)
    before, count = bundles(data), len(compiled)
    run(data, "publish", *paths)
    assert len(compiled) == count
    run(data, "publish", *paths, "--full")
    assert len(compiled) == 2 * count
    assert bundles(data) == before


def test_another_state_of_fanion_s_own_files_compiles_anew(
    tmp_path: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    loaded = loaded_for(data, written(tmp_path, world()))
    app.publish(data, loaded, Config())
    compiled.clear()
    copied = tmp_path / "package"
    shutil.copytree(reuse.PACKAGE / "bundle", copied / "bundle")
    states = []
    for change in (b"# a line", b"# another"[:8]):  # as long, and as old
        (copied / "bundle/nodes.py").write_bytes(change)
        os.utime(copied / "bundle/nodes.py", (1, 1))
        monkeypatch.setattr(reuse, "PACKAGE", copied)
        reuse.own_files.cache_clear()
        states.append(reuse.own_files())
    assert states[0] != states[1]
    app.publish(data, loaded, Config())
    assert len(compiled) == len(loaded.environments)
    monkeypatch.undo()
    reuse.own_files.cache_clear()


def test_a_bundle_that_was_put_in_the_place_of_a_published_one_is_not_taken_for_it(
    tmp_path: Path, compiled: list[str]
) -> None:
    data = tmp_path / "data"
    loaded = loaded_for(data, written(tmp_path, world()))
    app.publish(data, loaded, Config())
    expected = bundles(data)
    with Store.open(data, write=True) as store, store.transactions.publishing():
        pinned = store.pin()
        publication = pinned.manifest.environments["one"].publication
        pinned.release()
        number = replace_bundles(store.transactions, publication, {"one": expected["two"]})
        store.word.raise_to(number)
    compiled.clear()
    app.publish(data, loaded, Config())
    assert compiled == ["one"]
    assert bundles(data) == expected


def test_a_bundle_whose_bytes_changed_on_disk_is_compiled_again(tmp_path: Path, compiled: list[str]) -> None:
    data = tmp_path / "data"
    loaded = loaded_for(data, written(tmp_path, world()))
    app.publish(data, loaded, Config())
    expected = bundles(data)
    with Store.open(data, write=True) as store, store.transactions.writing() as transaction:
        held = store.transactions
        current = held.current(transaction)
        entry = current.environments["one"]
        changed = {**current.environments, "one": msgspec.structs.replace(entry, digest=entry.digest ^ 1)}
        manifest = msgspec.structs.replace(current, environments=changed)
        sealed = layout.seal(b"current", msgspec.json.encode(manifest))
        held.put(transaction, "meta", b"current", sealed)
    compiled.clear()
    app.publish(data, loaded, Config())
    assert compiled == ["one"]
    assert bundles(data) == expected


@pytest.mark.parametrize("left", [None, b"short"])
def test_publishing_puts_right_a_bundle_that_the_store_lost(
    tmp_path: Path, compiled: list[str], left: bytes | None
) -> None:
    data = tmp_path / "data"
    loaded = loaded_for(data, written(tmp_path, world()))
    app.publish(data, loaded, Config())
    expected = bundles(data)
    with Store.open(data, write=True) as store, store.transactions.writing() as transaction:
        held = store.transactions
        key = layout.content_key("one", held.current(transaction).environments["one"].publication)
        if left is None:
            assert transaction.delete(key, db=held.databases["bundles"])
        else:
            held.put(transaction, "bundles", key, left)
    compiled.clear()
    app.publish(data, loaded, Config())
    assert compiled == ["one"]
    assert bundles(data) == expected
