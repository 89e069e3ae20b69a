"""The documents' commands and programs, run as they are printed, against one server; only addresses are others.

Each block of a shell, of Python, JavaScript or SQL is run here (`HERE`, in this order), or by another test
(`ELSEWHERE`), or can't be (`NOT`, with the reason); one that is in no list, or in two, fails. Definitions are
checked, settings read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion.config.loading import load_config
from fanion.definitions import load
from fanion.definitions.reading.yaml_documents import parse_yaml
from fanion.dialects import vocabulary
from fanion.store.store import Store
from tests.e2e.server import Running, start
from tests.e2e.test_e2e_site import EVERY, Block

ROOT = Path(__file__).parents[2]
RUN = {"sh", "console", "python", "js", "sql"}
Name = tuple[str, str]
"""The page, and words that stand in one block of it alone."""

READMES, SITES = "tests/e2e/test_e2e_readme.py", "tests/e2e/test_e2e_site.py"
ELSEWHERE: dict[Name, str] = {
    ("README.md", "pip install . &&"): ".ci/wheels.py",
    ("index.md", "pip install . &&"): ".ci/wheels.py",
    ("README.md", "/v1/evaluate/bulk"): READMES,
    ("README.md", "/ofrep/v1/evaluate"): READMES,
    ("README.md", "openfeature.contrib.provider.ofrep"): READMES,
    ("README.md", "@openfeature/server-sdk"): READMES,
    ("README.md", "@openfeature/web-sdk"): READMES,
    ("README.md", "/fanion/v1/events"): READMES,
    ("README.md", "fanion results copy"): "tests/unit/test_results.py",
    ("neutral.md", "WITH told AS"): "tests/e2e/test_e2e_neutral.py",
    ("neutral.md", "export const exposures"): "tests/e2e/test_e2e_neutral.py",
    ("index.md", "fanion check flags.yaml"): SITES,
    ("index.md", "KEY=$(fanion keys create"): SITES,
    ("index.md", "curl -s localhost:8080/ofrep"): SITES,
    ("index.md", "fanion rollback"): SITES,
    ("operating.md", "cp -a data backup"): SITES,
    ("operating.md", "mv data broken"): SITES,
    ("machines.md", "fanion journal restore"): "tests/e2e/test_e2e_archive.py",
    ("machines.md", "deploy/local/cluster.py"): "tests/e2e/test_e2e_local.py",
}
NOT: dict[Name, str] = {
    ("README.md", "pytest -n auto"): "is this run",
    ("README.md", "nats://nats-1"): "needs three NATS servers; tests/e2e/test_e2e_machines.py follows one",
    ("machines.md", "fanion pipeline --data ./all"): "needs three NATS servers; "
    "tests/e2e/test_e2e_downstream.py makes rows of one's stream",
    (
        "console.md",
        "pip install 'fanion[console]'",
    ): "asks an index for Fanion; .ci/wheels.py installs a wheel",
    ("optimise.md", "fanion optimise pol_button"): "needs a policy that earned something; "
    "tests/e2e/test_e2e_optimise.py has one",
    ("in-process.md", "events_url="): "goes on from the block before it, to an address of the reader's; "
    "tests/e2e/test_e2e_tracking.py sends the same",
}


class World:
    """A folder in which the first steps were taken, and a server on its data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.key = ""
        folder.joinpath("flags.yaml").write_text(block("README.md", "# flags.yaml", "yaml").text)
        bin_ = folder / "bin"
        bin_.mkdir()
        program = bin_ / "fanion"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fanion "$@"\n')
        program.chmod(0o755)

    def typed(self, text: str, **variables: str) -> str:
        """What a shell prints for it; what it asks is answered with yes."""
        script = f"set -e\n{text.replace('localhost:8080', f'localhost:{self.port}')}"
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            input="y\n",
            env={**os.environ, "PATH": path, "HOME": str(self.folder), "KEY": self.key, **variables},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def program(self, text: str) -> str:
        file = self.folder / "example.py"
        file.write_text(text)
        return self.typed(f"{sys.executable} {file}")

    def ask(self) -> Any:
        return json.loads(
            self.typed(block("README.md", '{"flagKey":"new-checkout"').text.split("\n{")[0][2:])
        )


def block(page: str, words: str, *languages: str) -> Block:
    (found,) = [
        one for one in EVERY if one.page == page and words in one.text and one.language in (languages or RUN)
    ]
    return found


def first_steps(world: World, text: str) -> None:
    *lines, create, serve = text.strip().split("\n")
    assert serve == "fanion serve --data ./data"
    assert "true" in world.typed("\n".join(lines)).lower()
    world.key = world.typed(create).strip().split("\n")[-1]


def asked(world: World, text: str) -> None:
    command, shown = text.strip().removeprefix("$ ").split("\n{")
    answer, printed = json.loads(world.typed(command)), json.loads("{" + shown)
    assert {**answer, "requestId": ""} == {**printed, "requestId": ""}


def conversion(world: World, text: str) -> None:
    assert json.loads(world.typed(text)) == {"accepted": 1, "duplicates": [], "rejected": []}


def columns(world: World, text: str) -> None:
    assert world.program(text).endswith("1 rows\n")


def in_process(world: World, text: str) -> None:
    assert world.program(text).startswith("True ")


def provider(world: World, text: str) -> None:
    assert "rue" in world.program(text)


def overrides(world: World, text: str) -> None:
    set_, listed, clear = text.strip().split("\n")
    world.typed(set_)
    assert world.ask()["value"] is False
    assert "payments time out" in world.typed(listed)
    world.typed(clear)
    assert world.ask()["value"] is True


def preview(world: World, text: str) -> None:
    flags = (world.folder / "flags.yaml").read_text()
    (world.folder / "world.yaml").write_text(flags.replace("[DE]", "[DE, FR]"))
    contexts = [{"targetingKey": f"user-{n}", "country": "FR" if n % 2 else "US"} for n in range(100)]
    (world.folder / "users.ndjson").write_text("\n".join(map(json.dumps, contexts)))
    made_up, given, publish = text.strip().split("\n")
    assert "native:new-checkout" in world.typed(f"{made_up} --units 1000")
    assert "country = FR" in world.typed(given)
    assert "Publish this?" in world.typed(f"{publish.partition('#')[0]} 2>&1")


def refused_preview(world: World, text: str) -> None:
    """What is published already moves nobody; the first step was another text of it."""
    assert "generation" in world.typed(text.replace("'unit-changes>1%'", "'unit-changes>1%' --units 1000"))


def members(world: World, text: str) -> None:
    file = block("native.md", "fanion: 1", "yaml").text
    (world.folder / "shop.yaml").write_text(file)
    world.typed("fanion publish shop.yaml --data ./data")
    assert "include" in world.typed(text)


def brought(world: World, text: str) -> None:
    assert "backend" in world.typed(text, OLD_KEY="a-key-of-before")


def rotated(world: World, text: str) -> None:
    old, *_ = re.findall(r"key_\w+(?=.*backend)", world.typed("fanion keys list --data ./data"))
    make, revoke = text.strip().split("\n")
    world.typed(make)
    world.typed(re.sub(r"key_\w+", old, revoke))
    assert "revoked" in world.typed("fanion keys list --data ./data")


def tokens(world: World, text: str) -> None:
    make, listed, revoke = text.strip().split("\n")
    assert world.typed(make).strip()
    shown = world.typed(listed)
    (token,) = re.findall(r"\b[0-9a-f]{8}\b", shown)
    world.typed(revoke.replace("1f2e3d4c", token))
    assert token not in world.typed(listed) or "revoked" in world.typed(listed)


def rights(world: World, text: str) -> None:
    world.typed(text.replace("chgrp flags", 'chgrp "$(id -g)"'))
    assert (world.folder / "data" / "store" / "data.mdb").stat().st_mode & 0o040


def completion(world: World, text: str) -> None:
    (world.folder / ".config" / "fish" / "completions").mkdir(parents=True)
    world.typed(text)
    assert "complete" in world.typed("source ~/.bashrc && complete -p fanion")
    assert "fanion" in (world.folder / ".config" / "fish" / "completions" / "fanion.fish").read_text()


def machines(world: World, text: str) -> None:
    (world.folder / "flags").mkdir()
    (world.folder / "flags" / "flags.yaml").write_bytes((world.folder / "flags.yaml").read_bytes())
    place = f"file://{world.folder / 'place'}"
    *lines, serve = text.replace("s3://bucket/fanion", place).strip().split("\n")
    key = world.typed("\n".join([*lines, "echo; echo $FANION_PLACES_KEY"])).strip().split("\n")[-1]
    words = serve.partition("#")[0].split()
    assert words[:4] == ["fanion", "serve", "--data", "./data"]
    follower = start(
        world.folder / "log-follower",
        *words[4:],
        "--workers",
        "1",
        data=world.folder / "follower",
        environment={"FANION_PLACES_KEY": key},
    )
    assert follower.stop() == 0


def back(world: World, text: str) -> None:
    with Store.open(world.folder / "data", write=True) as store:
        store.keep_older()
    world.typed(text)
    assert "new-checkout" in world.typed("fanion inspect env_prod --data ./data")


HERE: list[tuple[Name, Callable[[World, str], None]]] = [
    (("README.md", "fanion keys create env_prod --kind server --data ./data  #"), first_steps),
    (("README.md", '{"flagKey":"new-checkout"'), asked),
    (("README.md", 'FanionProvider("./data", "env_prod")'), provider),
    (("in-process.md", "Evaluator.open("), in_process),
    (("in-process.md", "get_boolean_details"), provider),
    (("in-process.md", "chgrp flags"), rights),
    (("neutral.md", "sha256sum"), conversion),
    (("rows.md", "expander.take()"), columns),
    (("overrides.md", "fanion override set"), overrides),
    (("console.md", "fanion console token "), tokens),
    (("preview.md", "--preview       # the same"), preview),
    (("preview.md", "--fail-on"), refused_preview),
    (("native.md", "fanion lists add"), members),
    (("native.md", "--raw -"), brought),
    (("native.md", "fanion keys revoke"), rotated),
    (("index.md", "fanion completion fish"), completion),
    (("machines.md", "fanion cluster key"), machines),
    (("operating.md", "store/older.mdb"), back),
]


def test_every_block_is_run_somewhere_or_said_why_it_is_not() -> None:
    lists = [*(name for name, _ in HERE), *ELSEWHERE, *NOT]
    wrong = []
    for one in EVERY:
        if one.language in RUN:
            named = [name for name in lists if name[0] == one.page and name[1] in one.text]
            if len(named) != 1:
                wrong.append(f"{one.page}: {one.text.splitlines()[0]!r} is in {len(named)} lists")
    assert wrong == []
    for name in lists:
        block(*name)
    for file in ELSEWHERE.values():
        assert (ROOT / file).exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("snippets"))


@pytest.mark.heavy
def test_what_the_documents_say_to_type_is_typed_against_one_server(world: World) -> None:
    for library in ("openfeature", "obstore", "jinja2"):
        pytest.importorskip(library)
    (name, steps), *others, (last, ends) = HERE
    steps(world, block(*name).text)
    server: Running = start(world.folder / "log", "--workers", "1", data=world.folder / "data")
    world.port = server.port
    try:
        for name, run in others:
            run(world, block(*name).text)
    finally:
        assert server.stop() == 0
    ends(world, block(*last).text)


@pytest.mark.parametrize(
    "one", [one for one in EVERY if one.language == "toml"], ids=lambda one: f"{one.page}-{one.text[:12]}"
)
def test_settings_are_ones_that_there_are(one: Block, tmp_path: Path) -> None:
    file = tmp_path / "fanion.toml"
    file.write_text(one.text)
    assert load_config(vocabulary(), file=file)


def project_with(part: dict[str, Any]) -> dict[str, Any]:
    """A project in which the parts that pages show are right."""
    variants = [{"key": "control", "value": "a"}, {"key": "treatment", "value": "b"}]
    rule = {"id": "r", "value": "b", "rollout_percentage": 50}
    found: dict[str, Any] = {
        "environments": {"production": {"id": "env_prod"}},
        "events": {name: {"type": "count"} for name in ("purchase", "client-error")},
        "flags": {
            "checkout-copy": {"type": "string", "default_value": "a", "variants": variants, "rules": [rule]}
        },
    }
    if "sources" in part:
        found["environments"]["production"] |= part
    elif "environments" in part:
        found["environments"]["production"] |= part["environments"]["production"]
    else:
        found |= part
    return found


FILES = {"README.md": "sources:", "sources.md": "sources:"}
"""Blocks that name files of whoever reads them."""


@pytest.mark.parametrize(
    "one",
    [one for one in EVERY if one.language == "yaml" and FILES.get(one.page, "\0") not in one.text],
    ids=lambda one: f"{one.page}-{one.text[:12].strip()}",
)
def test_definitions_are_right(one: Block, tmp_path: Path) -> None:
    written = parse_yaml(one.text)
    if "fanion" not in written:
        project = project_with(written)
        written = {"fanion": 1, "organisations": {"o": {"projects": {"p": project}}}}
    (tmp_path / "flags.flagd.json").write_text('{"flags": {}}')
    (tmp_path / "flags.json").write_text(json.dumps(written))
    assert load([tmp_path / "flags.json"], vocabulary()).environments
