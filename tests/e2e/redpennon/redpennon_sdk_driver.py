"""Run by the Python that has the published `redpennon` package: drives its client and prints what it got as JSON.

python redpennon_sdk_driver.py BASE_URL KEY SUSPENDED_KEY
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from redpennon import APIError, Client, EventPayload, UserContext


def error(call: Any) -> dict[str, Any]:
    try:
        call()
    except APIError as refused:
        return {"status": refused.status_code, "message": refused.message, "code": refused.code}
    return {}


def main(base_url: str, key: str, suspended: str) -> None:
    user = UserContext(
        id="sdk-user",
        email="sdk@example.org",
        organisation_id="acme",
        ip="10.0.0.1",
        audiences=["beta"],
        app_version="1.2.3",
        platform="web",
        country="DE",
        custom_data={"plan": "pro", "tags": ["a", "b"]},
    )
    out: dict[str, Any] = {}
    with Client(api_key=key, base_url=base_url + "/", timeout=100) as client:
        single = client.variable("checkout-flow", user=user)
        out["single"] = asdict(single)
        out["anonymous"] = asdict(client.variable("Checkout-Flow"))
        keys = ["weird/key", "a b", "q?x=1", "p%2Fq", "café"]
        out["keys"] = {name: client.variable_value(name, default="default") for name in keys}
        out["unknown"] = client.variable_value("no-such-key", default="default")
        batch = client.variables(["plain", "no-such-key", "Off"], user=user)
        out["batch"] = {name: asdict(result) for name, result in batch.items()}
        out["values"] = client.variables_values({"plain": 0, "off": 1, "t-json": 2}, user=user)
        event = EventPayload(
            event="sdk-purchase",
            variable="checkout-flow",
            variation=single.variation or "",
            user=user,
            value=12.5,
            occurred_at="2026-02-01T10:30:00Z",
            evaluation_trace=single.evaluation_trace,
            event_id="sdk-1",
        )
        out["tracked"] = asdict(client.track_events([event, EventPayload("sdk-view", "plain", "control")]))
        out["tracked_again"] = asdict(client.track_events([event]))
        out["tracked_none"] = asdict(client.track_events([]))
        out["bad_event"] = error(lambda: client.track_events([EventPayload("", "plain", "control")]))
    with Client(api_key="not-a-key", base_url=base_url, timeout=100) as client:
        out["unauthorised"] = error(lambda: client.variable("plain"))
        out["unauthorised_value"] = client.variable_value("plain", default="default")
    with Client(api_key=suspended, base_url=base_url, timeout=100) as client:
        out["suspended"] = error(lambda: client.variables(["plain"]))
        out["suspended_values"] = client.variables_values({"plain": "default"})
    print(json.dumps(out))


main(*sys.argv[1:])
