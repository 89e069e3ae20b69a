"""`fanion publish` of a few changed flags: said and served as a publication of the whole; and when it is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fanion import app
from fanion.cli import group
from fanion.config import Config
from fanion.store.store import Store
from tests.unit.native_files import flag, rule

KEY = {"key": f"sha256:{'ab' * 32}", "kind": "server"}


def world(count: int = 200, **members: Any) -> dict[str, Any]:
    flags = {
        f"f-{number}": flag(
            id=f"flag_{number}", rules=[rule(conditions=[{"segment": "staff"}], rollout_percentage=10)]
        )
        for number in range(count)
    }
    project = {
        "environments": {"e": {"id": "env", "keys": [KEY]}, "s": {"id": "staging"}},
        "segments": {"staff": {"conditions": [{"attribute": "plan", "operator": "equals", "value": "pro"}]}},
        "flags": flags,
        **members,
    }
    return {"organisations": {"o": {"projects": {"p": project}}}}


def flags_of(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = given["organisations"]["o"]["projects"]["p"]["flags"]
    return found


class Published:
    """A directory of definitions, and the data directory that they are published to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "definitions"
        self.folder.mkdir()
        self.data = folder / "data"
        self.world = world()

    def write(self) -> None:
        (self.folder / "flags.json").write_text(json.dumps(self.world))

    def publish(self, *options: str) -> Result:
        self.write()
        given = ["publish", str(self.folder), "--data", str(self.data), *options]
        result = CliRunner().invoke(group, given)
        assert result.exit_code == 0, result.output + str(result.exception)
        return result

    def is_amended(self) -> bool:
        self.write()
        return app.amended(self.data, [self.folder], Config()) is not None

    def served(self) -> dict[str, bytes]:
        with Store.open(self.data) as store, store.pin() as pinned:
            return {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}


@pytest.fixture
def published(tmp_path: Path) -> Published:
    made = Published(tmp_path)
    made.publish()
    return made


def test_one_flag_is_published_to_the_bytes_and_the_words_of_all(published: Published) -> None:
    for number, change in enumerate(
        ({"enabled": False}, {"default_value": True}, {"rules": []}, {"enabled": True})
    ):
        flags_of(published.world)["f-77"] |= change
        assert published.is_amended()
        told = published.publish()
        amended = published.served()
        whole = published.publish("--full")
        assert amended == published.served()
        assert told.output.replace(f"generation {2 * number + 2}", "generation") == whole.output.replace(
            f"generation {2 * number + 3}", "generation"
        )
        assert " 200 " in told.output


def test_nothing_changed_is_published_as_it_is(published: Published) -> None:
    before = published.served()
    assert published.is_amended()
    published.publish()
    assert published.served() == before


def test_what_is_amended_can_be_amended_again(published: Published) -> None:
    for number in (1, 100, 199):
        flags_of(published.world)[f"f-{number}"]["enabled"] = False
        assert published.is_amended()
        published.publish()
    amended = published.served()
    published.publish("--full")
    assert amended == published.served()


def test_flags_far_apart_are_compiled_with_all(published: Published) -> None:
    for number in (0, 199):
        flags_of(published.world)[f"f-{number}"]["default_value"] = True
    assert published.is_amended()  # two hundred are not too many
    flags_of(published.world).update(flags_of(world(300)))
    published.publish()
    for number in (0, 299):
        flags_of(published.world)[f"f-{number}"]["default_value"] = True
    assert not published.is_amended()


def renamed(published: Published) -> None:
    flags = flags_of(published.world)
    flags["other"] = flags.pop("f-199")


def asked_for(published: Published) -> None:
    condition = {"flag": "f-1", "is": True}
    flags_of(published.world)["f-2"]["rules"].append(rule(id="asks", conditions=[condition]))


def warned_of(published: Published) -> None:
    project = published.world["organisations"]["o"]["projects"]["p"]
    project["environments"]["e"]["keys"] = [{"key": "sk_raw_key_of_somebody", "kind": "server"}]


def wrong(published: Published) -> None:
    flags_of(published.world)["f-2"]["default_value"] = "text"


def of_another_slot(published: Published) -> None:
    condition = {"attribute": "seen by none", "operator": "is_set"}
    flags_of(published.world)["f-2"]["rules"].append(rule(id="new", conditions=[condition]))


def beside_another_file(published: Published) -> None:
    (published.folder / "more.json").write_text(json.dumps({"organisations": {}}))


@pytest.mark.parametrize(
    "change", [renamed, asked_for, warned_of, wrong, of_another_slot, beside_another_file]
)
def test_what_may_be_said_of_all_is_asked_of_all(published: Published, change: Any) -> None:
    change(published)
    assert not published.is_amended()


def test_what_left_a_warning_is_compiled_with_all(published: Published) -> None:
    warned_of(published)
    published.publish("--yes")
    flags_of(published.world)["f-2"]["enabled"] = False
    assert not published.is_amended()


def test_an_override_is_laid_over_all(published: Published) -> None:
    result = CliRunner().invoke(
        group, ["override", "set", "env", "f-3", "true", "--data", str(published.data)]
    )
    assert result.exit_code == 0, result.output
    flags_of(published.world)["f-2"]["enabled"] = False
    assert not published.is_amended()


def test_an_environment_that_went_is_no_ground_to_amend(published: Published) -> None:
    result = CliRunner().invoke(group, ["publish", "--remove", "staging", "--data", str(published.data)])
    assert result.exit_code == 0, result.output
    flags_of(published.world)["f-2"]["enabled"] = False
    assert not published.is_amended()


def test_another_state_of_fanion_compiles_all(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanion.app.amending.own_files", lambda: b"others")
    assert not published.is_amended()


def test_without_a_store_all_is_compiled(tmp_path: Path) -> None:
    assert not Published(tmp_path).is_amended()
