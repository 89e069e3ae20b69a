"""Where a request's raw key stands: a header of the API's own, or `Authorization: Bearer KEY`."""

from __future__ import annotations

from fanion._core.request_headers import behind
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList, Headers

AUTHORIZATION = b"authorization"
UUID_CHARACTERS = 36
CHALLENGE: HeaderList = [(b"www-authenticate", b"Bearer")]
"""What a 401 of an API with Bearer keys says beside its body."""


def bearer(headers: Headers) -> bytes:
    """The raw key. Raises Fault NO_CREDENTIALS, whose message says what is missing."""
    if key := behind(headers, AUTHORIZATION, b"Bearer "):
        return key
    value = headers.get(AUTHORIZATION)
    if value is None:
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header is missing.")
    if value[:7] != b"Bearer " and value[:7].lower() != b"bearer ":
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header must be: Bearer <api key>.")
    key = value[7:].strip()
    if not key:
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header holds no API key.")
    return key


def bearer_begins(headers: Headers, beginnings: bytes | tuple[bytes, ...]) -> bool:
    """Whether a Bearer key of such a beginning was sent."""
    value = headers.get(AUTHORIZATION, b"")
    return value[:7].lower() == b"bearer " and value[7:].startswith(beginnings)


def own_header(headers: Headers, name: bytes, missing: str) -> bytes:
    """The raw key in a header of the API's own. Raises Fault NO_CREDENTIALS with the text `missing`."""
    key = headers.get(name, b"").strip()
    if not key:
        raise Fault(FaultKind.NO_CREDENTIALS, missing)
    return key


def folded(key: bytes) -> bytes:
    """A UUID in lower case, which is how keys that are one are stored; any other key as it is."""
    if key.islower() or len(key) != UUID_CHARACTERS:
        return key  # as nearly all are; the look at its parts costs four times as much
    return key.lower() if key[8:9] == key[13:14] == key[18:19] == key[23:24] == b"-" else key
