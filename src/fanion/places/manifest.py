"""The manifest of one generation in a place: who made it, and the addresses of all that it is made of.

Numbers only grow; a manifest is only believed under the number that it says. What was taken last is kept in the
store beside the generation that was made of it (`Origin`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from fanion.errors import PlaceError
from fanion.places.place import MANIFEST_BYTES_MAX, Found
from fanion.places.sealing import Sealer


class Head(msgspec.Struct, frozen=True):
    """What people may read without the secret. `made_at`: Unix seconds. `version`: of the Fanion that made it."""

    number: int
    made_at: float
    machine: str
    version: str
    environments: tuple[str, ...]


class ListAt(msgspec.Struct, frozen=True, array_like=True):
    """A list segment: its entry in the store, and the object that names its blocks."""

    number: int
    count: int
    source: str
    secret: int
    changes: int
    index: str


class EnvironmentAt(msgspec.Struct, frozen=True, array_like=True):
    """`bundle`, `definitions`: objects. `overrides`: what was laid over it. `keys`: the key set of its definitions,
    an object."""

    bundle: str
    definitions: str
    keys: str
    overrides: str
    lists: dict[str, ListAt]


class Body(msgspec.Struct, frozen=True):
    """`keys`: an object, the store's key table. `rows`: of the store's `meta`. `lists_made`: the last number of a
    list. `sizes`: bytes of the objects in `addresses`, sealed, in the order of their names; 0, or none of them: not
    known, as in what an older Fanion made."""

    environments: dict[str, EnvironmentAt] = {}
    keys: str = ""
    rows: dict[bytes, bytes] = {}
    lists_made: int = 0
    sizes: list[int] = []

    def addresses(self) -> set[str]:
        """All objects that it names itself; those of lists' blocks are in their indices."""
        found = {self.keys}
        for entry in self.environments.values():
            found |= {entry.bundle, entry.definitions, entry.keys}
            found |= {each.index for each in entry.lists.values()}
        return found - {""}

    def sizes_by_address(self) -> dict[str, int]:
        """Of those that are known."""
        addresses = sorted(self.addresses())
        pairs = zip(addresses, self.sizes, strict=True) if len(addresses) == len(self.sizes) else ()
        return {address: size for address, size in pairs if size > 0}


class Manifest(NamedTuple):
    head: Head
    body: Body
    digest: str
    """What tells it from another one of its number."""


class Origin(msgspec.Struct, frozen=True):
    """What the store was made of. `role`: whether the directory publishes to the place or follows it. `generation`:
    the store's own, right after it; another one now: it was changed here. `at`: Unix seconds."""

    role: Literal["publishes", "follows"]
    url: str
    number: int = 0
    digest: str = ""
    generation: int = 0
    at: float = 0.0
    body: Body = Body()


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode
_decode_head = msgspec.json.Decoder(Head).decode
_decode_origin = msgspec.msgpack.Decoder(Origin).decode


def write_manifest(sealer: Sealer, head: Head, body: Body) -> bytes:
    """Raises PlaceError where it is too large."""
    content = sealer.sign(msgspec.json.encode(head), _encode(body))
    if len(content) > MANIFEST_BYTES_MAX:
        raise PlaceError(
            f"the manifest would have {len(content):,} bytes, {MANIFEST_BYTES_MAX:,} are allowed: serve fewer "
            f"environments from one place"
        )
    return content


def read_manifest(sealer: Sealer, found: Found) -> Manifest:
    """Raises PlaceError where it isn't signed with this secret, or lies under another's number."""
    try:
        head_line, body = sealer.verify(found.content)
        head = _decode_head(head_line)
        if head.number != found.number:
            raise PlaceError(f"it says that it is number {head.number}")
        return Manifest(head, _decode_body(body), sealer.address(found.content))
    except (PlaceError, msgspec.MsgspecError) as error:
        raise PlaceError(f"manifest {found.number} is refused: {error}") from None


def encode_origin(origin: Origin) -> bytes:
    return _encode(origin)


def decode_origin(payload: bytes) -> Origin:
    """Raises PlaceError."""
    try:
        return _decode_origin(payload)
    except msgspec.MsgspecError as error:
        raise PlaceError(f"what the store says of its place can't be read: {error}") from None
