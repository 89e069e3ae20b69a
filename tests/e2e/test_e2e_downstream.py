"""Events of real servers, shipped to one stream: rows and results that another machine makes of it are those made
beside the journal, and what came to two machines counts once."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion.cli import group
from tests.commands import Command
from tests.crash.receivers import nats_servers
from tests.e2e.server import Running, publish, wait_until
from tests.e2e.test_e2e_machines import done, metric, notes
from tests.unit.native_files import flag, writer

KEY = "sk_downstream_e2e"
UNITS = 40
ASKED_AT = re.compile(r"^operations on http://[^ ]*:(\d+): ", re.MULTILINE)

for library in ("pyarrow", "duckdb", "scipy", "nats"):
    pytest.importorskip(library)


def project() -> dict[str, Any]:
    variants = [{"key": "control", "value": "a"}, {"key": "treatment", "value": "b"}]
    began = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    experiment = {
        "flag": "copy",
        "control": "control",
        "exposure": "sent",
        "start": began,
        "units": ["userId"],
        "shares": {"control": 50, "treatment": 50},
        "metrics": {"orders": {"event": "purchase", "type": "count", "window_hours": 24}},
    }
    return {
        "environments": {"e": {"id": "env_e", "keys": [{"key": KEY}]}},
        "flags": {"copy": flag(type="string", default_value="a", variants=variants)},
        "events": {"purchase": {"type": "double"}},
        "experiments": {"copy": experiment},
    }


def events() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(UNITS):
        unit = {"kind": "userId", "id": f"user-{number}"}
        variant = "treatment" if number % 2 else "control"
        made.append(
            {"type": "exposure", "id": f"seen-{number}", "unit": unit, "flag": "copy", "variant": variant}
        )
    for number in range(0, UNITS, 3):
        unit = {"kind": "userId", "id": f"user-{number}"}
        made.append(
            {"type": "metric", "id": f"order-{number}", "unit": unit, "metric": "purchase", "value": 9.5}
        )
    return made


def told(data: Path) -> Any:
    (result,) = json.loads(done("results", "copy", "--data", data, "--format", "json"))["results"]
    result.pop("fresh")  # which of a stream nobody knows
    result.pop("as_of")
    return digits(result)


def digits(made: Any) -> Any:
    """The same with each number to nine digits: in which order a variance is summed decides about its last."""
    if isinstance(made, dict):
        return {name: digits(one) for name, one in made.items()}
    if isinstance(made, list):
        return [digits(one) for one in made]
    return float(f"{made:.9g}") if isinstance(made, float) else made


def test_results_of_a_stream_are_those_beside_the_journals(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    definitions = writer(tmp_path)(**project())
    one, two, far = (tmp_path / name for name in ("one", "two", "far"))
    for data in (one, two, far):
        publish(data, definitions)
    with nats_servers(tmp_path / "nats") as servers:
        url = servers.url("events")
        shipping = {"FANION_SHIPPING_URL": url, "FANION_SHIPPING_INTERVAL_S": "0.1"}

        def send(data: Path, batches: list[list[dict[str, Any]]]) -> None:
            running = serve("--workers", "2", data=data, environment=shipping)
            wait_until(running.takes_events)
            for batch in batches:
                answer = running.ask("POST", "/fanion/v1/events", {"events": batch}, key=KEY)
                assert (answer.status, answer.json()["rejected"]) == (200, []), answer
            wait_until(lambda: metric(running, "fanion_shipping_records_total") == len(batches))
            assert running.stop() == 0

        all_of_them = events()
        send(one, [all_of_them[at : at + 7] for at in range(0, len(all_of_them), 7)])
        assert done("pipeline", "--once", "--data", one) == f"{len(all_of_them)} rows in 1 file\n"
        made = done("pipeline", "--from", url, "--once", "--data", far)
        assert made == f"{len(all_of_them)} rows in 1 file\n"
        beside = told(one)
        assert beside["units"] == {"control": UNITS // 2, "treatment": UNITS // 2}
        assert told(far) == beside

        again = all_of_them[-5:]  # by a sender that had no answer, and asked the other machine
        send(two, [again])
        made = done("pipeline", "--from", url, "--once", "--data", far)
        assert made.startswith(f"{len(all_of_them) + len(again)} rows")
        assert told(far)["metrics"] == beside["metrics"]


@contextmanager
def making(data: Path, url: str) -> Iterator[Running]:
    """A real `fanion pipeline --from`, and where it is asked."""
    log, told = (
        data / "pipeline.log",
        ["pipeline", "--from", url, "--data", str(data), "--operations-port", "0"],
    )
    with log.open("wb") as errors, Path(os.devnull).open("r+b") as nothing:
        process = Command(told, {"FANION_SHIPPING_AGAIN_S_MAX": "0.2"}, nothing, nothing, errors)
    try:
        wait_until(lambda: ASKED_AT.search(log.read_text()) or process.poll() is not None)
        found = ASKED_AT.search(log.read_text())
        assert found is not None, log.read_text()
        yield Running(process, 0, int(found[1]), [], iter(()), log)
    finally:
        process.kill()
        process.wait()


@pytest.mark.heavy
def test_how_rows_of_a_stream_stand_is_asked_of_who_makes_them(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    """By itself, and beside a server whose settings name the stream."""
    definitions = writer(tmp_path)(**project())
    one, alone, beside = (tmp_path / name for name in ("one", "alone", "beside"))
    for data in (one, alone, beside):
        publish(data, definitions)
    with nats_servers(tmp_path / "nats") as servers:
        url = servers.url("events")
        sender = serve(
            data=one, environment={"FANION_SHIPPING_URL": url, "FANION_SHIPPING_INTERVAL_S": "0.1"}
        )
        assert sender.ask("POST", "/fanion/v1/events", {"events": events()}, key=KEY).status == 200
        wait_until(lambda: metric(sender, "fanion_shipping_records_total") == 1)
        settings = {"FANION_PIPELINE_URL": url, "FANION_SHIPPING_AGAIN_S_MAX": "0.2"}
        server = serve("--pipeline", data=beside, environment=settings)
        with making(alone, url) as by_itself:
            both = (by_itself, server)
            for asked in both:
                wait_until(lambda asked=asked: metric(asked, "fanion_pipeline_rows_total") == len(events()))
                assert metric(asked, "fanion_pipeline_records_total") == 1
                assert metric(asked, "fanion_pipeline_contact_timestamp_seconds") > 1e9
                wait_until(lambda asked=asked: asked.operations("/readyz").json()["ready"])
                assert asked.operations("/healthz").status == 200
            servers.kill()
            for asked in both:
                wait_until(lambda asked=asked: metric(asked, "fanion_pipeline_failing") == 1)
                assert metric(asked, "fanion_pipeline_faults_total") > 0
            wait_until(lambda: by_itself.operations("/readyz").status == 503)
            (reason,) = by_itself.operations("/readyz").json()["reasons"]
            assert reason.startswith("pipeline: ")
            wait_until(lambda: "pipeline: " in notes(server))
            assert server.operations("/readyz").status == 200
            servers.start()
            for asked in both:
                wait_until(lambda asked=asked: metric(asked, "fanion_pipeline_failing") == 0)
                wait_until(lambda asked=asked: asked.operations("/readyz").status == 200)
            by_itself.process.send_signal(signal.SIGTERM)
            assert by_itself.process.wait(120) == 0
        assert server.stop() == 0
        assert (
            f"{len(events())} rows in 1 file"
            == done("pipeline", "--once", "--from", url, "--data", beside).strip()
        )


def test_an_address_to_be_asked_at_is_for_rows_that_are_made_on_and_on(tmp_path: Path) -> None:
    for more in ((), ("--once", "--from", "nats://127.0.0.1:1/s")):
        told = CliRunner().invoke(
            group, ["pipeline", "--data", str(tmp_path), "--operations-port", "0", *more]
        )
        assert told.exit_code == 2, told.output
        assert "--operations-port is for rows of a stream" in told.output
