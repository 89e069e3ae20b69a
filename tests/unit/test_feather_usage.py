"""Feather's usage of a flag by day (docs/apis/feather.md: Usage): who may read it, what is asked and rolled up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.dialects.feather.usage import Counts, rolled_up
from fanion.errors import RowsError
from tests.unit.http_standins import CLIENT_KEY, SERVER_KEY, Caller

PATH = "/v1/projects/proj_1/flags/open/usage"
READER = b"sk_reader"


def count(
    day: str, value: str | None, reason: str | None, events: int, kind: str = "evaluation"
) -> dict[str, Any]:
    return {"period": f"{day}T00:00:00Z", "kind": kind, "variant": value, "reason": reason, "events": events}


COUNTS = [
    count("2026-10-31", "true", "RULE_MATCH", 100),
    count("2026-11-01", "true", "RULE_MATCH", 1),
    count("2026-11-01", "true", "ROLLOUT", 2),
    count("2026-11-01", "false", "DEFAULT", 4),
    count("2026-11-01", "false", "DISABLED", 8),
    count("2026-11-01", "false", "ERROR", 16),
    count("2026-11-01", None, "FLAG_NOT_FOUND", 32),
    count("2026-11-01", "x", None, 64, "served"),
    count("2026-11-03", "2.5", "CLIENT_RESTRICTED", 128),
    count("2026-11-04", "true", "RULE_MATCH", 100),
]
ROWS = [
    {
        "date": "2026-11-01",
        "totalEvaluations": 63,
        "valueDistribution": {"true": 3, "false": 28},
        "ruleMatchCount": 3,
        "defaultCount": 12,
        "errorCount": 16,
    },
    {
        "date": "2026-11-03",
        "totalEvaluations": 128,
        "valueDistribution": {"2.5": 128},
        "ruleMatchCount": 0,
        "defaultCount": 0,
        "errorCount": 0,
    },
]


class FakeResults:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def usage(self, environment: str, flag: str, **given: Any) -> bytes:
        assert given == {"by": "day", "days": 400}
        self.asked.append((environment, flag))
        if self.error is not None:
            raise self.error
        return msgspec.json.encode({"usage": COUNTS})


@pytest.fixture
def results() -> FakeResults:
    return FakeResults()


@pytest.fixture
def asked(results: FakeResults) -> Caller:
    made = Caller()
    keys = made.parts.snapshots.snapshot.keys
    keys[READER] = msgspec.structs.replace(keys[SERVER_KEY], scopes=("results:read",))
    made.parts.results = results
    return made


def test_days_are_rolled_up_by_value_and_reason(asked: Caller, results: FakeResults) -> None:
    answer = asked.call("GET", f"{PATH}?from=2026-11-01&to=2026-11-03", key=READER)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    document = answer.json()
    assert document.pop("environmentId")
    assert document == {"flagKey": "open", "from": "2026-11-01", "to": "2026-11-03", "rows": ROWS}
    assert [flag for _, flag in results.asked] == ["open"]


def test_without_a_range_it_is_the_last_thirty_days(asked: Caller) -> None:
    before = datetime.now(UTC).date()
    document = asked.call("GET", PATH, key=READER).json()
    assert document["to"] in (before.isoformat(), datetime.now(UTC).date().isoformat())
    assert datetime.fromisoformat(document["to"]) - datetime.fromisoformat(document["from"]) == timedelta(
        days=29
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=2026-09-01&to=2026-11-29", 200),  # 90 days
        ("from=2026-08-31&to=2026-11-29", 422),
        ("from=2026-11-29&to=2026-11-29", 200),
        ("from=2026-11-30&to=2026-11-29", 422),
        ("from=2026-11-29T23:00:00-02:00&to=2026-11-30", 200),
        ("from=yesterday", 422),
        ("to=", 422),
        ("to=0001-01-01", 200),
        ("until=2026-11-29", 422),
        ("from=%ff", 422),
        ("environmentId=another", 404),
    ],
)
def test_a_query_that_is_not_understood_is_refused(asked: Caller, query: str, status: int) -> None:
    assert asked.call("GET", f"{PATH}?{query}", key=READER).status == status


@pytest.mark.parametrize(
    "path",
    [
        "/v1/projects/",
        "/v1/projects/p",
        "/v1/projects/p/flags/open",
        f"{PATH}/x",
        "/v1/projects/p/keys/open/usage",
    ],
)
def test_no_other_path_of_a_project_is_there(asked: Caller, results: FakeResults, path: str) -> None:
    assert asked.call("GET", path, key=READER).status == 404
    assert results.asked == []


def test_only_a_server_key_with_the_scope_reads_it(asked: Caller, results: FakeResults) -> None:
    keys = asked.parts.snapshots.snapshot.keys
    keys[b"sk_scoped"] = msgspec.structs.replace(keys[SERVER_KEY], scopes=("evaluate",))
    for key, status in ((CLIENT_KEY, 403), (b"sk_scoped", 403), (b"sk_nobody", 401), (SERVER_KEY, 200)):
        assert asked.call("GET", PATH, key=key).status == status
    assert len(results.asked) == 1


def test_the_environment_has_two_names(asked: Caller) -> None:
    own = asked.call("GET", PATH, key=READER).json()["environmentId"]
    ours = asked.parts.snapshots.snapshot.keys[READER].environment
    for name in (own, ours):
        assert asked.call("GET", f"{PATH}?environmentId={name}", key=READER).json()["environmentId"] == own


def test_what_can_not_be_counted_now_is_asked_again(asked: Caller, results: FakeResults) -> None:
    results.error = RowsError("too many questions")
    answer = asked.call("GET", PATH, key=READER)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "BUFFER_FULL")
    assert answer.headers["retry-after"] == "5"


def test_rows_of_the_pipeline_read_as_counts(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    from fanion.results.usage import usage
    from tests.unit.result_rows import write_rows

    told = {"kind": "evaluation", "flag": "open", "unit": "a", "event_at": 1_772_323_200_000_000}
    write_rows(tmp_path, [told | {"value": 1.0, "value_text": "true", "reason": "ROLLOUT"}] * 3)
    counted = msgspec.json.encode({"usage": usage(tmp_path, environment="env_e", flag="open")})
    (day,) = rolled_up(msgspec.json.decode(counted, type=Counts).usage, "2026-03-01", "2026-03-01")
    assert (day.totalEvaluations, day.valueDistribution, day.ruleMatchCount) == (3, {"true": 3}, 3)
