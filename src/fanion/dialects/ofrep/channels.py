"""Addresses of event streams (docs/apis/ofrep.md: Event streams): made for answers of all flags, read when a stream
is opened.

    /ofrep/v1/streams?channel=TTTT...  (80 characters of base64url)

    bytes  what
    16     keyed BLAKE2b of what follows, as it was before it was masked
     4     step: which of the spans of `stream_address_s` seconds it was made in, big-endian
    32     the SHA-256 of the API key
     8     digest of the key's environment and kind

The last three are masked with what the first 16 bytes and the signing key give, so an address tells nobody whose it
is. It is good until the end of the step after its own.

Decision, 2026-11: an address is the same for a key throughout a step, since a published client that is handed
another one closes its stream and opens a new one; so what a client has seen can't stand in it. And the entity tag
of an answer covers its address, since a client that is told 304 goes on with the address that it has.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import random
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fanion.dialects.ofrep.envelope import CORS
from fanion.dialects.ofrep.settings import OfrepSettings
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Head, Headers
from fanion.dialects.wire.services import Services, Snapshot
from fanion.dialects.wire.stream import SSE, Listener
from fanion.errors import StoreError
from fanion.model.api_key import HASH_BYTES, KeyRecord, hash_key
from fanion.model.signing import SigningKeys

PATH: Final = b"/ofrep/v1/streams"
OPEN: Final = Head(200, [*SSE, *CORS.always])
CHANNEL: Final = b"channel="
LAST_EVENT_ID: Final = b"last-event-id"

MAC_BYTES: Final = 16
STEP_BYTES: Final = 4
BOUND_BYTES: Final = 8
PAYLOAD_BYTES: Final = STEP_BYTES + HASH_BYTES + BOUND_BYTES
CHARACTERS: Final = (MAC_BYTES + PAYLOAD_BYTES) // 3 * 4
SKEW_S: Final = 5.0
"""How long after its replacement a signing key may still have signed: workers learn of it one by one."""
SPREAD: Final = 8
"""Streams of one step end within this part of a step, not at one moment."""
KNOWN_MAX: Final = 4_096
"""Keys whose address is kept at hand."""

TAG_BYTES: Final = 16
KINDS: Final = {False: b"server", True: b"client"}

REFUSED: Final = "The stream's address is not valid any more. Ask for all flags to be given another."
"""Said of every address that opens nothing."""

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/??")


class Offer(NamedTuple):
    """What answers of all flags to one key have in common in a generation. `tag`: what their entity tags are made
    of, hashed, all but the context. `member`: a member of the answer that names the stream."""

    tag: hashlib.blake2b
    member: bytes


class Seal:
    """One signing key's."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key=key, person=b"ofrep channel").digest()

    def seal(self, payload: bytes) -> bytes:
        mac = self._mac(payload)
        return mac + self._masked(mac, payload)

    def unseal(self, sealed: bytes) -> bytes | None:
        """None where this key didn't seal it."""
        mac = sealed[:MAC_BYTES]
        payload = self._masked(mac, sealed[MAC_BYTES:])
        return payload if hmac.compare_digest(self._mac(payload), mac) else None

    def _mac(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, digest_size=MAC_BYTES, key=self._key, person=b"address").digest()

    def _masked(self, mac: bytes, text: bytes) -> bytes:
        mask = hashlib.blake2b(mac, digest_size=PAYLOAD_BYTES, key=self._key, person=b"mask").digest()
        return bytes(one ^ other for one, other in zip(text, mask, strict=True))


class Channels:
    """Addresses of one worker."""

    def __init__(self, services: Services, credentials: Callable[[Headers], bytes]) -> None:
        """`credentials`: the raw key of a request."""
        settings = services.config.of(OfrepSettings)
        self._services = services
        self._credentials = credentials
        self._step_s = settings.stream_address_s
        self._on = services.config.server.streams_max > 0
        base = urlsplit(settings.stream_base)
        self._origin = f"{base.scheme}://{base.netloc}" if base.netloc else ""
        self._path = base.path + PATH.decode()
        self.offers: dict[int, tuple[KeyRecord, Offer]] = {}
        """By the identity of the record, which is kept beside the offer: it is no other's while it lives, and a
        record belongs to one generation."""
        self._number = -1
        self._step = 0
        self._ends = 0.0
        """Of the step, and of the offers in it."""
        self._keys: SigningKeys | None = None
        self._seals: tuple[Seal, ...] = ()

    def offer(self, snapshot: Snapshot, record: KeyRecord, headers: Headers) -> Offer:
        """What is said to this key. Raises StoreError."""
        known = self.offers.get(id(record))
        if known is None or self._services.token_s >= self._ends:
            return self._make(snapshot, record, headers)
        return known[1]

    def _make(self, snapshot: Snapshot, record: KeyRecord, headers: Headers) -> Offer:
        now = self._services.token_s
        if snapshot.number != self._number or now >= self._ends or len(self.offers) >= KNOWN_MAX:
            self.offers.clear()
            self._number = snapshot.number
            self._step = int(now // self._step_s)
            self._ends = (self._step + 1) * self._step_s
            try:
                self._follow(snapshot)
            except StoreError:  # answers go on without a stream
                self._keys, self._seals = None, ()
        mark, member = self._address(record, headers) if self._seals else (b"", b"")
        made = Offer(tag_base(snapshot.content(record.environment), record.kind == "client", mark), member)
        self.offers[id(record)] = record, made
        return made

    def _address(self, record: KeyRecord, headers: Headers) -> tuple[bytes, bytes]:
        """What tells it from others, and the member that names it."""
        key_hash = hash_key(self._credentials(headers))
        sealed = self._seals[0].seal(self._step.to_bytes(STEP_BYTES, "big") + key_hash + bound(record))
        token = binascii.b2a_base64(sealed, newline=False).translate(_TO_URL).decode()
        endpoint = {"origin": self._origin} if self._origin else {}
        endpoint["requestUri"] = f"{self._path}?{CHANNEL.decode()}{token}"
        streams = msgspec.json.encode([{"type": "sse", "endpoint": endpoint}])
        return sealed[:MAC_BYTES], b',"eventStreams":' + streams

    def _follow(self, snapshot: Snapshot) -> None:
        """Signs and reads with this generation's keys. Raises StoreError."""
        keys = snapshot.signing_keys if self._on else None
        if keys is not self._keys:
            named = () if keys is None else (keys.current, keys.previous)
            self._seals = tuple(Seal(key) for key in named if key is not None)
            self._keys = keys

    def listen(self, snapshot: Snapshot, query: bytes, headers: Headers) -> Listener:
        """Who opens a stream with this query. Raises Fault, StoreError."""
        self._follow(snapshot)
        payload = self._read(query)
        step = int.from_bytes(payload[:STEP_BYTES], "big")
        good_until = (step + 2) * self._step_s
        key_hash = payload[STEP_BYTES : STEP_BYTES + HASH_BYTES]
        record = snapshot.holder(key_hash) if self._services.token_s < good_until else None
        if record is None or bound(record) != payload[STEP_BYTES + HASH_BYTES :]:
            raise Fault(FaultKind.UNKNOWN_KEY, REFUSED)
        ends_at = good_until + random.random() * self._step_s / SPREAD
        if record.expires_at is not None:
            ends_at = min(ends_at, record.expires_at)
        known = headers.get(LAST_EVENT_ID)
        return Listener(record, key_hash, ends_at, None if known is None else state_of(known))

    def _read(self, query: bytes) -> bytes:
        """What the address holds. Raises Fault."""
        token = next((part for part in query.split(b"&") if part.startswith(CHANNEL)), b"")[len(CHANNEL) :]
        if len(token) == CHARACTERS and self._keys is not None:
            try:
                sealed = binascii.a2b_base64(token.translate(_FROM_URL), strict_mode=True)
            except binascii.Error:
                sealed = b""
            for seal in self._seals if sealed else ():
                payload = seal.unseal(sealed)
                if payload is not None and (seal is self._seals[0] or self._signed_in_time(payload)):
                    return payload
        raise Fault(FaultKind.UNKNOWN_KEY, REFUSED)

    def _signed_in_time(self, payload: bytes) -> bool:
        """Whether the key before the present one may have signed it."""
        assert self._keys is not None
        return int.from_bytes(payload[:STEP_BYTES], "big") * self._step_s <= self._keys.rotated_at + SKEW_S


def bound(record: KeyRecord) -> bytes:
    """What an address is tied to beside the key: it opens nothing once the key means something else."""
    named = f"{record.environment}\0{record.kind}".encode()
    return hashlib.blake2b(named, digest_size=BOUND_BYTES).digest()


def tag_base(content: bytes, client: bool, mark: bytes) -> hashlib.blake2b:
    """What entity tags are made of beside the context. `content`: what flags are answered from."""
    return hashlib.blake2b(digest_size=TAG_BYTES, key=content[:48] + mark, person=KINDS[client])


# -- what is sent


def greeting(state: bytes, retry_ms: int) -> bytes:
    """Names the state without telling of it, so that a client which comes back says what it has."""
    return b"retry: %d\nid: %b\n\n" % (retry_ms, state.hex().encode())


def notice(state: bytes) -> bytes:
    """One message: flags are to be fetched anew."""
    name = state.hex().encode()
    return b'id: %b\nevent: message\ndata: {"type":"refetchEvaluation","etag":"%b"}\n\n' % (name, name)


def state_of(event_id: bytes) -> bytes:
    """What a client that had this event knows; no state at all where it is none of ours."""
    try:
        return bytes.fromhex(event_id.decode())
    except ValueError:
        return b""
