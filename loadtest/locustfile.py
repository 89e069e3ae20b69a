"""An SDK-like mix against the demo world.

    fanion serve --demo &
    locust -f loadtest/locustfile.py --headless -u 50 -r 50 -t 30s -H http://127.0.0.1:8080

`python -m loadtest.mix` starts a server itself and says what became of it; it names a file by LOADTEST_FAILURES, to
which each failed request is added with its time.

Locust shows behaviour under a mix: failures, tails, what a publish or a restart does to clients. It can't show
capacity: one Python client saturates long before the server; that is what `bench/http_ratio.py` is for.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

from locust import FastHttpUser, between, constant_pacing, events, task

from loadtest.data import FEATHER_FLAGS, People

_seeds = itertools.count(1)


@events.request.add_listener
def note_failure(name: str, exception: object = None, response: Any = None, **_: object) -> None:
    """`status`: 0 where there was no answer."""
    place = os.environ.get("LOADTEST_FAILURES")
    if exception is None or place is None:
        return
    status = getattr(response, "status_code", 0) or 0
    line = json.dumps({"at": time.time(), "name": name, "status": status, "what": str(exception)[:200]})
    with Path(place).open("a") as file:
        file.write(line + "\n")


class FeatherServerSdk(FastHttpUser):
    """A backend: many small evaluations, bulk at page starts, telemetry in batches."""

    weight = 6
    default_headers: ClassVar = {"Authorization": "Bearer sk_demo_server"}
    wait_time = between(0.005, 0.05)

    def on_start(self) -> None:
        self.people = People(next(_seeds))

    @task(6)
    def evaluate(self) -> None:
        body = {"flagKey": self.people.r.choice(FEATHER_FLAGS), "context": self.people.feather_context()}
        self.client.post("/v1/evaluate", json=body)

    @task(3)
    def bulk(self) -> None:
        body = {"flags": FEATHER_FLAGS, "context": self.people.feather_context()}
        self.client.post("/v1/evaluate/bulk", json=body)

    @task(1)
    def telemetry(self) -> None:
        self.client.post("/v1/telemetry/events", json=self.people.feather_events(100))


class FeatherBrowser(FastHttpUser):
    """A page with a publishable key: the context once, then a bulk evaluation now and then."""

    weight = 3
    default_headers: ClassVar = {"Authorization": "Bearer pk_demo_client", "Origin": "https://shop.example"}
    wait_time = constant_pacing(1)

    def on_start(self) -> None:
        self.people = People(next(_seeds))
        self.client.get("/v1/sdk/context")

    @task(4)
    def bulk(self) -> None:
        body = {"flags": FEATHER_FLAGS[:2], "context": self.people.feather_context()}
        self.client.post("/v1/evaluate/bulk", json=body)

    @task(1)
    def telemetry(self) -> None:
        self.client.post("/v1/telemetry/events", json=self.people.feather_events(5))


class TrafficalSdk(FastHttpUser):
    """A server-side SDK in bundle mode: polls its config with the tag it has, sends small event batches."""

    weight = 3
    default_headers: ClassVar = {"Authorization": "Bearer traffical_sk_demo"}
    wait_time = between(0.02, 0.2)

    def on_start(self) -> None:
        self.people = People(next(_seeds))
        self.tag = ""

    @task(1)
    def config(self) -> None:
        headers = {"If-None-Match": self.tag} if self.tag else {}
        with self.client.get(
            "/v1/config/proj_marketplace?env=production",
            headers=headers,
            name="/v1/config/[project]",
            catch_response=True,
        ) as response:
            if response.status_code in (200, 304):
                self.tag = response.headers.get("ETag", self.tag)
                response.success()

    @task(3)
    def resolve(self) -> None:
        body = {"context": {"userId": self.people.user()}, "env": "production"}
        self.client.post("/v1/resolve", json=body)

    @task(2)
    def events(self) -> None:
        self.client.post("/v1/events/batch", json=self.people.traffical_events(10))


class Tracker(FastHttpUser):
    """A page that tells what its user saw and did."""

    weight = 2
    default_headers: ClassVar = {"Authorization": "Bearer neutral_demo_client"}
    wait_time = between(0.02, 0.2)

    def on_start(self) -> None:
        self.people = People(next(_seeds))

    @task
    def events(self) -> None:
        self.client.post("/fanion/v1/events", json=self.people.neutral_events(10))


class RedPennonSdk(FastHttpUser):
    """A thin client: one variable at a time, the trace sent back with an event now and then."""

    weight = 3
    default_headers: ClassVar = {"X-API-Key": "00000000-0000-0000-0000-000000000000"}
    wait_time = between(0.01, 0.1)

    def on_start(self) -> None:
        self.people = People(next(_seeds))

    @task(5)
    def variable(self) -> None:
        body = {"user": {"id": self.people.user()}}
        self.client.post("/v1/variables/show-banner", json=body, name="/v1/variables/[key]")

    @task(2)
    def variables(self) -> None:
        body = {"keys": ["show-banner", "checkout-flow"], "user": {"id": self.people.user()}}
        self.client.post("/v1/variables", json=body)

    @task(1)
    def evaluate_then_track(self) -> None:
        user = {"id": self.people.user()}
        found = self.client.post(
            "/v1/variables/checkout-flow", json={"user": user}, name="/v1/variables/[key]"
        )
        answer = found.json() if found.status_code == 200 else {}
        event = {
            "event": "purchase",
            "variable": "checkout-flow",
            "variation": answer.get("variation") or "control",
            "user": user,
            "value": 49.9,
            "evaluation_trace": answer.get("evaluation_trace"),
        }
        self.client.post("/v1/events", json={"events": [event]})


class StitchdService(FastHttpUser):
    """A service that evaluates, checks list membership and reports metric events."""

    weight = 3
    default_headers: ClassVar = {"x-sdk-key": "sdk_live_demo"}
    wait_time = between(0.01, 0.1)
    base = "/v1/environments/5b1f6a52-0000-4000-8000-000000000001"

    def on_start(self) -> None:
        self.people = People(next(_seeds))

    def send(self, route: str, body: object) -> None:
        self.client.post(f"{self.base}/{route}", json=body, name=f"/v1/environments/[id]/{route}")

    @task(4)
    def evaluate(self) -> None:
        subject = {"context_type": "user", "context_key": self.people.user()}
        self.send("evaluate", {"flag_key": "my-flag", **subject, "attributes": {"plan": "pro"}})

    @task(2)
    def list_check(self) -> None:
        subject = {"context_type": "user", "context_key": self.people.user()}
        self.send("segments/list-check", {"segment_key": "beta-users", **subject})

    @task(2)
    def events(self) -> None:
        subject = {"context_type": "user", "context_key": self.people.user()}
        event = {"metric_key": "button_click", **subject, "value": True}
        self.send("events/batch", {"events": [event] * 10})
