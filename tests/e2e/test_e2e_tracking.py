"""Events of OpenFeature's clients at a real server: `FanionProvider.track` and its exposures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from fanion.openfeature import FanionProvider
from fanion.tracking import Counts
from tests.e2e.server import Running, publish, run, start
from tests.unit.ofrep_world import FOLDER, SERVER

DOMAIN = "tracking"
USER = EvaluationContext("user-1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    data = tmp_path_factory.mktemp("tracking") / "data"
    publish(data, FOLDER / "world.yaml")
    running = start(data.with_name("log"), "--workers", "1", data=data)
    yield data, running
    assert running.stop() == 0


def provide(
    served: tuple[Path, Running], key: str = SERVER, **members: Any
) -> tuple[FanionProvider, OpenFeatureClient]:
    data, running = served
    url = f"http://127.0.0.1:{running.port}"
    provider = FanionProvider(data, "env_ofrep", events_url=url, events_key=key, **members)
    api.set_provider_and_wait(provider, DOMAIN)
    return provider, api.get_client(DOMAIN)


def sources(data: Path, kind: str) -> list[dict[str, Any]]:
    printed = run(["journal", "cat", "--data", str(data), "--dialect", "neutral"]).stdout.splitlines()
    events = [line.get("event", line) for line in map(json.loads, printed)]
    return [event["source"] for event in events if event["kind"] == kind]


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def test_what_is_tracked_is_in_the_journal_once(served: tuple[Path, Running]) -> None:
    provider, client = provide(served)
    details = TrackingEventDetails(9.5, {"sku": "a", "n": 1, "on": True, "list": (1, {"day": 2})})
    details.attributes["date"] = date(2026, 11, 28)  # type: ignore[assignment]
    client.track("purchase", USER, details)
    client.track("visit", USER)
    client.track("nobody's")
    api.clear_providers()
    assert provider.tracked == Counts(accepted=2, unsendable=1)
    purchase, visit = sources(served[0], "metric")
    own = {"type": "metric", "unit": {"kind": "targetingKey", "id": "user-1"}}
    assert without(visit, "id", "time") == {**own, "metric": "visit"}
    properties = {"sku": "a", "n": 1, "on": True, "list": [1, {"day": 2}], "date": "2026-11-28"}
    assert without(purchase, "id", "time") == {
        **own,
        "metric": "purchase",
        "value": 9.5,
        "properties": properties,
    }
    assert purchase["id"] != visit["id"]


def test_exposures_are_told_where_they_are_asked_for_once_a_unit(served: tuple[Path, Running]) -> None:
    provider, client = provide(served, exposures=True, unit_kind="userId")
    for _ in range(3):
        client.get_boolean_value("plain", False, USER)
    client.get_object_value("settings", {}, USER)
    client.get_boolean_value("nothing", False, USER)
    client.get_boolean_value("plain", False)
    api.clear_providers()
    assert provider.tracked == Counts(accepted=2)
    plain, settings = sources(served[0], "exposure")
    own = {"type": "exposure", "unit": {"kind": "userId", "id": "user-1"}, "reason": "STATIC"}
    assert without(plain, "id", "time") == {**own, "flag": "plain", "variant": "on", "value": True}
    assert without(settings, "id", "time", "variant") == {**own, "flag": "settings"}


def test_a_key_that_opens_nothing_is_told_and_never_raised(served: tuple[Path, Running]) -> None:
    provider, client = provide(served, key="nobody's", exposures=True)
    assert client.get_boolean_value("plain", False, USER) is True
    client.track("purchase", USER)
    api.clear_providers()
    assert provider.tracked.refused == 2
    assert "401" in provider.tracking_problem
    assert "nobody's" not in provider.tracking_problem


def test_without_an_address_nothing_is_tracked(served: tuple[Path, Running]) -> None:
    provider = FanionProvider(served[0], "env_ofrep")
    provider.track("purchase", USER)
    assert (provider.tracked, provider.get_provider_hooks()) == (Counts(), [])
    with pytest.raises(ValueError, match="events_url"):
        FanionProvider(served[0], "env_ofrep", exposures=True)
    with pytest.raises(ValueError, match="events_url"):
        FanionProvider(served[0], "env_ofrep", events_url="http://localhost")
