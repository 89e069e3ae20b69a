"""A client of OFREP's event streams that is no browser, and the small world that it follows."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from pathlib import Path
from typing import Any

from fanion.store.store import Store
from tests.e2e.server import Running

FLAGS = "/ofrep/v1/evaluate/flags"
SERVER, CLIENT, OTHER = "stream_server", "stream_client", "stream_other"
PERSON = {"context": {"targetingKey": "user-1"}}


def write_world(folder: Path, value: str = "first", other: str = "first", **key: Any) -> Path:
    """Two environments with a flag each. `key`: more of the client's key."""
    environments = {
        "production": {
            "id": "env_streams",
            "keys": [{"key": SERVER}, {"key": CLIENT, "kind": "client", **key}],
        },
        "other": {"id": "env_streams_other", "keys": [{"key": OTHER}]},
    }
    flag = {"type": "string", "client_safe": True, "default_value": "", "environments": {}}
    for name, said in (("production", value), ("other", other)):
        flag["environments"][name] = {"rules": [{"id": "all", "value": said}]}
    project = {"environments": environments, "flags": {"told": flag}}
    document = {"fanion": 1, "organisations": {"org_streams": {"projects": {"p": project}}}}
    path = folder / "streams.json"
    path.write_text(json.dumps(document))
    return path


def revoke_server_key(data: Path) -> None:
    with Store.open(data, write=True) as store:
        (id,) = {
            key.record.id
            for key in store.stored_keys()
            if key.record.environment == "env_streams" and key.record.kind == "server"
        }
        store.revoke_key(id)


def fetch(running: Running, key: str = CLIENT, **headers: str) -> tuple[int, dict[str, str], Any]:
    answer = running.ask("POST", FLAGS, PERSON, key=key, headers=headers)
    return answer.status, answer.headers, answer.json() if answer.body else None


def address(running: Running, key: str = CLIENT) -> str:
    """Of the key's stream."""
    (stream,) = fetch(running, key)[2]["eventStreams"]
    uri: str = stream["endpoint"]["requestUri"]
    return uri


class Follower:
    """One open stream, read by a thread. `events`: (id, data) of each message; `last_id` as a browser keeps it."""

    def __init__(self, running: Running, uri: str, last_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        self._connection.request("GET", uri, headers=headers)
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock
        self.answer = self._connection.getresponse()
        self.events: list[tuple[str, Any]] = []
        self.heartbeats = 0
        self.last_id = last_id
        self.retry_ms = 0
        self.greeted = threading.Event()
        self.ended_whole: bool | None = None
        """Whether the answer ended as HTTP has it; None while it is open."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        data = ""
        try:
            while line := self.answer.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "retry":
                    self.retry_ms = int(value)
                elif name == "data":
                    data = value
                elif line == ":\n":
                    self.heartbeats += 1
                elif line == "\n":
                    if data:
                        assert self.last_id is not None
                        self.events.append((self.last_id, json.loads(data)))
                        data = ""
                    self.greeted.set()
            self.ended_whole = True
        except (OSError, http.client.HTTPException, ValueError):
            self.ended_whole = False

    def close(self) -> None:
        """The client leaves."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(120)
        self.answer.close()
        self._connection.close()
