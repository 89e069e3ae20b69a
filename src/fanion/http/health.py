"""/healthz on the API's port: this worker lives. Operators ask the operations process (`process.operations`)."""

from __future__ import annotations

from fanion.dialects.wire.reply import JSON_NO_STORE, Head, Reply

PATH = b"/healthz"
ALIVE: Reply = Head(200, JSON_NO_STORE), b'{"status":"ok"}'
OTHER_METHOD: Reply = (
    Head(405, [*JSON_NO_STORE, (b"allow", b"GET, HEAD")]),
    b'{"error":"the method must be GET"}',
)


def answer(path: bytes, method: str) -> Reply | None:
    """None where it isn't asked."""
    if path != PATH:
        return None
    return ALIVE if method in ("GET", "HEAD") else OTHER_METHOD
