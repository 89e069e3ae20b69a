"""A key-value bucket of NATS JetStream: nats://HOST:PORT,HOST:PORT/BUCKET, or tls:// in its place.

    manifest              the number in 20 digits, NL, the manifest; moved by compare-and-swap on the key's revision
    object.ADDRESS        0x00 and the object, or 0x01 and where its parts are (`Parts`)
    part.ID.NUMBER        one part of an object that is larger than a part
    report.MACHINE        replaced

The manifest is read from the bucket's leader, objects from any replica and then from the leader: a replica may be
behind. The server itself says on FOLLOWED_SUBJECT that a manifest was moved, once it is (the bucket's `republish`):
without a consumer, so nothing has to be made anew after a restart of the cluster. A bucket that others made without
that is followed by the poll alone.

Decisions
    2026-11  Objects are values of the bucket, in parts where they are large, several on their way at once.
             Rejected: JetStream's object store, which takes three answers to put and a consumer to get: with three
             servers that sync each write 10 and 14 ms for 2 KB where a value takes 4.5 and 1.9, and a publication
             has five objects. A put there also removes the parts that somebody may be reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from fanion.config.places import Places
from fanion.errors import NatsError, PlaceError, PlaceMovedError
from fanion.model.json_value import UNREADABLE
from fanion.nats.address import ALLOWED, SCHEMES, parse_address
from fanion.nats.connection import NEEDS, Access, Connection
from fanion.places.place import (
    MANIFEST_BYTES_MAX,
    OBJECT_BYTES_MAX,
    REPORT_BYTES_MAX,
    REPORTS_MAX,
    Found,
    Kind,
    short,
)

PART_BYTES: Final = 256 * 1024
PARTS_AT_ONCE: Final = 8
NUMBER_DIGITS: Final = 20
MANIFEST: Final = "manifest"
FOLLOWED_SUBJECT: Final = "fanion.place.{}"
END_LOOK_S: Final = 0.25
"""Between two looks whether the process shall end, while the place is listened to."""
MACHINE: Final = re.compile(r"[-/_=a-zA-Z0-9]{1,100}")
"""Of the names of keys that the library reads, those that a machine may have."""
WHOLE, IN_PARTS = b"\0", b"\1"


class Parts(msgspec.Struct, frozen=True, array_like=True):
    """Of an object: keys part.ID.0 and so on, together so many bytes."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{24}$", max_length=24)]
    size: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def count(self) -> int:
        return -(-self.size // PART_BYTES)


class Held(NamedTuple):
    """The manifest that is there. `revision`: the bucket's, of its key."""

    found: Found
    revision: int


class KeyValue:
    """The place."""

    def __init__(self, url: str, settings: Places, create: bool) -> None:
        address = parse_address(url)
        assert address is not None
        errors: Any = import_module("nats.js.errors")
        self._missing = (errors.NotFoundError, errors.KeyNotFoundError)
        self._moved = errors.KeyWrongLastSequenceError
        self._too_large = import_module("nats.errors").MaxPayloadError
        self._faults = (NatsError, import_module("nats.errors").Error, ValueError, KeyError, TypeError)
        self._heard = asyncio.Event()
        self._bucket = address.name
        try:
            self._connection = Connection(address, access_of(settings), settings.timeout_s)
        except NatsError as error:
            raise PlaceError(str(error)) from None
        try:
            with self._refusing("the bucket can't be opened"):
                self._values: Any = self._open(create, settings.replicas)
                self._connection.subscribe(FOLLOWED_SUBJECT.format(self._bucket), self._heard.set)
        except BaseException:
            self.close()
            raise

    def newest(self) -> Found | None:
        held = self._held()
        return None if held is None else held.found

    def newer(self, number: int) -> Found | None:
        found = self.newest()
        if found is None or found.number < number:
            raise PlaceError(f"number {number}, which was taken from there, is there no more")
        return found

    def move(self, number: int, content: bytes) -> None:
        held = self._held()
        if held is not None and held.found.number >= number:
            raise PlaceMovedError(f"number {held.found.number} was published meanwhile")
        value = b"%0*d\n%s" % (NUMBER_DIGITS, number, content)
        revision = 0 if held is None else held.revision
        try:
            with self._refusing(f"number {number} was not taken", len(value)):
                self._connection.run(self._values.update(MANIFEST, value, last=revision))
        except (PlaceError, self._moved) as error:
            held = self._held()
            if held is not None and held.found == Found(number, content):
                return  # it was taken, and only the answer was lost
            if isinstance(error, PlaceError):
                raise
            raise PlaceMovedError(f"number {number} was published meanwhile") from None

    def get(self, name: str, bytes_max: int = OBJECT_BYTES_MAX) -> bytes:
        return self._whole(name, bytes_max, self._value(f"object.{name}"))

    def get_several(self, wanted: Mapping[str, int]) -> list[bytes]:
        values = self._values_of([f"object.{name}" for name in wanted])
        return [self._whole(*each, value) for each, value in zip(wanted.items(), values, strict=True)]

    def _whole(self, name: str, bytes_max: int, value: bytes | None) -> bytes:
        """Of an object's value, what it stands for."""
        if value is None:
            raise PlaceError(f"object {name[:12]} isn't there")
        if not value.startswith(IN_PARTS):
            _check_size(name, len(value) - len(WHOLE), bytes_max)
            return value[len(WHOLE) :]
        try:
            parts = msgspec.msgpack.decode(value[len(IN_PARTS) :], type=Parts)
        except UNREADABLE:
            raise PlaceError(f"object {name[:12]}: where its parts are can't be read") from None
        _check_size(name, parts.size, bytes_max)
        content = bytearray()
        for some in _windows(parts.count):
            found = self._values_of([f"part.{parts.id}.{number}" for number in some])
            for number, part in zip(some, found, strict=True):
                if part is None:
                    raise PlaceError(f"object {name[:12]}: part {number} of {parts.count} isn't there")
                if len(part) != min(PART_BYTES, parts.size - number * PART_BYTES):
                    raise PlaceError(f"object {name[:12]}: part {number} isn't as long as the object says")
                content += part
        return bytes(content)

    def put(self, name: str, content: bytes) -> None:
        what = f"object {name[:12]} was not taken"
        value = WHOLE + content
        if len(content) > PART_BYTES:
            parts = Parts(secrets.token_hex(12), len(content))
            for some in _windows(parts.count):
                with self._refusing(what, PART_BYTES):
                    self._connection.together(
                        self._values.put(
                            f"part.{parts.id}.{number}",
                            content[number * PART_BYTES : (number + 1) * PART_BYTES],
                        )
                        for number in some
                    )
            value = IN_PARTS + msgspec.msgpack.encode(parts)
        with self._refusing(what, len(value)):
            self._connection.run(self._values.put(f"object.{name}", value))

    def report(self, machine: str, content: bytes) -> None:
        with self._refusing("the report was not taken"):
            self._connection.run(self._values.put(f"report.{machine}", content))

    def reports(self) -> dict[str, bytes]:
        names = sorted(key.removeprefix("report.") for key in self.keys("report.*"))
        found = {}
        for name in list(filter(MACHINE.fullmatch, names))[:REPORTS_MAX]:
            value = self._value(f"report.{name}")
            if value is not None and len(value) <= REPORT_BYTES_MAX:
                found[name] = value
        return found

    def wait(self, timeout_s: float, ended: Callable[[float], bool]) -> bool:
        ends = time.monotonic() + timeout_s
        while (left := ends - time.monotonic()) > 0 and not ended(0):
            if self._connection.listen(min(left, END_LOOK_S), self._heard) or self._connection.is_lost:
                self._heard.clear()
                return True
        return False

    def close(self) -> None:
        self._connection.close()

    def keys(self, pattern: str) -> list[str]:
        """Of the bucket, those that fit."""
        prefix = f"$KV.{self._bucket}."
        with self._refusing("its keys can't be listed"):
            info = self._connection.run(
                self._connection.streams.stream_info(f"KV_{self._bucket}", subjects_filter=prefix + pattern)
            )
        return [subject.removeprefix(prefix) for subject in info.state.subjects or {}]

    def _open(self, create: bool, replicas: int) -> Any:
        streams, errors = self._connection.streams, import_module("nats.js.errors")
        with contextlib.suppress(errors.NotFoundError):
            return self._connection.run(streams.key_value(self._bucket))
        if not create:
            raise PlaceError("there is no such bucket; `fanion publish --to` makes it")
        api: Any = import_module("nats.js.api")
        config = api.KeyValueConfig(
            bucket=self._bucket,
            description="Fanion: what is published, for servers that follow",
            replicas=replicas or (3 if self._connection.in_cluster else 1),
            storage=api.StorageType.FILE,
            direct=True,
            republish=api.RePublish(
                src=f"$KV.{self._bucket}.{MANIFEST}",
                dest=FOLLOWED_SUBJECT.format(self._bucket),
                headers_only=True,
            ),
        )
        try:
            return self._connection.run(streams.create_key_value(config))
        except errors.BadRequestError:
            return self._connection.run(streams.key_value(self._bucket))  # made by another at this moment

    def _held(self) -> Held | None:
        with self._refusing("the manifest can't be read"):
            message = self._from_leader(MANIFEST)
        if message is None:
            return None
        number, separator, content = (message.data or b"").partition(b"\n")
        if len(number) != NUMBER_DIGITS or not number.isdigit() or not separator:
            raise PlaceError("what lies in the place of its manifest is none")
        if len(content) > MANIFEST_BYTES_MAX:
            raise PlaceError(f"its manifest has {len(content):,} bytes; {MANIFEST_BYTES_MAX:,} are allowed")
        return Held(Found(int(number), content), message.seq)

    def _from_leader(self, key: str) -> Any:
        """The message of a key; None: there is none."""
        subject = f"$KV.{self._bucket}.{key}"
        try:
            message = self._connection.run(
                self._connection.streams.get_msg(f"KV_{self._bucket}", subject=subject, direct=False)
            )
        except self._missing:
            return None
        return None if (message.headers or {}).get("KV-Operation") else message

    def _value(self, key: str) -> bytes | None:
        with self._refusing(f"{key[:20]} can't be read"):
            try:
                return bytes(self._connection.run(self._values.get(key)).value or b"")
            except self._missing:
                message = self._from_leader(key)
                return None if message is None else bytes(message.data or b"")

    def _values_of(self, keys: Sequence[str]) -> list[bytes | None]:
        """Of a few keys, asked for at once."""

        async def one(key: str) -> bytes | None:
            try:
                return bytes((await self._values.get(key)).value or b"")
            except self._missing:
                return None

        with self._refusing(f"{keys[0][:20]} can't be read"):
            found = self._connection.together(map(one, keys))
        return [self._value(key) if value is None else value for key, value in zip(keys, found, strict=True)]

    @contextlib.contextmanager
    def _refusing(self, what: str, size: int = 0) -> Iterator[None]:
        """What the library raises as a PlaceError, but for the answer that another one was faster."""
        try:
            yield
        except self._moved:
            raise
        except self._too_large:
            most = self._connection.payload_bytes_max
            raise PlaceError(
                f"{what}: {size:,} bytes, and the server's max_payload is {most:,}; raise it there"
            ) from None
        except self._faults as error:
            raise PlaceError(f"{what}: {short(str(error)) or type(error).__name__}") from None


def access_of(settings: Places) -> Access:
    """How NATS is to let this machine in."""
    return Access(
        settings.user,
        settings.password,
        settings.ca_file,
        settings.certificate_file,
        settings.certificate_key_file,
    )


def _check_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise PlaceError(f"object {name[:12]} has {size:,} bytes; {most:,} are allowed")


def _windows(count: int) -> Iterator[range]:
    """Numbers of parts that are on their way at once."""
    for first in range(0, count, PARTS_AT_ONCE):
        yield range(first, min(first + PARTS_AT_ONCE, count))


def _check(url: str) -> str:
    return "" if parse_address(url) else f"allowed: {ALLOWED}"


KIND = Kind(schemes=SCHEMES, open=KeyValue, check=_check, needs=NEEDS)
