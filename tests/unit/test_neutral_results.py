"""Results over HTTP: who may read them, how, and the process that answers (docs/apis/neutral.md: Results)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.config import Config
from fanion.errors import RowsError
from fanion.process import results as module
from fanion.process.results import Results
from tests.unit.http_standins import Caller
from tests.unit.neutral_standins import CLIENT, ELSEWHERE, KEY, OTHER_SCOPE, SCOPED, make_caller

PATH = "/fanion/v1/experiments/copy/results"
READER = b"k_reader"


class FakeResults:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: bytes | None = b'{"results":[]}'
        self.error: Exception | None = None

    async def ask(self, environment: str, experiment: str, **given: Any) -> bytes | None:
        self.asked.append((environment, experiment, given))
        if self.error is not None:
            raise self.error
        return self.answer

    async def usage(self, environment: str, flag: str, **given: Any) -> bytes:
        self.asked.append((environment, flag, given))
        if self.error is not None:
            raise self.error
        return b'{"usage":[]}'


def caller(organisation: dict[str, Any] | None = None) -> tuple[Caller, FakeResults]:
    asked = make_caller(organisation=organisation)
    snapshot = asked.parts.snapshots.snapshot
    snapshot.keys[READER] = msgspec.structs.replace(snapshot.keys[KEY], scopes=("results:read",))
    results = asked.parts.results = FakeResults()
    return asked, results


@pytest.mark.parametrize("key", [KEY, READER])
@pytest.mark.parametrize("path", [PATH, f"/neutral{PATH}"])
def test_a_server_key_reads_the_results_of_its_environment(key: bytes, path: str) -> None:
    asked, results = caller()
    answer = asked.call("GET", path, key=key)
    assert (answer.status, answer.body) == (200, b'{"results":[]}')
    assert answer.headers["cache-control"] == "no-store"
    nothing = {"attribute": None, "complete": False, "daily": False}
    assert results.asked == [("production", "copy", nothing)]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (None, 401, "no_key"),
        (b"nobody", 401, "unknown_key"),
        (ELSEWHERE, 401, "unknown_key"),
        (CLIENT, 403, "forbidden"),
        (SCOPED, 403, "forbidden"),
        (OTHER_SCOPE, 403, "forbidden"),
    ],
)
def test_no_other_key_reads_anything(key: bytes | None, status: int, code: str) -> None:
    asked, results = caller()
    answer = asked.call("GET", PATH, key=key)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert results.asked == []


def test_the_query_says_how_they_are_wanted_and_the_path_of_which_experiment() -> None:
    asked, results = caller()
    path = "/fanion/v1/experiments/caf%C3%A9/results?complete=true&daily=false&by=a%26b"
    assert asked.call("GET", path, key=KEY).status == 200
    assert results.asked == [("production", "café", {"attribute": "a&b", "complete": True, "daily": False})]
    assert asked.call("GET", f"{PATH}?by={'x' * 256}", key=KEY).status == 200


@pytest.mark.parametrize("query", ["complete=1", "by=", f"by={'x' * 257}", "x=1", "daily", "by=%FF"])
def test_a_query_that_is_not_understood_is_refused(query: str) -> None:
    asked, results = caller()
    answer = asked.call("GET", f"{PATH}?{query}", key=KEY)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_batch")
    assert results.asked == []


@pytest.mark.parametrize("key", ["nothing", "copy%00", "%01" * 21_834, "e" * 65_000])
def test_no_process_is_asked_of_an_experiment_that_is_not_there(key: str) -> None:
    """Each took a process a second of a core; the longest names couldn't be handed to one and were a 500."""
    asked, results = caller()
    assert asked.call("GET", f"/fanion/v1/experiments/{key}/results", key=KEY).status == 404
    assert results.asked == []


def test_what_is_not_there_or_not_now_is_said_so() -> None:
    asked, results = caller()
    results.answer = None
    assert asked.call("GET", PATH, key=KEY).status == 404
    results.error = RowsError("not now")
    answer = asked.call("GET", PATH, key=KEY)
    assert (answer.status, answer.json()["error"]["message"]) == (503, "not now")
    assert answer.headers["retry-after"] == "5"
    assert asked.call("POST", PATH, key=KEY).status == 405
    assert asked.call("GET", "/fanion/v1/experiments/copy", key=KEY).status == 404


def test_a_suspended_organisation_reads_nothing() -> None:
    asked, results = caller({"suspended": True})
    assert asked.call("GET", PATH, key=KEY).status == 403
    assert results.asked == []


# -- the process that answers


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Results:
    """With a shell script in the process's place."""
    path = tmp_path / "child"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr("fanion.process.child.sys.executable", str(path))
    return Results(tmp_path, Config())


async def ask(results: Results, key: str = "copy", environment: str = "env_e", **given: Any) -> bytes | None:
    return await results.ask(
        environment, key, **({"attribute": None, "complete": False, "daily": False} | given)
    )


def test_those_who_ask_the_same_at_once_or_soon_after_have_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = child(tmp_path, monkeypatch, f"echo run >> {tmp_path}/runs; printf answer")

    async def run() -> list[bytes | None]:
        return [
            *await asyncio.gather(ask(results), ask(results)),
            await ask(results),
            await ask(results, "other"),
        ]

    assert asyncio.run(run()) == [b"answer"] * 4
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_an_end_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(ask(child(tmp_path, monkeypatch, "exit 4"))) is None
    for script in ("echo why >&2; exit 1", "kill -9 $$", f"head -c {module.ANSWER_BYTES_MAX + 1} /dev/zero"):
        with pytest.raises(RowsError, match="the server's log says why"):
            asyncio.run(ask(child(tmp_path, monkeypatch, script)))


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTION_TIMEOUT_S", 0.5)
    results = child(tmp_path, monkeypatch, "exec tail -f /dev/null")
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*command: str, **given: Any) -> asyncio.subprocess.Process:
        started.append(await start(*command, **given))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    with pytest.raises(RowsError, match="it took longer than"):
        asyncio.run(ask(results))
    (process,) = started
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_more_questions_than_may_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = child(tmp_path, monkeypatch, "printf answer")

    async def run() -> list[Any]:
        asked = [ask(results, environment=f"e{number}") for number in range(module.WAITING_MAX + 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(run())
    assert answers.count(b"answer") == module.WAITING_MAX + 1
    assert {str(one) for one in answers if one != b"answer"} == {
        "too many questions are being answered; ask again later"
    }


def test_questions_of_one_environment_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = child(tmp_path, monkeypatch, "printf answer")

    async def run() -> list[Any]:
        floods = [ask(results, attribute=f"a{number}") for number in range(30)]
        return await asyncio.gather(*floods, ask(results, environment="other"), return_exceptions=True)

    answers = asyncio.run(run())
    assert answers.count(b"answer") == module.OWN_MAX + 1
    assert answers[-1] == b"answer"


def test_a_large_answer_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen of the largest would be 256 MB of a worker."""
    for size, runs in ((module.KEPT_BYTES_MAX, 1), (module.KEPT_BYTES_MAX + 1, 2)):
        counted = tmp_path / f"runs-{size}"
        results = child(tmp_path, monkeypatch, f"echo run >> {counted}; head -c {size} /dev/zero")

        async def run(results: Results = results) -> list[bytes | None]:
            return [await ask(results), await ask(results)]

        assert [len(one or b"") for one in asyncio.run(run())] == [size, size]
        assert counted.read_text() == "run\n" * runs


def test_a_process_that_can_not_be_started_is_told_as_any_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine has no room for another one; it was a 500."""
    results = child(tmp_path, monkeypatch, "printf answer")
    with pytest.raises(RowsError, match="the server's log says why"):
        asyncio.run(ask(results, "x" * 200_000))
    assert asyncio.run(ask(results)) == b"answer"


def test_the_answer_is_what_the_command_prints(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("scipy")
    from fanion.results.report import Result
    from tests.unit.result_rows import write_rows
    from tests.unit.result_small import publish_project, results
    from tests.unit.result_world import project, rows

    publish_project(tmp_path, project())
    write_rows(tmp_path / "data", rows(2_000))
    found = Results(tmp_path / "data", Config())

    async def run() -> tuple[bytes | None, bytes | None]:
        return await ask(found, daily=True, attribute="plan"), await ask(found, "nothing")

    answer, nothing = asyncio.run(run())
    assert nothing is None
    assert answer is not None
    told = msgspec.json.decode(answer, type=dict[str, list[Result]])["results"]
    assert sorted(str(one.segment) for one in told) == ["free", "pro"]
    whole = results(tmp_path)["copy"]
    assert sum(sum(one.units.values()) for one in told) == sum(whole.units.values())
    assert all(one.days for one in told)


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "",
        'a"b',
        "a\\",
        '\\"',
        "a'b",
        "'; DROP TABLE x; --",
        "$",
        "*",
        "a.b",
        "a/b",
        "~",
        "~1",
        "0",
        "#",
        "é\n\0",
    ],
)
def test_units_can_be_divided_by_an_attribute_of_any_name(name: str) -> None:
    """A backslash was the end of a path, and its answer a 503."""
    duckdb = pytest.importorskip("duckdb")
    from fanion.results.queries import pointer

    document = msgspec.json.encode({name: "this", "another": "that", "a": {"b": "inner"}}).decode()
    asked = f"SELECT json_extract_string(document, '{pointer(name)}') FROM (SELECT ?::JSON AS document)"
    assert duckdb.connect().execute(asked, [document]).fetchone() == ("this",)


# -- usage

USAGE = "/fanion/v1/flags/a%20b/usage"


@pytest.mark.parametrize("key", [KEY, READER])
def test_a_server_key_reads_the_usage_of_its_environments_flags(key: bytes) -> None:
    asked, results = caller()
    answer = asked.call("GET", f"{USAGE}?by=hour&days=400", key=key)
    assert (answer.status, answer.body) == (200, b'{"usage":[]}')
    assert asked.call("GET", f"/neutral{USAGE}", key=key).status == 200
    assert results.asked == [
        ("production", "a b", {"by": "hour", "days": 400}),
        ("production", "a b", {"by": "day", "days": 30}),
    ]


@pytest.mark.parametrize(
    "query", ["by=week", "by=", "days=0", "days=401", "days=-1", "days=1.5", "days=x", "from=1", "by=day&by"]
)
def test_a_query_of_usage_that_is_not_understood_is_refused(query: str) -> None:
    asked, results = caller()
    assert asked.call("GET", f"{USAGE}?{query}", key=KEY).status == 400
    assert results.asked == []


def test_usage_is_as_closed_as_results_are_and_later_where_there_is_none_now() -> None:
    asked, results = caller()
    for key, status in ((CLIENT, 403), (OTHER_SCOPE, 403), (b"nobody", 401), (None, 401)):
        assert asked.call("GET", USAGE, key=key).status == status
    assert results.asked == []
    results.error = RowsError("no rows")
    assert asked.call("GET", USAGE, key=KEY).status == 503
    assert asked.call("POST", USAGE, key=KEY).status == 405


def test_the_usage_that_a_process_answers_is_what_the_command_prints(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from fanion.results.usage import usage
    from tests.unit.result_rows import write_rows

    at = 1_772_323_200_000_000
    seen = {"kind": "evaluation", "flag": "copy", "unit": "u", "variant": "a", "event_at": at}
    write_rows(tmp_path, [seen, seen | {"environment": "env_f"}])
    results = Results(tmp_path, Config())
    answer = asyncio.run(results.usage("env_e", "copy", by="day", days=30))
    counted = usage(tmp_path, environment="env_e", flag="copy")
    assert [one.events for one in counted] == [1]
    assert answer == msgspec.json.encode({"usage": counted})
