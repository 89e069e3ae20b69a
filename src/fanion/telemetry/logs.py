"""Structured logs: one JSON object a line, on standard error.

    {"time": "2026-03-01T12:00:00.123Z", "level": "warning", "logger": "fanion.app", "message": "...",
     "pid": 41, ...}

What is passed as `extra=` becomes members, but only names in FIELDS: a new one is added here, after asking
whether it can hold an API key or something about a user. Those never go into a log.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

FIELDS = frozenset(
    {
        "bytes",
        "count",
        "dialect",
        "endpoint",
        "environment",
        "generation",
        "number",
        "path",
        "place",
        "places",
        "reason",
        "seconds",
        "sequence",
        "sink",
        "slot",
        "status",
        "worker",
        "writer",
    }
)
"""Members that a line may have beside the fixed ones."""

MESSAGE_CHARACTERS_MAX = 2_000
TRACE_CHARACTERS_MAX = 8_000


class JsonLine(logging.Formatter):
    """A record as one line. Never raises: what can't be written is written as its representation."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": stamp.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MESSAGE_CHARACTERS_MAX],
            "pid": os.getpid(),
        }
        for name in sorted(FIELDS & record.__dict__.keys()):
            line[name] = record.__dict__[name]
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)[-TRACE_CHARACTERS_MAX:]
        return msgspec.json.encode(line, enc_hook=repr).decode()


class PeersThatLeft(logging.Filter):
    """Leaves out what the HTTP server says of each piece that it could not send to a peer that had left."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("ASGI transport error")


def logging_config(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`, and for the HTTP server, which takes the same. `level` as in
    `log.level`."""
    loggers = {name: {"handlers": ["lines"], "level": level.upper(), "propagate": False} for name in LOGGERS}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLine}},
        "filters": {"peers": {"()": PeersThatLeft}},
        "handlers": {
            "lines": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stderr",
                "filters": ["peers"],
            }
        },
        "root": {"handlers": ["lines"], "level": "WARNING"},
        "loggers": loggers,
    }


class Sparing:
    """Lets a line through once a `period_s`, so that what every request meets is not logged by every request."""

    def __init__(self, period_s: float = 60.0) -> None:
        self._period_s = period_s
        self._seen: dict[str, tuple[float, int]] = {}

    def due(self, line: str) -> int:
        """0: leave it out. Else how often it came up since it was last let through, this time included."""
        now = time.monotonic()
        last, count = self._seen.get(line, (-self._period_s, 0))
        if now - last < self._period_s:
            self._seen[line] = last, count + 1
            return 0
        if len(self._seen) >= LINES_KNOWN_MAX:
            self._seen.clear()
        self._seen[line] = now, 0
        return count + 1


LINES_KNOWN_MAX = 1_024

LOGGERS = ("fanion", "_granian", "granian.access")
"""Ours and the HTTP server's two."""
