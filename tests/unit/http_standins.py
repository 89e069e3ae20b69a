"""Plain stand-ins for a worker's parts, and a caller that speaks ASGI to the application without a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from fanion.config import Config
from fanion.dialects.feather.routes import DIALECT
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.services import Services
from fanion.http.asgi import Handle
from fanion.http.entrance import by_asgi
from fanion.http.request import BodyWatch
from fanion.model.api_key import KeyRecord

SERVER_KEY = b"sk_demo_server"
CLIENT_KEY = b"pk_demo_client"


class FakeBundle:
    """Flag key -> (fragment, client_safe); answers like the core, from a dict."""

    environment = "production"
    absent = b'"value":null,"reason":"FLAG_NOT_FOUND"'

    def __init__(self) -> None:
        self.identifiers = {"feather": {"environment": "env_01hx", "organisation": "org_01hx"}}
        self.flags: dict[str, tuple[bytes, bool]] = {
            "open": (b'"value":true,"reason":"DEFAULT"', True),
            "hidden": (b'"value":"x","reason":"RULE_MATCH","ruleId":"r1","variant":"b"', False),
        }
        self.asked: list[tuple[Any, Any]] = []

    def table(self, name: str) -> int:
        return 0 if name == "feather" else -1

    def _fragment(self, key: str, client: bool) -> bytes:
        fragment, safe = self.flags.get(key, (self.absent, True))
        return fragment if safe or not client else self.absent

    def ask(self, members: Any, attributes: Any, contexts: Any) -> FakeBundle:
        self.asked.append((members, attributes))
        return self

    def put_one(
        self,
        table: int,
        key: str,
        client: bool,
        members: Any,
        attributes: Any,
        contexts: Any,
        prefix: bytes,
        suffix: bytes,
    ) -> bytes:
        self.asked.append((members, attributes))
        return prefix + self._fragment(key, client) + suffix

    def put_map(
        self,
        table: int,
        keys: list[str],
        client: bool,
        members: Any,
        attributes: Any,
        contexts: Any,
        prefix: bytes,
        suffix: bytes,
    ) -> bytes:
        self.asked.append((members, attributes))
        entries = [
            msgspec.json.encode(key) + b":{" + self._fragment(key, client) + b"}"
            for key in dict.fromkeys(keys)
        ]
        return prefix + b",".join(entries) + suffix


class NoLists:
    """Of a bundle that isn't real nothing is prepared."""

    def take(self, body: bytes, client: bool) -> None:
        return None


class View:
    def __init__(self, bound: dict[str, Any]) -> None:
        self.bound = bound


class FakeSnapshot:
    def __init__(self, number: int = 1, bundle: FakeBundle | None = None) -> None:
        self.number = number
        self.confirmed_at = time.monotonic()
        self.keys = {
            SERVER_KEY: KeyRecord(id="key_1", environment="production", organisation="acme", kind="server"),
            CLIENT_KEY: KeyRecord(id="key_2", environment="production", organisation="acme", kind="client"),
            b"sk_other": KeyRecord(id="key_3", environment="empty", organisation="acme", kind="server"),
            b"sk_traffical": KeyRecord(
                id="key_4",
                environment="production",
                organisation="acme",
                kind="server",
                dialects=("traffical",),
            ),
            b"sk_events": KeyRecord(
                id="key_5", environment="production", organisation="acme", kind="server", scopes=("events",)
            ),
        }
        at: Any = DIALECT.bind(bundle or FakeBundle())  # type: ignore[arg-type]
        at.lists = NoLists()
        self.views = {"production": View({"feather": at})}

    def key(self, raw_key: bytes) -> KeyRecord | None:
        return self.keys.get(raw_key)

    known_key = key

    def view(self, environment: str) -> View | None:
        return self.views.get(environment)


class FakeSnapshots:
    def __init__(self) -> None:
        self.snapshot = FakeSnapshot()
        self.error: Exception | None = None

    def current(self) -> FakeSnapshot:
        if self.error is not None:
            raise self.error
        return self.snapshot


class FakeJournal:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.full: Exception | None = None
        self.sync_error: Exception | None = None

    def append(self, **record: Any) -> int:
        if self.full is not None:
            raise self.full
        self.records.append(record)
        return len(self.records)

    def durable(self, sequence: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.sync_error is None:
            future.set_result(None)
        else:
            future.set_exception(self.sync_error)
        return future


class FakeLimiter:
    def __init__(self) -> None:
        self.wait_s = 0.0
        self.taken: list[int] = []

    def take(self, scope: int, rate_per_s: float, burst: int, cost: int = 1) -> float:
        self.taken.append(scope)
        return self.wait_s


class FakeCounters:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def answered(self, dialect: str, endpoint: str, status: int) -> None:
        self.seen.append((dialect, endpoint, status))


class FakeReservation:
    """`end`: the sequence that it was committed with, or "released"."""

    def __init__(self, window: FakeWindow, ids: list[Any]) -> None:
        self.window, self.ids = window, ids
        seen = set(window.known)
        found = bytearray()
        for id in ids:
            found.append(2 if id is not None and id in seen else 0)
            seen.add(id)
        self.dispositions = bytes(found)
        self.hashes = b"".join(str(id).encode()[:16].ljust(16, b".") for id in ids)
        self.end: int | str | None = None

    def commit(self, sequence: int) -> None:
        assert self.end is None
        self.end = sequence
        self.window.known.update(id for id in self.ids if id is not None)

    def release(self) -> None:
        assert self.end is None
        self.end = "released"


class FakeWindow:
    """Ids that were kept, per scope, in a set."""

    ready = True

    def __init__(self) -> None:
        self.known: set[Any] = set()
        self.made: list[FakeReservation] = []
        self.settled = 0
        self.error: Exception | None = None
        self.settle_error: Exception | None = None

    def reserve(self, scope: bytes, ids: list[Any]) -> FakeReservation:
        if self.error is not None:
            raise self.error
        self.made.append(FakeReservation(self, [None if id is None else (scope, id) for id in ids]))
        return self.made[-1]

    async def settle(self, reservation: Any) -> None:
        if self.settle_error is not None:
            raise self.settle_error
        self.settled += 1


def make_services(config: Config | None = None) -> Services:
    return Services(config or Config(), FakeSnapshots(), FakeJournal(), FakeLimiter(), FakeCounters())


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Caller:
    """One worker's application with its parts at hand; each `call` runs its own event loop turn."""

    def __init__(self, services: Services | None = None, dialects: Sequence[Dialect] = (DIALECT,)) -> None:
        self.services = services or make_services()
        self.dialects = dialects
        self.received = 0

    @property
    def parts(self) -> Any:
        """The services, without their protocols."""
        return self.services

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: dict[str, str] | Sequence[tuple[str, str]] | None = None,
        *,
        key: bytes | None = SERVER_KEY,
        client: str = "127.0.0.1",
        before_end: Callable[[], None] | None = None,
        stall: bool = False,
    ) -> Answered:
        pairs = [("host", "fanion.test"), *(headers.items() if isinstance(headers, dict) else headers or ())]
        pieces = [body] if isinstance(body, bytes) else list(body)
        if key is not None:
            pairs.append(("authorization", f"Bearer {key.decode()}"))
        if isinstance(body, bytes) and body and not any(name == "content-length" for name, _ in pairs):
            pairs.append(("content-length", str(len(body))))
        return asyncio.run(self._call(method, path, pieces, pairs, client, before_end, stall))

    async def _call(
        self,
        method: str,
        path: str,
        pieces: list[bytes],
        pairs: list[tuple[str, str]],
        client: str,
        before_end: Callable[[], None] | None,
        stall: bool,
    ) -> Answered:
        watch = BodyWatch(asyncio.get_running_loop(), self.services.config.limits)
        watch.start()
        handle: Handle = by_asgi(self.services, self.dialects, watch)
        sent: list[dict[str, Any]] = []
        left = list(pieces)
        self.received = 0

        async def receive() -> dict[str, Any]:
            self.received += 1
            if left:
                if before_end is not None and len(left) == 1:
                    before_end()
                return {"type": "http.request", "body": left.pop(0), "more_body": True}
            if stall:
                await asyncio.get_running_loop().create_future()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "raw_path": raw_path.encode(),
            "path": raw_path,
            "query_string": query.encode(),
            "client": (client, 50_000),
            "headers": [(name.encode(), value.encode()) for name, value in pairs],
        }
        await asyncio.get_running_loop().create_task(handle(scope, receive, send))
        watch.stop()
        start, *bodies = sent
        assert not watch.waiting
        return Answered(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in bodies),
        )
