"""The demo experiment lived through: a real server, two APIs, retries, clocks that are off, and shares that change.

EXPERIMENT_UNITS: how many units. Of 20,000, 30 % of the control convert and 35 % of the treatment; of the 2,000 by
default 50 %, so that the difference is found. What is expected is computed from what clients were told and sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.pipeline.query import ask
from tests.e2e.server import Running, publish, run, wait_until
from tests.unit.native_files import flag, writer
from tests.unit.result_rows import Row
from tests.unit.result_script import Script

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
special = pytest.importorskip("scipy.special")

from fanion.results.report import Result  # noqa: E402

UNITS = int(os.environ.get("EXPERIMENT_UNITS", "2000"))
BASE, LIFT = 0.30, 0.05 if UNITS >= 20_000 else 0.20
FRESH_S = 10.0
"""From the last event to a result that has all of them."""
S = 1_000_000
ENVIRONMENT = "5b1f6a52-0000-4000-8000-000000000001"
KEYS = {dialect: f"demo_{dialect}_key" for dialect in ("feather", "stitchd", "neutral")}
FLAGS = ("copy", "banner")
METRICS: dict[str, Any] = {
    "paid": {"event": "purchase", "window_hours": 1},
    "revenue": {"event": "purchase", "type": "sum", "cap": 150},
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()


def definitions(
    folder: Path, shares: tuple[int, int], runs: list[tuple[int, tuple[int, int]]], *, keyed: bool = False
) -> Path:
    """`keyed`: units by keyed digests. `runs`: when
    each began (microseconds), and its shares; the last one's are those of the flags now."""

    def told(of: tuple[int, int]) -> dict[str, int]:
        return dict(zip(("control", "treatment"), of, strict=True))

    split = [{"weight": weight, "value": value} for value, weight in zip("ab", shares, strict=True)]
    variants = [{"key": "control", "value": "a"}, {"key": "treatment", "value": "b"}]
    start, *later = runs
    experiment = {
        "control": "control",
        "exposure": "served",
        "units": ["userId", "user"],
        "start": instant(start[0]),
        "shares": told(start[1]),
        "runs": [{"start": instant(at), "shares": told(of)} for at, of in later],
        "metrics": METRICS,
    }
    environment = {
        "id": "env_e",
        "dialects": list(KEYS),
        "identifiers": {"stitchd": {"environment": ENVIRONMENT}},
        "keys": [
            {
                "key": f"sha256:{hashlib.sha256(key.encode()).hexdigest()}",
                "kind": "server",
                "dialects": [dialect],
            }
            for dialect, key in KEYS.items()
        ],
        "exposures": {"record": "experiments", "keyed": keyed},
    }
    one = flag(type="string", default_value="a", variants=variants, rules=[{"id": "r", "split": split}])
    return writer(folder)(
        environments={"e": environment},
        flags=dict.fromkeys(FLAGS, one),
        events={"purchase": {"type": "double"}},
        experiments={key: experiment | {"flag": key} for key in FLAGS},
    )


class Clients:
    """Half of the users are evaluated through one API and half through another; half of each convert through the
    other one. `rows`: what they were told and did, as the server has to have it."""

    def __init__(self, running: Running, seed: int) -> None:
        self.draw = random.Random(seed)
        self.connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)
        self.rows: list[Row] = []
        self.waiting: dict[str, list[dict[str, Any]]] = {"neutral": [], "stitchd": []}

    def close(self) -> None:
        self.connection.close()

    def ask(self, path: str, document: object, dialect: str) -> Any:
        name = "x-sdk-key" if dialect == "stitchd" else "Authorization"
        key = KEYS[dialect] if dialect == "stitchd" else f"Bearer {KEYS[dialect]}"
        head = {name: key, "Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(document), head)
        response = self.connection.getresponse()
        body = response.read()
        assert response.status in (200, 202), (path, response.status, body)
        return json.loads(body)

    def meet(self, unit: str, phase: str, *, through_stitchd: bool) -> dict[str, str]:
        """Evaluates both flags and returns the variants."""
        at = time.time_ns() // 1000
        if through_stitchd:
            asked = {"context_type": "user", "context_key": unit, "attributes": {}}
            path = f"/v1/environments/{ENVIRONMENT}/evaluate"
            chosen = {
                key: str(self.ask(path, asked | {"flag_key": key}, "stitchd")["variant_key"]) for key in FLAGS
            }
        else:
            body = {"flags": FLAGS, "context": {"userId": unit}}
            results = self.ask("/v1/evaluate/bulk", body, "feather")["results"]
            chosen = {key: str(results[key]["variant"]) for key in FLAGS}
        for key, variant in chosen.items():
            self.rows.append(
                {
                    "kind": "served",
                    "flag": key,
                    "unit": unit,
                    "event_at": at,
                    "variant": variant,
                    "run": phase,
                    "time_from": "received",
                }
            )
        return chosen

    def convert(self, unit: str, *, through_stitchd: bool) -> None:
        """By a clock that is off by up to two minutes, two to three minutes after; one in ten is sent again."""
        at = time.time_ns() // 1000 + self.draw.randrange(130, 170) * S + self.draw.randrange(-120, 121) * S
        at -= at % 1000
        value = self.draw.randrange(1, 200) / 2
        row: Row = {"kind": "metric", "metric": "purchase", "unit": unit, "event_at": at, "value": value}
        if through_stitchd:
            event = {
                "metric_key": "purchase",
                "context_type": "user",
                "context_key": unit,
                "value": value + 0.25,
            }
            row["value"] = value + 0.25  # a point, as the API's doubles have one
            self.waiting["stitchd"].append(event | {"timestamp_ms": at // 1000})
        else:
            row["event_id"] = f"{unit}/{len(self.rows)}"
            self.waiting["neutral"].append(
                {
                    "type": "metric",
                    "id": row["event_id"],
                    "unit": {"kind": "userId", "id": unit},
                    "metric": "purchase",
                    "value": value,
                    "time": instant(at).replace("+00:00", "Z"),
                }
            )
        self.rows.append(row)
        if len(self.waiting["stitchd" if through_stitchd else "neutral"]) >= 50:
            self.send()

    def send(self) -> None:
        events, self.waiting["neutral"] = self.waiting["neutral"], []
        if events:
            assert self.ask("/fanion/v1/events", {"events": events}, "neutral")["accepted"] == len(events)
            again = [event for event in events if self.draw.random() < 0.1] or events[:1]
            answer = self.ask("/fanion/v1/events", {"events": again}, "neutral")
            assert (answer["accepted"], len(answer["duplicates"])) == (0, len(again))
        events, self.waiting["stitchd"] = self.waiting["stitchd"], []
        if events:
            answer = self.ask(f"/v1/environments/{ENVIRONMENT}/events/batch", {"events": events}, "stitchd")
            assert answer["accepted_count"] == len(events), answer


def live(clients: Clients, units: range, phase: str) -> None:
    draw = clients.draw
    for number in units:
        unit = f"user-{number}"
        chosen = clients.meet(unit, phase, through_stitchd=number % 2 == 0)
        rate = BASE + (LIFT if chosen["copy"] == "treatment" else 0) + (0.1 if phase == "two" else 0)
        if draw.random() < rate - 0.05:
            for _ in range(draw.choice([1, 1, 1, 2, 3])):
                clients.convert(unit, through_stitchd=number // 2 % 2 == 0)
    clients.send()


def asked(data: Path) -> dict[str, Result]:
    done = run(["results", "--data", str(data), "--format", "json"], timeout_s=120)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=dict[str, list[Result]])["results"]
    return {one.experiment: one for one in found}


def known(rows: list[Row], results: dict[str, Result]) -> bool:
    """Whether all that the clients did is there."""
    units = len({row["unit"] for row in rows})
    active = len({row["unit"] for row in rows if row["kind"] == "metric"})
    met = {(row["flag"], row["unit"], row["variant"]) for row in rows if row["kind"] == "served"}
    times = Counter((flag, unit) for flag, unit, _ in met)
    several = Counter(flag for (flag, _), variants in times.items() if variants > 1)
    return all(
        sum(one.units.values()) == units
        and sum(side.active for side in one.metrics[0].variants) == active
        and one.counted is not None
        and one.counted.units_of_several_variants == several[key]
        for key, one in results.items()
    )


def polled(data: Path, rows: list[Row]) -> Iterator[tuple[float, dict[str, Result]]]:
    began = time.monotonic()
    while time.monotonic() - began < 180:
        with contextlib.suppress(AssertionError):
            results = asked(data)
            if known(rows, results):
                yield time.monotonic() - began, results
                return
    raise AssertionError(f"not all of it is there after three minutes: {asked(data)}")


@pytest.mark.timeout(900 + UNITS // 20)
def test_what_users_did_through_two_apis_is_found_soon_and_number_by_number(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    data, first, second = tmp_path / "data", (50, 50), (30, 70)
    start = time.time_ns() // 1000 - 60 * S
    runs = [(start, first)]
    publish(data, definitions(tmp_path, first, runs))
    running = serve("--workers", "1", "--pipeline", data=data)
    with contextlib.closing(Clients(running, seed=1)) as clients:
        live(clients, range(UNITS // 2), "one")
        runs.append((time.time_ns() // 1000, second))
        publish(data, definitions(tmp_path, second, runs))
        wait_until(lambda: running.operations("/readyz").json()["workers"][0]["generation"] == 2)
        live(clients, range(UNITS // 2, UNITS), "two")
        for old in range(0, UNITS // 2, 50):  # some come again, and a fifth of those meet the other variant
            clients.meet(f"user-{old}", "two", through_stitchd=False)
    ((took, results),) = polled(data, clients.rows)
    print(f"{UNITS} units: {took:.1f} s from the last event to a result that has all of them")
    assert took <= FRESH_S or UNITS < 20_000
    copy, banner = results["copy"].metrics[0].comparisons[0], results["banner"].metrics[0].comparisons[0]
    assert (copy.finding, banner.finding) == ("better", "none")
    assert copy.always_valid.lower < LIFT < copy.always_valid.upper
    for key, result in results.items():
        assert result.trustworthy, result.problems
        assert len(result.runs) == 2
        script = Script(clients.rows, key, {"metrics": METRICS}, start, 1 << 60, [])
        for metric in result.metrics:
            compare(metric.comparisons[0], script.compare(metric.metric))
        counted = script.counted()
        assert result.counted is not None
        shown = msgspec.structs.asdict(result.counted)
        assert {name: shown[name] for name in counted} == counted


@pytest.mark.heavy
def test_keyed_digests_lead_from_exposures_to_results(tmp_path: Path, serve: Callable[..., Running]) -> None:
    data, shares, units = tmp_path / "data", (50, 50), 200
    start = time.time_ns() // 1000 - 60 * S
    publish(data, definitions(tmp_path, shares, [(start, shares)], keyed=True))
    running = serve("--workers", "1", "--pipeline", data=data)
    with contextlib.closing(Clients(running, seed=2)) as clients:
        live(clients, range(units), "one")
    ((_, results),) = polled(data, clients.rows)
    for key, result in results.items():
        script = Script(clients.rows, key, {"metrics": METRICS}, start, 1 << 60, [])
        for metric in result.metrics:
            compare(metric.comparisons[0], script.compare(metric.metric))
    named = {row[0] for row in ask(data, "SELECT DISTINCT unit FROM rows")[1]}
    ids = {f"user-{number}" for number in range(units)}
    assert len(named) == units, "exposures and events name a unit alike"
    assert not named & (ids | {hashlib.sha256(id.encode()).hexdigest() for id in ids})


def compare(found: Any, script: dict[str, float]) -> None:
    reach = special.stdtrit(script["degrees"], 0.975) * script["error"]
    for ours, theirs in (
        (found.difference, script["difference"]),
        (found.always_valid.lower, script["lower"]),
        (found.always_valid.upper, script["upper"]),
        (found.p, script["p"]),
        (found.fixed.lower, script["difference"] - reach),
        (found.fixed.upper, script["difference"] + reach),
        (found.lift, script["lift"]),
        (found.lift_always_valid.lower, script["lift_lower"]),
        (found.lift_always_valid.upper, script["lift_upper"]),
    ):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
