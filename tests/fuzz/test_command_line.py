"""Any command line: done or refused in words, never a traceback and never a fault of our own."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

import click
import pytest

from fanion import app
from fanion.cli import VERBS, group, main
from fanion.config import Config
from fanion.config.loading import settings
from fanion.definitions import DEMO, load
from fanion.dialects import vocabulary
from tests.rounds import rounds

LINES = rounds(100, 400, "COMMAND_LINES")
SEED = int(os.environ.get("COMMAND_LINE_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

SUBVERBS = {
    "keys": ["create", "list", "revoke", "rotate-signing"],
    "lists": ["show", "add", "remove", "replace"],
    "override": ["set", "clear", "list"],
    "journal": ["cat", "tail", "verify", "stats", "trust-clock"],
    "sinks": ["status", "run"],
    "console": ["token", "tokens", "revoke"],
}
OPTIONS = [
    *(
        "--data",
        "--remove",
        "--yes",
        "--environment",
        "--dialect",
        "--scope",
        "--kind",
        "--expires",
        "--name",
    ),
    *(
        "--type",
        "--exclude",
        "--limit",
        "--file",
        "--since",
        "--once",
        "--json",
        "--port",
        "--host",
        "--workers",
    ),
    *(
        "--for",
        "--why",
        "--by",
        "--source",
        "--log",
        "--format",
        "--against",
        "--contexts",
        "--recent",
        "--fail-on",
    ),
    *("--ack", "--demo", "--config", "--settings", "--help", "--raw"),
]
TEXTS = [
    "env_01hx",
    "new-checkout",
    "beta-users",
    "feather",
    "server",
    "{}",
    '{"userId": "u", "country": "DE"}',
    "[" * 100_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    '{"attributes": {"a": 1e999}}',
    '{"contexts": [{"type": "user", "key": "k", "attributes": {"a": [[]]}}]}',
    '{"a": "\\ud83d"}',
    '{"a": 1' + "0" * 5_000 + "}",
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "99999999999999999999",
    "1e308",
    "nan",
    "30d",
    "999999d",
    "99999999999999999999999d",
    "9999-12-31T23:59:59-05:00",
    "0001-01-01T00:00:00+05:00",
    "0001-01-01",
    "2026-13-01",
    "é",
    "🦊" * 200,
    "\u202ex",
    "\udcff",
    "a\nb",
    "[bold]x[/bold]",
    "[/]",
    "x" * 100_000,
    "a" * 600,
    "/dev/null",
    "/proc/self/mem",
    "key_0123456789abcdef",
]
CONTENTS = [
    b"",
    b"\xff\xfe",
    b"fanion: 1\n",
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b"a: &a [*a]\n",
    b"- " * 5_000,
    b"{? [a] : b}",
    b"\x1f\x8bnot gzip",
    b'organisations: {o: {projects: {p: {environments: {production: {id: "\\uD800"}}}}}}\n',
    b"organisations: {o: {projects: {p: {environments: {production: {id: " + b"x" * 500 + b"}}}}}}\n",
    b"organisations: 5\n",
    b"redpennon: 1\n",
    b'{"flags": [{"key": 1, "variants": {}}]}',
    b'{"hashing": 1, "parameters": 1, "layers": 1}',
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    app.publish(folder / "data", load([DEMO], vocabulary()), Config())
    for number, content in enumerate(CONTENTS):
        for suffix in ("yaml", "json"):
            (folder / f"{number}.{suffix}").write_bytes(content)
    (folder / "fanion.toml").write_bytes(b"[server]\nport = 1\n\xff")
    (folder / "deep.toml").write_text("a = " + "[" * 5_000)
    (folder / "long.toml").write_text("[server]\nport = " + "9" * 5_000)
    (folder / "dangling.yaml").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.yaml")
    return folder


def own_option(words: list[str], drawn: random.Random) -> list[str]:
    """One of the options that the command of these words has, mostly with something behind it."""
    found: click.Command | None = group
    for word in words:
        if isinstance(found, click.Group):
            found = found.get_command(click.Context(found), word)
    options = [one for one in (found.params if found is not None else ()) if isinstance(one, click.Option)]
    if not options:
        return []
    option = drawn.choice(options)
    name = drawn.choice([*option.opts, *option.secondary_opts])
    if option.is_flag or drawn.random() < 0.05:
        return [name]
    choices = list(option.type.choices) if isinstance(option.type, click.Choice) else []
    return [name, drawn.choice([*TEXTS, *choices * 10, "0", "1", "50", "0.5", "2h", "1d"])]


def line(made: Path, data: Path, drawn: random.Random) -> list[str]:
    """A verb with options and texts, mostly ones that belong to it."""
    verb = drawn.choice(list(VERBS))
    words = [verb] if drawn.random() < 0.97 else []
    if verb in SUBVERBS and drawn.random() < 0.97:
        words.append(drawn.choice(SUBVERBS[verb]))
    if drawn.random() < 0.9:
        words += ["--data", str(data if drawn.random() < 0.9 else drawn.choice(list(made.iterdir())))]
    if verb == "diff":
        words += ["--units", "50"]
    if "tail" in words:
        words.append("--once")
    named = words[: 2 if verb in SUBVERBS else 1]
    for _ in range(drawn.randrange(5)):
        if drawn.random() < 0.4:
            words += own_option(named, drawn)
            continue
        words.append(drawn.choice(OPTIONS) if drawn.random() < 0.4 else drawn.choice(TEXTS))
        if drawn.random() < 0.2:
            words.append(str(drawn.choice(list(made.iterdir()))))
    return words


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["fanion", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    status = ended.value.code
    return 0 if status is None else int(status)


@pytest.fixture(autouse=True)
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is served, and standard output stays the test's."""
    monkeypatch.setattr(app, "serve", lambda *_, **__: None)
    monkeypatch.setattr(app, "serve_demo", lambda *_: None)
    monkeypatch.setattr("fanion.cli.drop_output", lambda: None)
    monkeypatch.setattr("fanion.pipeline.pace.give_way", lambda: None)


def test_no_command_line_ends_in_a_traceback_or_in_a_fault_of_ours(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn = random.Random(SEED)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    shutil.copytree(made / "data", data)
    for number in range(LINES):
        words = line(made, data, drawn)
        status = run(words, monkeypatch)
        _, said = capfd.readouterr()
        place = json.dumps([word[:200] for word in words])
        assert status in (0, 1, 2), (SEED, number, place)
        assert "Traceback" not in said, (SEED, number, place, said[-2_000:])
        assert "a fault of Fanion itself" not in said, (SEED, number, place, said[-2_000:])
        assert status == 0 or said, (SEED, number, place)


@pytest.mark.parametrize(
    "words", [["inspect", "\udcff"], ["publish", "b\udcff.yaml"], ["check", "b\udcff.yaml"]]
)
def test_argument_that_is_not_text_is_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--data", "x"], monkeypatch) == 2
    assert "is not UTF-8: " in capfd.readouterr().err


VARIABLES = ["FANION_DATA", "FANION_CONFIG", *(setting.variable for setting in settings(vocabulary()))]


def test_no_variable_ends_a_command_in_a_fault_of_ours(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn = random.Random(SEED)
    monkeypatch.chdir(tmp_path)
    names = [*(text for text in TEXTS if "\0" not in text and len(text) < 1000), "a\udcff", "1" * 5_000]
    names += map(str, made.iterdir())
    for number in range(LINES // 4):
        variables = {drawn.choice(VARIABLES): drawn.choice(names) for _ in range(drawn.randrange(1, 3))}
        words = drawn.choice([["keys", "list"], ["serve"], ["doctor"], ["journal", "stats"], ["inspect"]])
        with monkeypatch.context() as patched:
            for name, value in {"FANION_DATA": str(made / "data"), **variables}.items():
                patched.setenv(name, value)
            status = run(words, patched)
        _, said = capfd.readouterr()
        assert status in (0, 1, 2), (SEED, number, words, variables)
        assert "a fault of Fanion itself" not in said, (SEED, number, words, variables, said[-2_000:])
        assert status == 0 or said, (SEED, number, words, variables)
