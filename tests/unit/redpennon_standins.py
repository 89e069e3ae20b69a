"""Red Pennon's dialect with stand-ins for every other part of a worker: bundle, keys, journal, windows, users."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.source import FORMAT
from fanion.dialects.redpennon.routes import DIALECT
from fanion.dialects.wire.services import Services
from fanion.engine.evaluator import open_environment
from fanion.model.api_key import KeyRecord
from fanion.model.signing import SigningKeys
from tests.unit.http_standins import (
    Answered,
    Caller,
    FakeCounters,
    FakeJournal,
    FakeLimiter,
    FakeSnapshots,
    FakeWindow,
    View,
)

KEY = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a10"
CLIENT_KEY = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a11"


def make_bundle(organisation: dict[str, Any], **members: Any) -> Any:
    targeting = {"targeting": "on", "default_variation": "a"}
    feature = {
        "variables": {"v": {"type": "string"}},
        "variations": {"a": {"v": "A"}, "b": {"v": "B"}},
        "environments": {"production": targeting},
        **members,
    }
    shown = {**feature, "variables": {"shown": {"type": "string"}}, "client_safe": True}
    shown["variations"] = {"a": {"shown": "S"}}
    document = {"redpennon": 1, "environments": ["production"], "features": {"f": feature, "g": shown}}
    report, builder = Report(), Builder("env", {"redpennon": {}}, "production")
    source = SourceFile("f.json", json.dumps(document).encode())
    parsed = FORMAT.parse(source, report)
    assert parsed is not None, report.problems
    FORMAT.lower(parsed, source, builder, report)
    builder.documents["organisation"] = msgspec.json.encode({"id": "org", **organisation})
    return open_environment("env", compile_bundle(builder.finish(), {DIALECT.name: DIALECT.render}))


class Snapshot:
    def __init__(self, bundle: Any, keys: SigningKeys | None) -> None:
        self.number = 1
        self.signing_keys = keys
        self.views = {"env": View({"redpennon": DIALECT.bind(bundle)})}
        self.keys = {
            KEY.encode(): KeyRecord(id="k", environment="env", organisation="org", kind="server"),
            CLIENT_KEY.encode(): KeyRecord(id="c", environment="env", organisation="org", kind="client"),
        }

    def key(self, raw_key: bytes) -> KeyRecord | None:
        return self.keys.get(raw_key)

    known_key = key

    def view(self, environment: str) -> Any:
        return self.views.get(environment)

    def sign_with(self, keys: SigningKeys | None) -> None:
        """The next generation, with other keys."""
        self.number += 1
        self.signing_keys = keys


class FakeUsers:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.error: Exception | None = None
        self.full = False

    def admit(self, organisation: str, user: str, cap: int) -> bool:
        if self.error is not None:
            raise self.error
        self.asked.append((organisation, user, cap))
        return not self.full


class World:
    """One worker's dialect with every part at hand."""

    def __init__(
        self, organisation: dict[str, Any] | None = None, config: Config | None = None, signed: bool = True
    ) -> None:
        self.bundle = make_bundle(organisation or {"plan": "enterprise"})
        snapshots: Any = FakeSnapshots()
        snapshots.snapshot = Snapshot(self.bundle, SigningKeys(b"k" * 32) if signed else None)
        self.snapshot = snapshots.snapshot
        self.journal, self.limiter = FakeJournal(), FakeLimiter()
        self.event_ids, self.replays, self.users = FakeWindow(), FakeWindow(), FakeUsers()
        self.services = Services(
            config or Config(),
            snapshots,
            self.journal,
            self.limiter,
            FakeCounters(),
            self.event_ids,
            self.replays,
            self.users,
        )
        self.caller = Caller(self.services, (DIALECT,))

    def ask(self, path: str, document: Any, key: str = KEY) -> Answered:
        body = msgspec.json.encode(document)
        return self.caller.call("POST", path, body, {"x-api-key": key}, key=None)

    def one(self, user: Any = None, key: str = KEY, variable: str = "v") -> Answered:
        return self.ask(f"/v1/variables/{variable}", {"user": user}, key)

    def send(self, *events: Any, key: str = KEY) -> Answered:
        return self.ask("/v1/events", {"events": list(events)}, key)


def event(**changes: Any) -> dict[str, Any]:
    return {"event": "buy", "variable": "v", "variation": "a", **changes}
