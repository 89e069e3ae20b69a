"""The stream: takes blocks, and says which it has.

It is made where it isn't there yet: in files, on several servers, refusing what is new when it is full. One
that others made is taken unless it drops what nobody asked it to drop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from fanion.config.shipping import Shipping
from fanion.errors import NatsError, ShippingError, StreamMissingError
from fanion.nats.address import ALLOWED, parse_address
from fanion.nats.connection import Access, Connection, short
from fanion.shipping.block import HEADER, PART_BYTES, Block, parse_block, sender_of

SUBJECT: Final = "fanion.events.{}"
PAYLOAD_SPARE_BYTES: Final = 4_096
"""Of the server's max_payload, for a message's headers."""
ANSWER_S: Final = 3.0
"""For a question before anything is sent, which nobody answers while there is no leader."""
UNBOUNDED_S: Final = 86_400.0
"""Of a message by itself: the time counts for which it is waited for (`flight`)."""
FOREIGN: Final = b""


class Extent(NamedTuple):
    """What a stream has. `made`: when it was, as NATS writes it. `gone`: of what lies between, what is no more."""

    made: str
    first: int
    last: int
    gone: frozenset[int]

    def lacks(self, place: int) -> bool:
        return not self.first <= place <= self.last or place in self.gone


class Stream:
    """`create`: where it isn't there yet. Raises StreamMissingError, and ShippingError where it can't be reached or
    isn't fit."""

    def __init__(self, settings: Shipping, access: Access, *, create: bool = True) -> None:
        address = parse_address(settings.url)
        if address is None:
            raise ShippingError(f"shipping.url is no address of a stream; allowed: {ALLOWED}")
        self.name = address.name
        self._timeout_s = settings.timeout_s
        self._errors: Any = import_module("nats.js.errors")
        self._faults = (NatsError, import_module("nats.errors").Error, ValueError, KeyError, TypeError)
        with self._refusing():
            self._connection = Connection(address, access, settings.timeout_s, "fanion-shipping")
        try:
            with self._refusing():
                self._check(self._open(settings, create))
        except BaseException:
            self.close()
            raise

    @property
    def part_bytes(self) -> int:
        return min(PART_BYTES, self._connection.payload_bytes_max - HEADER.size - PAYLOAD_SPARE_BYTES)

    @property
    def in_cluster(self) -> bool:
        return self._connection.in_cluster

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Raises ShippingError where it isn't reached any more."""
        with self._refusing():
            self._connection.check()

    def begin(self, block: Block, again: bool) -> asyncio.Future[int]:
        """Lets a block go: its sequence in the stream, once `wait` has it. `again`: also where the stream had it
        before."""
        told = f"{block.id}-{secrets.token_hex(4)}" if again else block.id
        subject = f"{SUBJECT.format(self.name)}.{block.machine.hex()}.{block.span.writer}"

        async def send() -> int:
            ack = await self._connection.streams.publish(
                subject,
                block.pack(),
                timeout=UNBOUNDED_S,
                stream=self.name,
                headers={"Nats-Msg-Id": told},
            )
            return int(ack.seq)

        with self._refusing():
            return self._connection.begin(send())

    def wait(self, sent: asyncio.Future[int]) -> int:
        """Until the stream has the block."""
        with self._refusing():
            return self._connection.until(sent, self._timeout_s)

    def fetch(self, places: Sequence[int]) -> list[Block | None]:
        """The blocks at these sequences of the stream, few at once; None: it isn't there, or is damaged."""
        return [None if message is None else _parsed(message) for message in self.messages(places)]

    def messages(self, places: Sequence[int]) -> list[bytes | None]:
        """As they are, few at once; None: whoever was asked hasn't it, or can't read it. `FOREIGN`: a block
        that doesn't lie under its own machine's subject, by which the server tells who may send what."""

        async def fetch_one(place: int) -> bytes | None:
            for direct in self._ways:
                try:
                    found = await self._connection.streams.get_msg(self.name, seq=place, direct=direct)
                    data = bytes(found.data or b"")
                    return data if _is_senders(found.subject, data) else FOREIGN
                except self._errors.NotFoundError:
                    continue
            return None

        with self._refusing():
            return self._connection.together(map(fetch_one, places))

    def extent(self) -> Extent:
        with self._refusing():
            asked = json.dumps({"deleted_details": True}).encode()
            found = json.loads(self._connection.ask(f"$JS.API.STREAM.INFO.{self.name}", asked))
            state = found["state"]
            gone = frozenset(state.get("deleted") or ())
            return Extent(found["created"], state["first_seq"], state["last_seq"], gone)

    def _open(self, settings: Shipping, create: bool) -> Any:
        streams = self._connection.streams
        with contextlib.suppress(self._errors.NotFoundError):
            return self._connection.run(streams.stream_info(self.name), ANSWER_S).config
        if not create:
            raise StreamMissingError(f"there is no stream {self.name} yet")
        api: Any = import_module("nats.js.api")
        config = api.StreamConfig(
            name=self.name,
            description="Fanion: records of the journals of all machines",
            subjects=[f"{SUBJECT.format(self.name)}.>"],
            retention=api.RetentionPolicy.LIMITS,
            discard=api.DiscardPolicy.NEW,
            storage=api.StorageType.FILE,
            num_replicas=settings.replicas or (3 if self._connection.in_cluster else 1),
            max_age=settings.keep_hours * 3_600 or None,
            allow_direct=True,
        )
        try:
            return self._connection.run(streams.add_stream(config)).config
        except self._errors.BadRequestError:  # made by another at this moment
            return self._connection.run(streams.stream_info(self.name)).config

    def _check(self, config: Any) -> None:
        api: Any = import_module("nats.js.api")
        if config.retention != api.RetentionPolicy.LIMITS:
            raise ShippingError(
                f"the stream {self.name} drops what somebody read; it needs retention: limits"
            )
        bounded = any((getattr(config, name, None) or -1) > 0 for name in ("max_bytes", "max_msgs"))
        bounded |= (config.max_msgs_per_subject or -1) > 0
        if bounded and config.discard != api.DiscardPolicy.NEW:
            raise ShippingError(
                f"the stream {self.name} drops its oldest when it is full; it needs discard: new"
            )
        self._ways = (True, False) if config.allow_direct else (False,)
        """Of asking for a message: any replica, then the leader."""
        self.keep_s = float(config.max_age or 0)
        """How long it keeps a message; 0: for ever."""
        self.replicas = int(config.num_replicas or 1)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except self._faults as error:
            told = getattr(error, "description", None) or short(error)
            raise ShippingError(told) from None


def _is_senders(subject: str | None, message: bytes) -> bool:
    sender = sender_of(message)
    return sender is None or (subject or "").split(".")[-2:] == list(sender)


def _parsed(message: bytes) -> Block | None:
    try:
        return parse_block(message)
    except ShippingError:
        return None
