"""An SDK-like mix against the demo world.

    fanion serve --demo &
    locust -f loadtest/locustfile.py --headless -u 50 -r 50 -t 30s -H http://127.0.0.1:8080

Locust shows behaviour under a mix: failures, tails, what a publish or a restart does to clients. It can't show
capacity: one Python client saturates long before the server; that is what `bench/http_ratio.py` is for.
"""

from __future__ import annotations

import itertools

from locust import FastHttpUser, between, constant_pacing, task

from loadtest.data import FEATHER_FLAGS, People

_seeds = itertools.count(1)


class FeatherServerSdk(FastHttpUser):
    """A backend: many small evaluations, bulk at page starts, telemetry in batches."""

    weight = 6
    wait_time = between(0.005, 0.05)

    def on_start(self) -> None:
        self.people = People(next(_seeds))
        self.client.default_headers = {"Authorization": "Bearer sk_demo_server"}

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
    wait_time = constant_pacing(1)

    def on_start(self) -> None:
        self.people = People(next(_seeds))
        self.client.default_headers = {
            "Authorization": "Bearer pk_demo_client",
            "Origin": "https://shop.example",
        }
        self.client.get("/v1/sdk/context")

    @task(4)
    def bulk(self) -> None:
        body = {"flags": FEATHER_FLAGS[:2], "context": self.people.feather_context()}
        self.client.post("/v1/evaluate/bulk", json=body)

    @task(1)
    def telemetry(self) -> None:
        self.client.post("/v1/telemetry/events", json=self.people.feather_events(5))
