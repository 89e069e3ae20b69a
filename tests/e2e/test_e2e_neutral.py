"""The neutral API from a real server (docs/apis/neutral.md): each request and answer against its OpenAPI document,
what becomes of the events, and the examples that the document prints.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import Page
from tests.e2e.server import Answer, Running, publish, run, start, wait_until
from tests.unit.neutral_standins import CASES, EXPOSURE, METRIC, PATH, ROOT, check_answer, is_batch

WRITER, FEATHER, EVALUATOR, LAPSED = "neutral_e2e", "sk_neutral_feather", "sk_evaluates", "sk_lapsed"
PRINTED = ROOT.joinpath("docs", "apis", "neutral.md").read_text()


def world() -> dict[str, Any]:
    def organisation(id: str, keys: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
        flags = {"checkout-copy": {"type": "string", "default_value": "a"}}
        environments = {"live": {"id": f"env_{id}", "keys": keys}}
        return {"projects": {"shop": {"environments": environments, "flags": flags}}, **members}

    own = [
        {"key": WRITER, "kind": "client", "dialects": ["neutral"]},
        {"key": FEATHER},
        {"key": EVALUATOR, "scopes": ["evaluate"]},
    ]
    lapsed = organisation("lapsed", [{"key": LAPSED}], plan="basic", subscription_active=False)
    return {"fanion": 1, "organisations": {"org": organisation("org", own), "lapsed": lapsed}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neutral")
    (folder / "world.json").write_text(json.dumps(world()))
    publish(folder / "data", folder / "world.json")
    return folder / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    running = start(data.parent / "log", "--workers", "2", data=data)
    yield running
    assert running.stop() == 0


def checked(answer: Answer) -> Any:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    check_answer(answer.status, headers, answer.json())
    return answer.json()


@pytest.mark.parametrize(
    ("status", "members"),
    [
        (200, {"document": {"events": [METRIC | {"id": "a"}, EXPOSURE | {"id": "b"}, {"bad": 1}]}}),
        (200, {"body": gzip.compress(b'{"events":[1]}'), "headers": {"content-encoding": "gzip"}}),
        (400, {"body": b"{"}),
        (400, {"document": {"events": []}}),
        (401, {"document": {"events": [METRIC]}, "key": None}),
        (401, {"document": {"events": [METRIC]}, "key": "nobody's"}),
        (403, {"document": {"events": [METRIC]}, "key": EVALUATOR}),
        (403, {"document": {"events": [METRIC]}, "key": LAPSED}),
        (413, {"body": b'{"events":["' + b"x" * 5_300_000 + b'"]}'}),
        (415, {"body": b"{}", "headers": {"content-encoding": "br"}}),
    ],
)
def test_each_answer_is_as_the_document_has_it(server: Running, status: int, members: dict[str, Any]) -> None:
    answer = server.ask("POST", PATH, **{"key": WRITER, **members})
    assert answer.status == status
    checked(answer)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_key_reads_anything(server: Running, method: str) -> None:
    for key in (WRITER, FEATHER):
        answer = server.ask(method, PATH, key=key)
        assert answer.status == 405
        checked(answer)


def test_a_run_of_all_cases_is_in_the_journal_as_it_was_sent_and_each_once(
    server: Running, data: Path
) -> None:
    good = [case["event"] | {"id": f"run-{n}"} for n, case in enumerate(CASES) if case["accepted"]]
    assert all(is_batch({"events": [event]}) for event in good)
    for _ in range(2):
        checked(server.ask("POST", PATH, {"events": good[:5]}, key=WRITER))
    found = checked(server.ask("POST", PATH, {"events": [1, *good]}, key=WRITER))
    assert (found["accepted"], found["duplicates"]) == (len(good) - 5, [1, 2, 3, 4, 5])
    printed = run(["journal", "cat", "--data", str(data), "--dialect", "neutral"]).stdout.splitlines()
    events = [line.get("event", line) for line in map(json.loads, printed)]
    counted = [
        event["source"]
        for event in events
        if event.get("disposition") != "duplicate" and event["source"]["id"].startswith("run-")
    ]
    assert counted == good


def example(language: str, part: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PRINTED, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if part in block]
    return str(found)


def test_conversions_meet_feathers_exposures_by_digest(server: Running, data: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    told = {
        "flagKey": "checkout-copy",
        "flagId": "f",
        "environmentId": "env_org",
        "orgId": "org",
        "value": "b",
    }
    told |= {"reason": "ROLLOUT", "sdkType": "server", "sdkVersion": "1.0.0"}
    told |= {
        "userIdHash": hashlib.sha256(b"user_123").hexdigest(),
        "evaluatedAt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    assert server.ask("POST", "/v1/telemetry/events", {"events": [told]}, key=FEATHER).status == 202
    command = example("sh", "sha256sum").replace("localhost:8080", f"localhost:{server.port}")
    done = subprocess.run(
        ["bash", "-c", command], env={"KEY": WRITER, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["accepted"] == 1, done.stderr
    by_id = METRIC | {"id": "order-4712", "value": 0.1}
    assert checked(server.ask("POST", PATH, {"events": [by_id]}, key=WRITER))["accepted"] == 1
    assert run(["pipeline", "--once", "--data", str(data)]).returncode == 0
    asked = run(["sql", "--json", "--data", str(data), example("sql", "served AS")])
    (row,) = [json.loads(line) for line in asked.stdout.splitlines()]
    assert (row["variant"], row["units"], round(float(row["value"]), 6)) == ("b", 1, 50.0), asked.stderr


HOOKED = "OpenFeature.addHooks(exposures('http://localhost:{port}', 'neutral_demo_client'));"
README = ROOT.joinpath("README.md").read_text()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Running]:
    running = start(tmp_path / "log", "--demo", "--workers", "1", data=None)
    yield running
    assert running.stop() == 0


def hooked(running: Running, package: str) -> str:
    """README's example with the hook of the document in it."""
    blocks = re.findall(r"^```js\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if package in block]
    imports, rest = found.split("\n\n", 1)
    hook = example("js", "exposures = ").replace("export const", "const")
    parts = (imports, hook, HOOKED.replace("{port}", str(running.port)), rest)
    return "\n".join(parts).replace("localhost:8080", f"localhost:{running.port}")


def check_told(running: Running) -> None:
    def told() -> bool:
        taken = 'fanion_http_responses_total{dialect="neutral",endpoint="events",status="200"}'
        return any(
            line.startswith(taken) and float(line.split()[-1]) >= 1
            for line in running.operations("/metrics").body.decode().splitlines()
        )

    wait_until(told)


def test_the_hook_sends_exposures_from_node(demo: Running, tmp_path: Path, node_modules: str) -> None:
    tmp_path.joinpath("node_modules").symlink_to(node_modules)
    tmp_path.joinpath("hooked.mjs").write_text(hooked(demo, "@openfeature/server-sdk"))
    done = subprocess.run(["node", "hooked.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "variant-b\n", done.stderr
    check_told(demo)


@pytest.mark.heavy
def test_the_hook_sends_exposures_from_a_browser(
    demo: Running, tmp_path: Path, node_modules: str, browser_program: str
) -> None:
    says = "console.log = (value) => fetch('/said', { method: 'POST', body: JSON.stringify({ value }) });"
    module = f"{says}\n{hooked(demo, '@openfeature/web-sdk')}"
    with closing(Page(browser_program, tmp_path, node_modules, module)) as page:
        assert page.hear() == "variant-b"
        check_told(demo)


def test_the_hook_throws_nothing_where_nobody_listens(tmp_path: Path, node_modules: str) -> None:
    hook = example("js", "exposures = ")
    assert len(hook.splitlines()) <= 10
    context, details = "{ context: { targetingKey: 'u' } }", "{ flagKey: 'f', variant: 'v' }"
    asked = f"exposures('http://127.0.0.1:1', 'k').after({context}, {details});"
    tmp_path.joinpath("nowhere.mjs").write_text(f"{hook}\n{asked}\nconsole.log('fine');")
    done = subprocess.run(["node", "nowhere.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
