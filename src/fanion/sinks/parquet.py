"""Parquet objects in an S3-compatible store, by obstore: each row once, whatever is killed when.

An object holds the rows of one environment and day of receipt that a step has. Its name is made of both, of the
step and of where the step begins and ends in the journal, so rows that were put before meet their own name; an
object is only ever created, by one conditional request, and one that is there already has the same rows.

    PREFIX/environment=ENVIRONMENT/day=2026-11-29/0000000012-DIGEST.parquet
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.pipeline.parquet import ROW_GROUP_ROWS, arrow, open_writer, parts_of
from fanion.sinks.receiver import Kind, Turn, reason_of

UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._-]")
CONNECT_TIMEOUT_S: Final = 5.0


class Objects:
    """The receiver."""

    left_out = 0

    def __init__(self, settings: Sinks, turn: Turn) -> None:
        self._turn = turn
        self._obstore = import_module("obstore")
        self._errors = import_module("obstore.exceptions")
        bucket, _, prefix = settings.parquet_url.removeprefix("s3://").partition("/")
        given = {
            "endpoint": settings.parquet_endpoint.rstrip("/"),
            "access_key_id": settings.parquet_access_key,
            "secret_access_key": settings.parquet_secret_key,
        }
        timeout_s = settings.timeout_s
        try:
            self._store = import_module("obstore.store").S3Store(
                bucket,
                prefix=prefix.strip("/") or None,
                config={"region": settings.parquet_region, **{k: v for k, v in given.items() if v}},
                client_options={
                    "timeout": timedelta(seconds=timeout_s),
                    "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, timeout_s)),
                    "allow_http": settings.parquet_endpoint.startswith("http://"),
                },
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=timeout_s)},
            )
        except (self._errors.BaseError, ValueError, TypeError) as error:
            raise SinkError(f"the object store can't be asked: {reason_of(error)}") from None

    def take(self, rows: Any, name: str) -> None:
        for environment, day, part in parts_of(rows):
            self._turn()
            self._create(object_path(environment, day, name), _parquet(part))

    def _create(self, path: str, content: bytes) -> None:
        try:
            self._obstore.put(self._store, path, content, mode="create", use_multipart=False)
        except self._errors.AlreadyExistsError:
            return  # from before a kill
        except (self._errors.BaseError, OSError) as error:
            raise SinkError(f"{path} was not taken: {reason_of(error)}") from None

    def close(self) -> None:
        pass


def object_path(environment: str, day: int, name: str) -> str:
    """`day`: since 1970. Two environments have two paths, whatever is in their ids."""
    safe = UNSAFE.sub(lambda found: b"!%02X" % found[0][0], environment.encode()).decode()
    date = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
    return f"environment={safe}/day={date}/{name}.parquet"


def _parquet(batch: Any) -> bytes:
    file = io.BytesIO()
    with open_writer(arrow().PythonFile(file, mode="w"), batch.schema) as writer:
        writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)
    return file.getvalue()


def _where(settings: Sinks) -> str:
    at = f" at {settings.parquet_endpoint}" if settings.parquet_endpoint else ""
    return f"{settings.parquet_url}{at}"


KIND = Kind(
    setting="parquet_url",
    where=_where,
    interval_s=lambda settings: settings.parquet_interval_s,
    open=Objects,
    needs=(("obstore", "obstore"), ("pyarrow", "pyarrow")),
    planned=True,
)
