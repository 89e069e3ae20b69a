"""The documentation site: it builds without a warning, what its first pages say to type is typed, and every
other command in the documents is one that there is."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from fanion.cli import group
from tests.e2e.server import Running, start

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
FENCE = re.compile(r"^( *)```(\w*)(?: title=\"([^\"]*)\")?\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
SHELL = {"sh", "console"}
AROUND = re.compile(r"\$\([^)]*\)|`[^`]*`")
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+|\.\.\.|…")


class Block(NamedTuple):
    page: str
    language: str
    title: str
    text: str


def blocks(path: Path) -> list[Block]:
    return [
        Block(path.name, language, title, "\n".join(line.removeprefix(indent) for line in text.split("\n")))
        for indent, language, title, text in FENCE.findall(path.read_text())
    ]


EVERY = [block for path in DOCUMENTS for block in blocks(path)]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each `fanion` command of a shell block."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        for part in re.split(r"&&|\|\||\||;|\$\(", line.split("  #")[0]):
            with suppress(ValueError):  # a quote that goes on in the next line
                words = shlex.split(part.strip().rstrip(")"), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words and words[0].endswith("fanion") and words[0] != "python -m fanion":
                    yield words[1:]


def found(block: Block) -> list[tuple[str, list[str]]]:
    return [(block.page, words) for words in commands(block)] if block.language in SHELL else []


@pytest.mark.parametrize(
    ("page", "words"),
    [one for block in EVERY for one in found(block)],
    ids=lambda value: " ".join(value)[:60],
)
def test_every_command_of_the_documents_is_one(page: str, words: list[str]) -> None:
    """Verbs and options; what is done with them is tested where the verb is."""
    command: click.Command = group
    context = click.Context(group, info_name="fanion")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        assert below is not None, f"{page}: fanion {' '.join(words)}: there is no {words[0]}"
        command, words = below, words[1:]
        context = click.Context(command, parent=context)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    asked = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
    assert set(asked) <= known, f"{page}: {context.command_path} has no {set(asked) - known}"


@pytest.mark.parametrize(
    "block",
    [block for block in EVERY if block.language in {"yaml", "json", "toml", "python"}],
    ids=lambda block: f"{block.page}-{block.language}",
)
def test_every_other_snippet_is_in_its_language(block: Block) -> None:
    read = {
        "yaml": lambda text: list(yaml.safe_load_all(text)),
        "json": lambda text: json.loads(text if text.lstrip()[:1] in "[{" else f"{{{text}}}"),
        "toml": tomllib.loads,
        "python": lambda text: compile(text, block.page, "exec"),
    }
    read[block.language](block.text)


def typed(text: str, folder: Path, port: int = 0) -> str:
    """What a shell prints for it, in the folder, with `fanion` on its path."""
    known = f'fanion() {{ {shlex.quote(sys.executable)} -m fanion "$@"; }}'
    script = "\n".join(["set -e", known, text.replace("localhost:8080", f"localhost:{port}")])
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def of(name: str, *words: str) -> Block:
    """The one block of a page in which all of this stands."""
    (one,) = [block for block in blocks(ROOT / "docs" / name) if all(word in block.text for word in words)]
    return one


def serving(folder: Path, number: int) -> Running:
    return start(folder / f"log{number}", "--workers", "1", data=folder / "data")


@pytest.mark.heavy
def test_the_first_page_and_a_restored_backup_as_a_new_user_types_them(tmp_path: Path) -> None:
    install = of("index.md", "pip install").text.strip()
    assert install in ROOT.joinpath("README.md").read_text()  # .ci/run and .ci/wheels.py do it
    tmp_path.joinpath("flags.yaml").write_text(of("index.md", "fanion: 1").text)
    typed(of("index.md", "fanion check").text, tmp_path)
    made, serve = of("index.md", "keys create").text.strip().split("\n")
    assert serve == "fanion serve --data ./data"
    key = typed(f"{made}\necho $KEY", tmp_path).strip()
    ask = f"KEY={key}\n{of('index.md', 'curl').text}"
    server = serving(tmp_path, 1)
    try:
        answer = json.loads(typed(ask, tmp_path, server.port))
        assert (answer["key"], answer["value"]) == ("new-checkout", True)
        said = typed(of("index.md", "fanion diff").text, tmp_path)
        assert "new-checkout" in said
    finally:
        assert server.stop() == 0
    save, restore = of("operating.md", "cp -a data backup"), of("operating.md", "mv data broken")
    typed(save.text, tmp_path)
    typed("rm -r data/* && echo lost > data/lost", tmp_path)
    typed(restore.text, tmp_path)
    server = serving(tmp_path, 2)
    try:
        assert (
            json.loads(typed(ask, tmp_path, server.port))["value"] is True
        )  # the key was in the backup alone
    finally:
        assert server.stop() == 0


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra `docs`; .ci/run has it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert {
        "index.html",
        "cli.html",
        "settings.html",
        "metrics.html",
        "decisions.html",
        "security.html",
    } <= pages
    settings = (tmp_path / "site" / "settings.html").read_text()
    assert "FANION_SERVER_PORT" in settings
    assert (
        "https://"
        not in re.sub(r'(?s)<a [^>]*>|<link rel="canonical"[^>]*>', "", settings).split("</head>")[0]
    )
