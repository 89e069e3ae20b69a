"""The world of OFREP's golden cases, in process: its environments compiled, its keys, its lists in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fanion import app
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.definitions import Loaded, load
from fanion.dialects import served, vocabulary
from fanion.dialects.wire.services import Services
from fanion.engine.evaluator import open_environment
from fanion.model.api_key import KeyRecord, hash_key
from tests.unit.http_standins import (
    Answered,
    Caller,
    FakeCounters,
    FakeJournal,
    FakeLimiter,
    FakeSnapshots,
    View,
)

FOLDER = Path(__file__).parents[1] / "golden" / "ofrep"
SERVER, CLIENT, ORDERED = "ofrep_server_key", "ofrep_client_key", "ofrep_ordered_key"
FLAGS = "/ofrep/v1/evaluate/flags"


class WorldSnapshot:
    """One publication as a worker serves it, through every API."""

    def __init__(self, loaded: Loaded) -> None:
        self.number, self.confirmed_at, self.signing_keys = 1, 0.0, None
        self.records = {key.hash: key.record for key in loaded.keys}
        self.lists = {one.name: frozenset(one.members) for one in loaded.lists}
        self.views: dict[str, View] = {}
        self.contents: dict[str, bytes] = {}
        self.lowered = {one.environment: one for one in loaded.environments}
        for lowered in loaded.environments:
            renderers = {k: v for k, v in app.renderers().items() if k in lowered.identifiers}
            buffer = compile_bundle(lowered, renderers)
            bundle = open_environment(lowered.environment, buffer, self.holds)
            self.views[lowered.environment] = View({one.name: one.bind(bundle) for one in served()})
            self.contents[lowered.environment] = hashlib.sha256(buffer).digest()

    def holds(self, name: str, member: str) -> bool:
        return member in self.lists.get(name, ())

    def key(self, raw_key: bytes) -> KeyRecord | None:
        return self.records.get(hash_key(raw_key))

    known_key = key

    def view(self, environment: str) -> View | None:
        return self.views.get(environment)

    def content(self, environment: str) -> bytes:
        return self.contents[environment]

    def member(self, environment: str, name: str, member: bytes) -> bool:
        return self.holds(name, member.decode())


def make_caller(*paths: Path, config: Config | None = None) -> Caller:
    snapshots: Any = FakeSnapshots()
    snapshots.snapshot = WorldSnapshot(load(list(paths) or [FOLDER / "world.yaml"], vocabulary()))
    services = Services(config or Config(), snapshots, FakeJournal(), FakeLimiter(), FakeCounters())
    return Caller(services, served())


def post(caller: Caller, path: str, body: bytes, key: str | None = SERVER, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.call("POST", path, body, named, key=None if key is None else key.encode())
