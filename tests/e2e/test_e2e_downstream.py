"""Events of real servers, shipped to one stream: rows and results that another machine makes of it are those made
beside the journal, and what came to two machines counts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.crash.receivers import nats_servers
from tests.e2e.server import Running, publish, wait_until
from tests.e2e.test_e2e_machines import done, metric
from tests.unit.native_files import flag, writer

KEY = "sk_downstream_e2e"
UNITS = 40

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
