"""The console in a headless Chromium: nothing serious that axe-core finds in light, in dark and on a phone, nothing
from other hosts, its weight, by keyboard and without scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Running
from tests.e2e.test_e2e_console import Browser
from tests.e2e.test_e2e_feather import event
from tests.rounds import rounds

WEIGHT_BYTES_MAX = 60_000
"""Of a page with all that it loads, as it is sent."""
TIMEOUT_S = 600.0
PAGES, LOOKS = rounds(1, 1_000), rounds(1, 3)
"""How many pages it looks at, and in how many looks (light, dark, on a phone): each takes a second or two."""


@pytest.fixture(scope="module")
def modules() -> str:
    """CONSOLE_NODE_MODULES names a folder in which npm installed playwright-core and axe-core."""
    named = os.environ.get("CONSOLE_NODE_MODULES")
    if named is None or shutil.which("node") is None:
        pytest.skip("CONSOLE_NODE_MODULES names no folder with playwright-core and axe-core, or no node")
    return named


@pytest.fixture(scope="module")
def found(server: Running, modules: str, browser_program: str) -> dict[str, Any]:
    """What the browser saw of every page of the menu, of a flag and of an event."""
    assert server.ask("POST", "/v1/telemetry/events", {"events": [event()]}).status == 202
    plain = Browser(server)
    front = plain.get("/console/now").body.decode()
    pages = re.findall(r'<a href="/console/([a-z-]+)"(?: aria-current="page")?>[A-Z]', front)
    pages += ["flags/one?environment=env_e2e&source=native&key=falls-through"]
    pages = pages[:PAGES]
    base = f"http://localhost:{server.operations_port}/console"
    given = {"base": base, "pages": pages, "pictures": "", "looks": LOOKS}
    script = Path(__file__).with_name("console_browser.mjs")
    ran = subprocess.run(
        ["node", str(script), modules, browser_program, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3_000:]
    seen: dict[str, Any] = json.loads(ran.stdout)
    assert len(seen["bytes"]) == len(pages)
    return seen


pytestmark = [pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]


def test_axe_finds_nothing_serious(found: dict[str, Any]) -> None:
    assert found["violations"] == []


def test_no_page_asks_another_host_or_breaks_its_policy(found: dict[str, Any]) -> None:
    assert found["elsewhere"] == []
    assert found["errors"] == []


def test_every_page_weighs_little_with_all_that_it_loads(found: dict[str, Any]) -> None:
    assert max(found["bytes"].values()) <= WEIGHT_BYTES_MAX, found["bytes"]


def test_no_page_is_wider_than_a_phone(found: dict[str, Any]) -> None:
    assert found["wide"] == []


def test_pages_are_read_without_scripts_and_left_by_keyboard(found: dict[str, Any]) -> None:
    assert found["silent"] == []
    assert found["keyboard"] == "main"
