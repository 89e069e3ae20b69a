"""Log lines: one JSON object per line on standard error, with a fixed order of members.

Never in a log: raw keys, request bodies, user ids, attributes, query strings. Fields come from
`extra={...}` of the logging call; a traceback is one field, so that a line stays a line.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class JsonLines(logging.Formatter):
    """time, level, part, event, then the fields of the call."""

    def format(self, record: logging.LogRecord) -> str:
        second, millisecond = divmod(int(record.created * 1000), 1000)
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{millisecond:03d}Z",
            "level": record.levelname.lower(),
            "part": record.name.lstrip("_"),
            "event": record.getMessage(),
            "pid": record.process,
        }
        line.update((name, value) for name, value in vars(record).items() if name not in STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def logging_config(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`; the HTTP server's own loggers write through the same handler."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": JsonLines}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "lines",
            }
        },
        "loggers": {
            "fanion": {"handlers": ["stderr"], "level": LEVELS[level], "propagate": False},
            "_granian": {"handlers": ["stderr"], "level": LEVELS[level], "propagate": False},
            "granian.access": {"handlers": [], "level": "WARNING", "propagate": False},
        },
    }
