"""Evaluation of one flag, and of all flags for one context (docs/apis/ofrep.md: One flag, All flags).

A flag is asked in the shape of context that its source declares. All flags of a request are answered from one
snapshot; its tag is made of what they are answered from, so a client that has them is told so before any is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

import msgspec

from fanion.dialects.ofrep.envelope import (
    GENERAL,
    OK,
    REFUSED,
    TARGETING_KEY_MISSING,
    failure,
    refuse,
    tagged,
    unchanged,
    unknown,
)
from fanion.dialects.ofrep.governed import Gate
from fanion.dialects.ofrep.schema import Bodies, Who, who
from fanion.dialects.ofrep.served import Group, Served, served
from fanion.dialects.wire.conditional import matches
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.path import decode_segment
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.engine.evaluator import ABSENT
from fanion.model.api_key import KeyRecord
from fanion.model.json_value import JsonObject
from fanion.model.program import Resolution

TAG_BYTES: Final = 16
NEEDED: Final = "The flag can't be answered without a targetingKey."

_encode: Final = msgspec.json.Encoder().encode
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


def evaluate_one(bodies: Bodies, gate: Gate) -> Handler:
    read = bodies.context

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        key = decode_segment(tail)
        if key is None:
            return unknown(tail.decode("ascii", "replace"))
        at = served(snapshot, record)
        try:
            person = who(read(body))
        except Fault as fault:
            return refuse(fault, key)
        gate.evaluation(at.terms, person.targeting_key)
        return one(at, key, record.kind == "client", person)

    return handler


def one(at: Served, key: str, client: bool, person: Who) -> Reply:
    """The answer to one key, as it was asked for."""
    sources, own = at.directory.place(key)
    if len(sources) > 1:
        sources = seen(at, sources, own, client)
        if len(sources) > 1:
            return REFUSED, failure(key, GENERAL, ambiguous(own, sources))
    if not sources:
        return unknown(key)
    source = sources[0]
    name = at.directory.name(source, own)
    shape = at.shape(source)
    targeting_key, attributes, _ = person
    if targeting_key is None and at.visible(name, client) and at.lacks_key(name, shape, attributes):
        return REFUSED, failure(key, TARGETING_KEY_MISSING, NEEDED)
    asked = shape.asked(targeting_key, attributes)
    if source in at.layered:
        hidden = client and not at.visible(name, client)
        found = None if hidden else at.laid(source, [name], asked).get(name)
        if found is None:
            return unknown(key)
        head, answer = OK, bytes(found)
    else:
        resolution, answer, _ = at.bundle.resolve(at.table, name, client, *asked)
        if resolution == ABSENT:
            return unknown(key)
        head = REFUSED if resolution == Resolution.ERROR else OK
    return head, answer if name == key else renamed(answer, name, key)


def seen(at: Served, sources: tuple[str, ...], key: str, client: bool) -> tuple[str, ...]:
    """The sources whose flag of this key may be seen: one that may not isn't there."""
    return tuple(one for one in sources if at.visible(at.directory.name(one, key), client))


def ambiguous(key: str, sources: tuple[str, ...]) -> str:
    """What is said of a key that several sources have."""
    names = " or ".join(f"{source}:{key}" for source in sources)
    return f"Several sources have a flag of this key; ask for {names}, or name their order in source_order."


def renamed(answer: bytes, name: str, key: str) -> bytes:
    """An answer under the key that it was asked by."""
    return b'{"key":%b%b' % (_encode(key), answer[len(b'{"key":') + len(_encode(name)) :])


def evaluate_all(bodies: Bodies, gate: Gate) -> Handler:
    read = bodies.context

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record)
        context = read(body)
        client = record.kind == "client"
        tag = tag_of(snapshot.content(record.environment), client, context)
        person = who(context)
        gate.evaluation(at.terms, person.targeting_key)
        if matches(headers.get(b"if-none-match"), tag):
            return unchanged(tag), b""
        return tagged(tag), b'{"flags":[%b]}' % b",".join(everything(at, client, person))

    return handler


def tag_of(content: bytes, client: bool, context: JsonObject) -> bytes:
    """The entity tag: another one for any other content, kind of key or context. No flag reads the time."""
    try:
        canonical = _canonical(context)
    except (OverflowError, msgspec.EncodeError):  # whole numbers of more than 64 bits
        canonical = json.dumps(context, sort_keys=True).encode("utf-8", "surrogatepass")
    known = hashlib.blake2b(canonical, digest_size=TAG_BYTES, key=content[:64], person=KINDS[client])
    return b'"%b"' % known.hexdigest().encode()


KINDS: Final = {False: b"server", True: b"client"}


def everything(at: Served, client: bool, person: Who) -> list[bytes]:
    """The answers of all flags, or of those that the context names."""
    if person.flags is not None:
        return chosen(at, client, person, dict.fromkeys(person.flags))
    answers: list[bytes] = []
    for group in at.groups(client):
        answers += answered(at, group, client, person)
    return answers + chosen(at, client, person, at.listing.ambiguous)


def answered(at: Served, group: Group, client: bool, person: Who) -> list[bytes]:
    """The answers of one group, in its order."""
    shape, layered, names = group
    targeting_key, attributes, _ = person
    asked = shape.asked(targeting_key, attributes)
    if layered is not None:
        laid = at.laid(layered, names, asked)
        found = [bytes(laid[name]) for name in names]
    else:
        found = [answer for _, answer, _ in at.bundle.ask(*asked).put_each(at.table, names, client)]
    if targeting_key is None:
        found = [
            failure(name, TARGETING_KEY_MISSING, NEEDED) if at.lacks_key(name, shape, attributes) else answer
            for name, answer in zip(names, found, strict=True)
        ]
    return found


def chosen(at: Served, client: bool, person: Who, keys: Iterable[str]) -> list[bytes]:
    """The answers to these keys, in their order; a key that isn't there has none."""
    answers = []
    for key in keys:
        head, answer = one(at, key, client, person)
        if head.status != 404:
            answers.append(answer)
    return answers
