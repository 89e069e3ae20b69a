"""Evaluation traces: signed tokens that tie an event to the evaluation that it follows
(docs/apis/redpennon.md: Traces).

    rpe_v1: SSSSSSSSSSSS PPPP...  (71 characters without the spaces; base64url, no padding)

    characters   bytes  what
     7 .. 19         9  scope: hash of environment, feature and variation, made when definitions are published
    19 .. 71         6  issued, Unix milliseconds, big-endian
                     6  serial: three random bytes of the process, a counter of three; so no two tokens are equal
                     9  identity: keyed hash of the user's id or email
                    18  HMAC-SHA-256 of all before it, as text and bytes, cut to 144 bits

A token is valid for one scope, for one user where the event names one, and for `ttl_s`. Nothing is stored; that
it counts once per event name is the caller's, by `Checked.serial`. Signatures are compared in constant time.

Decision, 2026-11: the user is bound by a hash under a key of its own instead of the signature alone, since an
event may come without a user and must verify then too; whoever sees a token can't test guesses of an email.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from fanion._core.window import KEY_BYTES as SIPHASH_KEY_BYTES
from fanion._core.window import siphash
from fanion.model.signing import SigningKeys

MARK: Final = b"rpe_v1:"
SCOPE_BYTES: Final = 9
SCOPE_CHARACTERS: Final = 12
SERIAL_BYTES: Final = 12
"""Issued and serial together."""
IDENTITY_BYTES: Final = 9
MAC_BYTES: Final = 18
PAYLOAD_BYTES: Final = SERIAL_BYTES + IDENTITY_BYTES
SCOPE_END: Final = len(MARK) + SCOPE_CHARACTERS
TOKEN_CHARACTERS: Final = SCOPE_END + (PAYLOAD_BYTES + MAC_BYTES) // 3 * 4
SKEW_MS: Final = 5_000
"""How far in the future a token may have been issued: another machine's clock, or a key a moment late."""

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/??")


def scope_of(environment: str, feature: str, variation: str) -> bytes:
    """The scope as it stands in a token: 12 characters."""
    name = "\0".join((environment, feature, variation)).encode()
    return binascii.b2a_base64(hashlib.sha256(name).digest()[:SCOPE_BYTES], newline=False).translate(_TO_URL)


class Checked(NamedTuple):
    """A token that is valid. `serial` (30 bytes) is the same however the token was written."""

    serial: bytes


class _Key:
    """HMAC-SHA-256, keyed once, and the identity hash: SipHash-2-4 under a key derived from the same one."""

    __slots__ = ("_identity_key", "_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self._identity_key = hmac.digest(key, b"fanion trace identity", "sha256")[:SIPHASH_KEY_BYTES]

    def mac(self, data: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()[:MAC_BYTES]

    def identity(self, user: str) -> bytes:
        return siphash(self._identity_key, user.encode(), wide=True)[:IDENTITY_BYTES]


class TraceSigner:
    """Issues and checks under one set of keys; one per worker and generation."""

    def __init__(
        self, keys: SigningKeys, ttl_s: float, now_ns: Callable[[], int] = time.time_ns, *, start: int = 0
    ) -> None:
        self._current = _Key(keys.current)
        self._previous = None if keys.previous is None else _Key(keys.previous)
        self._previous_until_ms = int(keys.rotated_at * 1000) + SKEW_MS
        self._ttl_ms = int(ttl_s * 1000)
        self._now_ns = now_ns
        self._process = int.from_bytes(os.urandom(3), "big") << 24
        self._count = start

    def issue(self, scope: bytes, user: str) -> bytes:
        """What follows the scope in a token: 52 characters."""
        self._count = count = (self._count + 1) & 0xFFFFFF
        key = self._current
        serial = self._now_ns() // 1_000_000 << 48 | self._process | count
        payload = serial.to_bytes(SERIAL_BYTES, "big") + key.identity(user)
        signed = payload + key.mac(scope + payload)
        return binascii.b2a_base64(signed, newline=False).translate(_TO_URL)

    def check(self, token: str, scope: bytes, user: str | None) -> Checked | None:
        """None for anything but a token of this scope, in time, of this user (None: the event names no one)."""
        if len(token) != TOKEN_CHARACTERS or not token.isascii():
            return None
        text = token.encode()
        if text[: len(MARK)] != MARK or text[len(MARK) : SCOPE_END] != scope:
            return None
        try:
            signed = binascii.a2b_base64(text[SCOPE_END:].translate(_FROM_URL), strict_mode=True)
        except binascii.Error:
            return None
        payload, mac = signed[:PAYLOAD_BYTES], signed[PAYLOAD_BYTES:]
        issued_ms = int.from_bytes(payload[:6], "big")
        age_ms = self._now_ns() // 1_000_000 - issued_ms
        key = self._signed_by(scope + payload, mac, issued_ms)
        if key is None or not -SKEW_MS <= age_ms < self._ttl_ms:
            return None
        if user is not None and not hmac.compare_digest(key.identity(user), payload[SERIAL_BYTES:]):
            return None
        return Checked(payload[:SERIAL_BYTES] + mac)

    def _signed_by(self, data: bytes, mac: bytes, issued_ms: int) -> _Key | None:
        if hmac.compare_digest(self._current.mac(data), mac):
            return self._current
        previous = self._previous
        if previous is None or issued_ms > self._previous_until_ms:
            return None
        return previous if hmac.compare_digest(previous.mac(data), mac) else None
