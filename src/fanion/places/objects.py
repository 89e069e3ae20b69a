"""A bucket or a folder, by obstore: s3://, gs://, az://, file://.

    PREFIX/manifests/00000000000000000012     only ever created, which one of several racers does
    PREFIX/objects/3f/3f9a...                 named by what it holds: writing it again puts it right
    PREFIX/reports/MACHINE                    replaced

Whoever follows asks for the manifest after its own; where that is there, and once every `LIST_EVERY_S` in any case,
the names are listed: a place that lost one is followed all the same, and one that lost all of them is noticed. A
folder, which answers as if it were empty once its disk is gone, is always listed.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final

from fanion.config.places import Places
from fanion.errors import PlaceError, PlaceMovedError
from fanion.places.place import (
    MANIFEST_BYTES_MAX,
    OBJECT_BYTES_MAX,
    REPORT_BYTES_MAX,
    REPORTS_MAX,
    Found,
    Kind,
    short,
)
from fanion.plain_files import check_plain

MANIFESTS: Final = "manifests"
REPORTS: Final = "reports"
NUMBER: Final = re.compile(r"[0-9]{20}")
LIST_EVERY_S: Final = 60.0
LISTING_S: Final = 120.0
"""A server that always says that there is more would be asked for ever."""
CONNECT_TIMEOUT_S: Final = 5.0
SCHEMES: Final = ("s3", "gs", "az", "file")
ADDRESS: Final = re.compile(
    r"(?:s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{0,253}(?:/[A-Za-z0-9._=/-]*)?|file:///[^?#]+"
)


class Objects:
    """The place."""

    def __init__(self, url: str, settings: Places, create: bool) -> None:
        self._obstore = import_module("obstore")
        errors = import_module("obstore.exceptions")
        self._faults = (errors.BaseError, OSError, ValueError, TypeError)
        self._taken = errors.AlreadyExistsError
        self._missing = (errors.NotFoundError, FileNotFoundError)
        self._folder = Path(url.removeprefix("file://")) if url.startswith("file:") else None
        self._listed_at = -math.inf
        self._list_every_s = LIST_EVERY_S if self._folder is None else 0.0
        try:
            self._store = open_store(url, settings, create=create)
        except self._faults as error:
            raise PlaceError(f"it can't be opened: {reason_of(error)}") from None

    def newest(self) -> Found | None:
        number = self._highest(0)
        return self._manifest(number) if number else None

    def newer(self, number: int) -> Found | None:
        now = time.monotonic()
        if now - self._listed_at < self._list_every_s and self._manifest(number + 1) is None:
            return None
        highest = self._highest(number - 1)
        if highest < number:
            raise PlaceError(f"number {number}, which was taken from there, is there no more")
        self._listed_at = now
        return self._manifest(highest)

    def move(self, number: int, content: bytes) -> None:
        highest = self._highest(number - 1)
        if highest:
            raise PlaceMovedError(f"number {highest} was published meanwhile")
        try:
            self._obstore.put(self._store, _path(number), content, mode="create", use_multipart=False)
        except self._taken:
            if self._manifest(number) != Found(number, content):  # not this very request, sent twice
                raise PlaceMovedError(f"number {number} was published meanwhile") from None
        except self._faults as error:
            raise PlaceError(f"number {number} was not taken: {reason_of(error)}") from None

    def get(self, name: str, bytes_max: int = OBJECT_BYTES_MAX) -> bytes:
        content = self._read(f"objects/{name[:2]}/{name}", bytes_max)
        if content is None:
            raise PlaceError(f"object {name[:12]} isn't there")
        return content

    def get_several(self, wanted: Mapping[str, int]) -> list[bytes]:
        return [self.get(name, bytes_max) for name, bytes_max in wanted.items()]

    def put(self, name: str, content: bytes) -> None:
        try:
            self._obstore.put(self._store, f"objects/{name[:2]}/{name}", content, use_multipart=False)
        except self._faults as error:
            raise PlaceError(f"object {name[:12]} was not taken: {reason_of(error)}") from None

    def report(self, machine: str, content: bytes) -> None:
        try:
            self._obstore.put(self._store, f"{REPORTS}/{machine}", content, use_multipart=False)
        except self._faults as error:
            raise PlaceError(f"the report was not taken: {reason_of(error)}") from None

    def reports(self) -> dict[str, bytes]:
        small = (name for name, size in self._listed(REPORTS, "") if size <= REPORT_BYTES_MAX)
        names = sorted(islice(small, REPORTS_MAX))
        found = {name: self._read(f"{REPORTS}/{name}", REPORT_BYTES_MAX) for name in names}
        return {name: content for name, content in found.items() if content is not None}

    def wait(self, timeout_s: float, ended: Callable[[float], bool]) -> bool:
        ended(timeout_s)
        return False  # a bucket never speaks

    def close(self) -> None:
        pass

    def _highest(self, above: int) -> int:
        """The highest number above that one; 0: there is none."""
        listed = self._listed(MANIFESTS, _path(above))
        numbers = (int(name) for name, _ in listed if NUMBER.fullmatch(name))
        return max((number for number in numbers if number > above), default=0)

    def _listed(self, folder: str, offset: str) -> Iterator[tuple[str, int]]:
        """Names behind the offset, and their bytes."""
        try:
            yield from each_listed(self._obstore, self._store, folder, offset or None)
        except self._faults as error:
            raise PlaceError(f"{folder} can't be listed: {reason_of(error)}") from None

    def _manifest(self, number: int) -> Found | None:
        content = self._read(_path(number), MANIFEST_BYTES_MAX)
        return None if content is None else Found(number, content)

    def _read(self, path: str, most: int) -> bytes | None:
        try:
            if self._folder is not None:
                check_plain(path, (self._folder / path).stat())  # nobody waits for who writes into a pipe
            found = self._obstore.get(self._store, path)
            if found.meta["size"] > most:
                raise PlaceError(f"{path} has {found.meta['size']:,} bytes; {most:,} are allowed")
            return bytes(found.bytes())
        except self._missing:
            return None
        except self._faults as error:
            raise PlaceError(f"{path} can't be read: {reason_of(error)}") from None


def each_listed(
    obstore: Any, store: Any, folder: str, offset: str | None = None
) -> Iterator[tuple[str, int]]:
    """Names in a folder, without it, and their bytes, as they come. Raises what obstore does, and TimeoutError for
    a list that doesn't end."""
    ends = time.monotonic() + LISTING_S
    for part in obstore.list(store, folder, offset=offset):
        for found in part:
            yield found["path"].rpartition("/")[2], found["size"]
        if time.monotonic() > ends:
            raise TimeoutError(f"the list doesn't end within {LISTING_S:g} s")


def reason_of(error: BaseException) -> str:
    """Without what the library says to itself."""
    return short(str(error).partition("Debug source:")[0] or type(error).__name__)


def _path(number: int) -> str:
    return f"{MANIFESTS}/{number:020}"


def open_store(url: str, settings: Places, *, create: bool) -> Any:
    """obstore's own. Raises what obstore does, OSError, or PlaceError where a folder isn't there."""
    return _open_folder(url, create) if url.startswith("file:") else _open_bucket(url, settings)


def _open_folder(url: str, create: bool) -> Any:
    path = Path(url.removeprefix("file://"))
    if create:
        path.mkdir(parents=True, exist_ok=True)
    elif not path.is_dir():
        raise PlaceError("there is no such folder")
    return import_module("obstore.store").LocalStore(path)


def _open_bucket(url: str, settings: Places) -> Any:
    options: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=settings.timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
            "allow_http": settings.endpoint.startswith("http://"),
        },
        "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=settings.timeout_s)},
    }
    if url.startswith("s3://"):
        given = {
            "endpoint": settings.endpoint.rstrip("/"),
            "access_key_id": settings.access_key,
            "secret_access_key": settings.secret_key,
        }
        options["config"] = {"region": settings.region, **{k: v for k, v in given.items() if v}}
    return import_module("obstore.store").from_url(url.rstrip("/"), **options)


def _check(url: str) -> str:
    return "" if ADDRESS.fullmatch(url) else "allowed: s3, gs or az://BUCKET/PREFIX, file:///FOLDER"


KIND = Kind(schemes=SCHEMES, open=Objects, check=_check, needs=(("obstore", "obstore"),))
