"""An endpoint whose answer stays open, as server-sent events: whoever asks is told when what its environment is
answered from has changed, and nothing else.

Such a request brings no API key, since a browser can't send a header with it; its address says whose it is. What
the address holds and how a notice is worded is the dialect's, who is told when is the server's
(`fanion.http.streams`). A state is `Snapshot.content` of the environment: a client that says which one it has is
told at once if another counts, on any worker and after any restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fanion.dialects.wire.reply import Head, HeaderList, Headers
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

SSE: HeaderList = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
"""Headers of a stream; the last keeps a proxy from holding back what is sent."""

HEARTBEAT = b":\n\n"


class Listener(NamedTuple):
    """Who asked. `record`: of the key with the hash `key_hash`. `ends_at`: Unix seconds, when the stream has to
    end. `known`: the state that the client has, None where it doesn't say."""

    record: KeyRecord
    key_hash: bytes
    ends_at: float
    known: bytes | None


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """A path that is asked with GET and stays open.

    name: for metrics. head: of the answer. scope: as in `Endpoint`. listen: who asks, from the raw query string and
    the headers; raises Fault, StoreError. greeting: what a stream begins with, of the state that counts and the
    milliseconds to wait before asking again. notice: what is told of another state.
    """

    name: str
    head: Head
    listen: Callable[[Snapshot, bytes, Headers], Listener]
    greeting: Callable[[bytes, int], bytes]
    notice: Callable[[bytes], bytes]
    scope: str | None = None
