"""README's OpenFeature examples, tried as they are printed against the demo server; only its address is another."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.browser import Page
from tests.e2e.server import Running, start

ROOT = Path(__file__).parents[2]
README = ROOT.joinpath("README.md").read_text()
PRINTED = "localhost:8080"
SAYS = "console.log = (value) => fetch('/said', { method: 'POST', body: JSON.stringify({ value }) });"
"""Before an example in a browser: what it prints goes to the test."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("demo")
    running = start(folder / "log", "--demo", "--workers", "1")
    yield running
    assert running.stop() == 0


def example(language: str, part: str, running: Running) -> str:
    """The one block of this language in which this stands."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if part in block]
    assert PRINTED in found
    return found.replace(PRINTED, f"localhost:{running.port}")


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("part", ["/ofrep/v1/evaluate/flags/", "/v1/evaluate/bulk", "/fanion/v1/events"])
def test_curl_prints_the_answer_that_is_shown(demo: Running, tmp_path: Path, part: str) -> None:
    command, shown = re.split(r"(?<=[^\\])\n", example("console", part, demo), maxsplit=1)
    answer = run(["bash", "-c", command.removeprefix("$ ")], tmp_path)
    changing = re.compile(r'"(evaluatedAt|requestId)":"[^"]*"')  # another one each time
    assert changing.sub("", answer).strip() == changing.sub("", shown).strip()


def test_the_python_example(demo: Running, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(example("python", "OFREPProvider", demo))
    assert run([sys.executable, str(program)], tmp_path) == "variant-b\n"


def test_the_javascript_example_on_a_server(demo: Running, tmp_path: Path, node_modules: str) -> None:
    tmp_path.joinpath("node_modules").symlink_to(node_modules)
    tmp_path.joinpath("example.mjs").write_text(example("js", "@openfeature/server-sdk", demo))
    assert run(["node", "example.mjs"], tmp_path) == "variant-b\n"


def test_the_javascript_example_in_a_browser(
    demo: Running, tmp_path: Path, node_modules: str, browser_program: str
) -> None:
    module = f"{SAYS}\n{example('js', '@openfeature/web-sdk', demo)}"
    with closing(Page(browser_program, tmp_path, node_modules, module)) as page:
        assert page.hear() == "variant-b"
