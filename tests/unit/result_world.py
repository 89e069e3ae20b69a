"""The demo experiment: 20,000 units, two flags, two APIs for what they do after, and all that goes wrong.

`copy` converts 30 % of its control and 35 % of its treatment, at different rates before and after the shares were
changed; `banner` does nothing. Units are exposed by their digest and convert by their id, half of them through an
API whose events have no id and name the variation; clocks are off by up to two minutes, retries come late.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from tests.unit.native_files import flag
from tests.unit.result_rows import Row

S = 1_000_000
DAY = 86_400 * S
START = 1_772_323_200 * S  # 2026-03-01
CHANGED = START + 7 * DAY
END = START + 14 * DAY
ENVIRONMENT = "env_e"
SHARES = {"control": 50, "treatment": 50}, {"control": 30, "treatment": 70}
LIFT = {"copy": 0.05, "banner": 0.0}
VARIANTS = [{"key": "control", "value": "a"}, {"key": "treatment", "value": "b"}]
METRICS: dict[str, Any] = {
    "paid": {"event": "purchase", "window_hours": 72},
    "orders": {"event": "purchase", "type": "count", "window_hours": 72, "cap": 3},
    "revenue": {"event": "purchase", "type": "sum", "window_hours": 72, "cap": 150},
    "basket": {"event": "purchase", "type": "mean"},
    "per-view": {"event": "purchase", "type": "ratio", "numerator": "count", "denominator_event": "view"},
    "errors": {"event": "client-error", "type": "count", "role": "guardrail", "direction": "decrease"},
}


def project(metrics: Iterable[str] = METRICS) -> dict[str, Any]:
    """Its definitions, members of a native project."""

    def experiment(key: str) -> dict[str, Any]:
        return {
            "flag": key,
            "control": "control",
            "exposure": "served",
            "start": "2026-03-01T00:00:00Z",
            "end": "2026-03-15T00:00:00Z",
            "units": ["userId", "user", "id"],
            "shares": SHARES[0],
            "runs": [{"start": "2026-03-08T00:00:00Z", "shares": SHARES[1]}],
            "pre_period_hours": 48,
            "metrics": {name: METRICS[name] for name in metrics},
        }

    flags = {key: flag(type="string", default_value="a", variants=VARIANTS) for key in LIFT}
    events = {"purchase": {"type": "double"}, "view": {}, "client-error": {"type": "count"}}
    return {"flags": flags, "events": events, "experiments": {key: experiment(key) for key in LIFT}}


def rows(units: int = 20_000, seed: int = 1) -> list[Row]:
    draw = random.Random(seed)
    made = [row for number in range(units) for row in _unit(draw, f"user-{number}")]
    made.sort(key=lambda row: row.get("received_at", row["event_at"]))
    return made


def _unit(draw: random.Random, unit: str) -> Iterator[Row]:
    at = START + draw.randrange(END - START - DAY)
    second = at >= CHANGED
    skew = draw.randrange(-120, 121) * S
    through_ids = draw.random() < 0.5
    chosen = {}
    for key in LIFT:
        share = SHARES[second]["treatment"] / 100
        chosen[key] = "treatment" if draw.random() < share else "control"
        told = {
            "kind": "served",
            "dialect": "feather",
            "flag": key,
            "unit_kind": "userId",
            "unit": hashlib.sha256(unit.encode()).hexdigest(),
            "unit_hashed": True,
            "time_from": "received",
            "attributes": json.dumps({"plan": draw.choice(["free", "pro"])}),
        }
        for day in range(draw.randrange(1, 4)):
            run = f"{key}-{'two' if at + day * DAY >= CHANGED else 'one'}"
            yield told | {"event_at": at + day * DAY, "variant": chosen[key], "run": run}
        if draw.random() < 0.003:
            yield told | {"event_at": at + DAY, "variant": "control", "run": f"{key}-two"}

    def happened(name: str, after: int, value: float | None = None, text: str | None = None) -> Iterator[Row]:
        """Once or several times; by the client's clock, which may be too far off to be believed."""
        event = {"kind": "metric", "unit": unit, "metric": name, "value": value, "value_text": text}
        received = at + after + draw.randrange(5 * S)
        sent = at + after + skew
        event |= {"received_at": received, "event_at": sent}
        if draw.random() < 0.01:
            event |= {"event_at": received, "time_from": "implausible"}
        if through_ids:
            event |= {"dialect": "stitchd", "unit_kind": "user", "event_id": f"{unit}/{draw.random()}"}
        else:
            variant = chosen["copy"] if draw.random() < 0.99 else "control"
            event |= {"dialect": "redpennon", "unit_kind": "id", "flag": "copy", "variant": variant}
            event["verified"] = draw.random() < 0.4
        yield event
        if through_ids and draw.random() < 0.1:
            yield event | {"received_at": received + S, "counts": False, "disposition": "duplicate"}
        if through_ids and draw.random() < 0.1:
            yield event | {"received_at": received + DAY}

    rate = (0.2 if not second else 0.4) + (LIFT["copy"] if chosen["copy"] == "treatment" else 0)
    regular = draw.random() < 0.3
    for _ in range(draw.randrange(1, 6)):
        yield from happened("view", draw.randrange(2 * DAY))
    if regular:
        yield from happened("purchase", -draw.randrange(DAY), draw.uniform(1, 100))
    if draw.random() < rate:
        for _ in range(draw.choice([1, 1, 1, 2, 5])):
            text = "n/a" if draw.random() < 0.01 else None
            value = None if text else draw.uniform(1, 100) + 30 * regular
            yield from happened("purchase", draw.randrange(3 * S, 4 * DAY), value, text)
    if draw.random() < 0.05:
        yield from happened("client-error", draw.randrange(DAY))
    if draw.random() < 0.01:
        yield {
            "kind": "metric",
            "unit": f"stranger-{unit}",
            "metric": "purchase",
            "event_at": at,
            "value": 5.0,
        }
