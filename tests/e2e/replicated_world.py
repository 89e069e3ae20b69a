"""Who sends to a server whose answers wait for a stream, and what that stream has."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import secrets
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from fanion.config.shipping import Shipping
from fanion.nats.connection import Access
from fanion.shipping.stream import Stream
from tests.crash.receivers import NatsServers
from tests.e2e.server import Answer, Running
from tests.e2e.test_e2e_feather import event

TELEMETRY, NEUTRAL = "/v1/telemetry/events", "/fanion/v1/events"


def replicated(url: str, **more: str) -> dict[str, str]:
    """A server's settings."""
    return {
        "FANION_JOURNAL_ACK": "replicated",
        "FANION_SHIPPING_URL": url,
        "FANION_SHIPPING_TIMEOUT_S": "3",
        "FANION_SHIPPING_CHECK_S": "2",
        **more,
    }


def with_id(marker: str) -> dict[str, Any]:
    return {"type": "metric", "id": marker, "unit": {"kind": "userId", "id": marker}, "metric": "orders"}


def send(running: Running, markers: list[str], *, ids: bool) -> Answer:
    events = [with_id(marker) if ids else event(ruleId=marker) for marker in markers]
    return running.ask("POST", NEUTRAL if ids else TELEMETRY, {"events": events})


class Content:
    """What the stream has, as one text; read on from where it was."""

    def __init__(self, servers: NatsServers, name: str) -> None:
        self._settings = Shipping(url=servers.url(name), timeout_s=20)
        self._next, self._text = 1, b""

    def lacks(self, markers: set[str]) -> set[str]:
        """Those of them that it has not. Raises FanionError."""
        stream = Stream(self._settings, Access(), create=False)
        try:
            last = stream.extent().last
            while self._next <= last:
                places = range(self._next, min(self._next + 16, last + 1))
                self._text += b"".join(each or b"" for each in stream.messages(places))
                self._next = places[-1] + 1
        finally:
            stream.close()
        return {marker for marker in markers if f'"{marker}"'.encode() not in self._text}


class Client(threading.Thread):
    """Sends until told to end; what has ids, until it was acknowledged."""

    def __init__(self, running: Running, *, ids: bool) -> None:
        super().__init__(daemon=True)
        self._running, self._ids = running, ids
        self._ending = threading.Event()
        self.acknowledged: set[str] = set()
        self.taken = 0
        self.statuses: Counter[int | str] = Counter()

    def run(self) -> None:
        for number in itertools.count():
            markers = [f"m{number}-{n}-{secrets.token_hex(6)}" for n in range(1 + number % 3)]
            while not self._ending.wait(0.01) and not self._send(markers) and self._ids:
                pass
            if self._ending.is_set():
                return

    def end(self) -> None:
        self._ending.set()
        self.join()

    def _send(self, markers: list[str]) -> bool:
        answer = None
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = send(self._running, markers, ids=self._ids)
        status = 0 if answer is None else answer.status
        self.statuses[status] += 1
        if status in (200, 202):
            self.acknowledged.update(markers)
            self.taken += 1
        return status in (200, 202)


def remove(data: Path) -> None:
    """A machine whose disk is gone."""
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    data.rmdir()
