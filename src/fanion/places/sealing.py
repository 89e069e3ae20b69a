"""The one secret of a place, and what is made of it: signatures, encryption, names of objects.

    manifest   "fanion-place 1 " signature NL head NL body
               signature: HMAC-SHA-256, in hex, of what follows its line; head: a line of JSON, for people too;
               body: sealed
    sealed     12 bytes nonce, AES-256-GCM of the plain bytes
    address    HMAC-SHA-256 of an object's plain bytes, in hex: tells nobody without the secret what they are

Each is made with a key of its own, derived from the secret. Do not change what is made here without a new FORMAT.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from importlib import import_module
from typing import Any, Final

from fanion.errors import PlaceError

FORMAT: Final = 1
MAGIC: Final = b"fanion-place "
NONCE_BYTES: Final = 12
SEAL_BYTES: Final = NONCE_BYTES + 16
"""That a sealed object has more than its plain bytes."""


class Sealer:
    """`secret`: the setting `places.key`."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise PlaceError("places.key is needed (FANION_PLACES_KEY); `fanion cluster key` makes one")

        def derived(purpose: bytes) -> bytes:
            return hmac.digest(secret.encode(), b"fanion place: " + purpose, "sha256")

        self._signing = derived(b"signature")
        self._addressing = derived(b"address")
        aead: Any = import_module("cryptography.hazmat.primitives.ciphers.aead")
        self._cipher: Any = aead.AESGCM(derived(b"encryption"))
        self._invalid: Any = import_module("cryptography.exceptions").InvalidTag

    def address(self, plain: bytes) -> str:
        return hmac.digest(self._addressing, plain, "sha256").hex()

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + bytes(self._cipher.encrypt(nonce, plain, None))

    def open(self, sealed: bytes) -> bytes:
        """Raises PlaceError when a byte was changed, or the secret is another."""
        try:
            return bytes(self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None))
        except (self._invalid, ValueError):
            raise PlaceError("it was sealed with another places.key, or is damaged") from None

    def open_object(self, address: str, sealed: bytes) -> bytes:
        """The object that this address names. Raises PlaceError."""
        try:
            plain = self.open(sealed)
        except PlaceError as error:
            raise PlaceError(f"object {address[:12]}: {error}") from None
        if not hmac.compare_digest(self.address(plain), address):
            raise PlaceError(f"object {address[:12]}: it holds what belongs under another name")
        return plain

    def sign(self, head: bytes, body: bytes) -> bytes:
        """A manifest. `head`: one line."""
        said = head + b"\n" + self.seal(body)
        signature = hmac.digest(self._signing, said, hashlib.sha256).hex().encode()
        return b"%s%d %s\n%s" % (MAGIC, FORMAT, signature, said)

    def verify(self, manifest: bytes) -> tuple[bytes, bytes]:
        """Head and body. Raises PlaceError."""
        line, _, said = manifest.partition(b"\n")
        if not line.startswith(MAGIC):
            raise PlaceError("what lies there is no manifest")
        version, _, signature = line[len(MAGIC) :].partition(b" ")
        if version != b"%d" % FORMAT:
            raise PlaceError(
                f"its format is {version[:8]!r}, this Fanion knows {FORMAT}; run the newer Fanion"
            )
        made = hmac.digest(self._signing, said, hashlib.sha256).hex().encode()
        if not hmac.compare_digest(made, signature):
            raise PlaceError("its signature isn't one of this places.key, or it is damaged")
        head, _, body = said.partition(b"\n")
        return head, self.open(body)
