"""Evaluation of one variable and of many (docs/apis/redpennon.md: Evaluate one, Evaluate many, Traces).

A request that is authenticated, well-formed and allowed is always answered 200, also with nothing to serve: the
SDK falls back to the code's default on `"value":null`. A batch is answered from one snapshot, so from one
generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from fanion.dialects.redpennon.emit import ANONYMOUS, TOKEN_CUT
from fanion.dialects.redpennon.envelope import OK
from fanion.dialects.redpennon.governed import Gate
from fanion.dialects.redpennon.listed import Wanted, wanted_of
from fanion.dialects.redpennon.schema import Bodies, User, identity_of
from fanion.dialects.redpennon.served import Served, served
from fanion.dialects.redpennon.trace import SCOPE_CHARACTERS, TraceSigner
from fanion.dialects.redpennon.words import CUSTOM_DATA
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.prepared import LISTED_BYTES_MIN
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.model import canonical
from fanion.model.api_key import KeyRecord
from fanion.model.json_value import Json, JsonObject
from fanion.model.signing import SigningKeys

NATIVE_MEMBERS: Final = ("email", "organisation_id", "ip", "app_version", "platform", "country", "audiences")
"""What native conditions can look at beside custom_data, under the API's own names."""

END_OF_OBJECT: Final = 0x7D

_encode = msgspec.json.Encoder().encode

Contexts: TypeAlias = tuple[tuple[str, str, JsonObject], ...]


class Signers:
    """The signer of the keys in force; kept over generations while the keys stay."""

    def __init__(self, ttl_s: float, now_ns: Callable[[], int]) -> None:
        self._ttl_s = ttl_s
        self._now_ns = now_ns
        self._generation = -1
        self._keys: SigningKeys | None = None
        self._signer: TraceSigner | None = None

    def of(self, snapshot: Snapshot) -> TraceSigner | None:
        """None where the store has no keys: then nothing is traced and nothing verifies."""
        if snapshot.number != self._generation:
            keys = snapshot.signing_keys
            if keys != self._keys:
                self._signer = None if keys is None else TraceSigner(keys, self._ttl_s, self._now_ns)
                self._keys = keys
            self._generation = snapshot.number
        return self._signer


def decode_key(tail: bytes) -> str:
    """The variable's key, decoded once and folded. Bytes that aren't UTF-8 become a key that no one has."""
    raw = unquote_to_bytes(tail) if b"%" in tail else tail
    return raw.decode("utf-8", "replace").lower()


def context_of(
    at: Served, user: User, identity: str | None
) -> tuple[User, JsonObject | None, Contexts | None]:
    """(members, attributes, contexts) as Red Pennon's and, where there are any, native definitions read them."""
    custom = user.get(CUSTOM_DATA)
    if not isinstance(custom, dict):
        custom = {}
    contexts = ((CUSTOM_DATA, "", custom),) if custom else None
    if not at.native:
        return user, None, contexts
    attributes = {**custom}
    attributes |= {name: user[name] for name in NATIVE_MEMBERS if name in user}
    members = {**user}
    for name in ("userId", "anonymousId"):
        members.pop(name, None)
        attributes.pop(name, None)
    if identity is not None:
        members["userId"] = identity
    return members, attributes, contexts


def variable(
    head: bytes, answer: bytes, token: bytes | None, identity: str | None, signer: TraceSigner | None
) -> bytes:
    """The object of one variable: its head, `{"key":KEY,`, and a fragment with its end: a whole token, or none.
    `token`: its beginning, None where the fragment is whole (see `emit`)."""
    if token is None:
        return head + answer
    if identity is None or signer is None:
        return b"%b%b%b" % (head, answer, ANONYMOUS)
    issued = signer.issue(token[-SCOPE_CHARACTERS:], identity)
    return b'%b%b%b%b"}' % (head, answer, token, issued)


def whole(fragment: bytes, user: Mapping[str, Json] | None) -> bytes:
    """A result as commands show it: a trace is issued with every answer, so only its beginning, `rpe_v1:SCOPE...`,
    is known beforehand; it is null for a user without an identity, as in the API."""
    if fragment[-1] == END_OF_OBJECT:
        return b"{%b" % fragment
    if user is not None and not any(canonical.name(user.get(member)) for member in ("id", "email", "userId")):
        return b"{%b%b" % (fragment[:-TOKEN_CUT], ANONYMOUS)
    return b'{%b..."}' % fragment


def evaluate_one(bodies: Bodies, signers: Signers, gate: Gate) -> Handler:
    read = bodies.one
    admit = gate.evaluation

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record)
        user = read(body)
        identity = identity_of(user)
        refused = admit(at.governed, identity)
        if refused is not None:
            return refused
        key = decode_key(tail)
        members, attributes, contexts = context_of(at, user, identity)
        client = record.kind == "client"
        _, answer, token = at.bundle.resolve(at.table, key, client, members, attributes, contexts)
        return OK, variable(b'{"key":%b,' % _encode(key), answer, token, identity, signers.of(snapshot))

    return handler


def evaluate_many(bodies: Bodies, signers: Signers, gate: Gate) -> Handler:
    read = bodies.many
    least = LISTED_BYTES_MIN

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record)
        client = record.kind == "client"
        known = bodies.prepared(at.lists, body, client=client) if len(body) > least else None
        if known is not None:
            listed, user = known
            wanted: Wanted = listed.extra
        else:
            keys, user = read(body)
            folded, wanted, _ = wanted_of(keys)
        identity = identity_of(user)
        refused = gate.batch(at.governed, identity, wanted.sent)
        if refused is not None:
            return refused
        context = context_of(at, user, identity)
        signer = signers.of(snapshot)
        if known is not None:
            answers = listed.put_each(*context)
        else:
            answers = at.bundle.ask(*context).put_each(at.table, folded, client)
        results = [
            variable(head, answer, token, identity, signer)
            for head, (_, answer, token) in zip(wanted.heads, answers, strict=True)
        ]
        return OK, b'{"results":{%b}}' % b",".join(results)

    return handler
