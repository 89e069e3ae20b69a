"""Evaluation of one flag, and of all flags for one context (docs/apis/ofrep.md: One flag, All flags).

A flag is asked in the shape of context that its source declares. All flags of a request are answered from one
snapshot; its tag is made of what they are answered from, so a client that has them is told so before any is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, cast

import msgspec

from fanion.dialects.ofrep.channels import Channels
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
from fanion.dialects.ofrep.pieces import PIECE_FLAGS, Turns, cut
from fanion.dialects.ofrep.schema import OWN_MEMBER, TARGETING_KEY, Bodies, Wanted, Who, who
from fanion.dialects.ofrep.served import Group, Served, served
from fanion.dialects.wire.conditional import matches
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.path import decode_segment
from fanion.dialects.wire.prepared import LISTED_BYTES_MIN
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord
from fanion.model.json_value import Json, JsonObject
from fanion.model.program import Resolution
from fanion.model.shape import Asked, seconds_now

NEEDED: Final = "The flag can't be answered without a targetingKey."

ERROR: Final = int(Resolution.ERROR)

_encode: Final = msgspec.json.Encoder().encode
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


def evaluate_one(bodies: Bodies, gate: Gate) -> Handler:
    read = bodies.context

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        key = decode_segment(tail)
        if key is None:
            return unknown(tail.decode("ascii", "replace"))
        at = served(snapshot, record)
        client = record.kind == "client"
        person: Who | None = None
        try:
            context = read(body)
            targeting_key = context.get(TARGETING_KEY)
            if not isinstance(targeting_key, str) or OWN_MEMBER in context:
                person = who(context)
                targeting_key = person.targeting_key
        except Fault as fault:
            return refuse(fault, key)
        gate.evaluation(at.terms, targeting_key)
        if person is None:
            found = at.reader(client).resolve(key, context)
            if found is None:
                return one(at, key, client, who(context))
            if not found[1]:
                return unknown(key)
            return REFUSED if found[0] == ERROR else OK, found[1]
        return one(at, key, client, person)

    return handler


def one(at: Served, key: str, client: bool, person: Who) -> Reply:
    """The answer to one key, as it was asked for."""
    flag = flag_of(at, key, client)
    if flag is None:
        return unknown(key)
    if isinstance(flag, bytes):
        return REFUSED, flag
    source, name = flag
    shape = at.shape(source)
    targeting_key, attributes, _ = person
    if targeting_key is None and at.visible(name, client) and at.lacking([name], shape, attributes):
        return REFUSED, failure(key, TARGETING_KEY_MISSING, NEEDED)
    asked = shape.asked(targeting_key, attributes)
    head = OK
    if source in at.layered:
        (answer,) = laid(at, source, [name], client, asked)
    else:
        resolution, answer, _ = at.bundle.resolve(at.table, name, client, *asked)
        if resolution == Resolution.ERROR:
            head = REFUSED
    if not answer:
        return unknown(key)
    return head, answer if name == key else renamed(answer, name, key)


def flag_of(at: Served, asked: str, client: bool) -> tuple[str, str] | bytes | None:
    """Source and name of the flag that a key asks for; what is said of a key that several have; None of one that
    nobody has. A flag that may not be seen isn't there."""
    sources, key, name = at.meant(asked)
    if name is None:
        sources = tuple(one for one in sources if at.visible(at.directory.name(one, key), client))
        if len(sources) > 1:
            return failure(asked, GENERAL, ambiguous(key, sources))
        if not sources:
            return None
        name = at.directory.name(sources[0], key)
    return sources[0], name


def laid(
    at: Served, source: str, names: list[str], client: bool, asked: Asked, assigned: bool = False
) -> list[bytes]:
    """Flags of a source with layers; nothing of one that isn't there."""
    seen = [name for name in names if at.visible(name, client)] if client else names
    found = at.laid(source, seen, asked, assigned) if seen else {}
    return [bytes(found[name]) if name in found else b"" for name in names]


def ambiguous(key: str, sources: tuple[str, ...]) -> str:
    """What is said of a key that several sources have."""
    names = " or ".join(f"{source}:{key}" for source in sources)
    return f"Several sources have a flag of this key; ask for {names}, or name their order in source_order."


def renamed(answer: bytes, name: str, key: str) -> bytes:
    """An answer under the key that it was asked by."""
    return b'{"key":%b%b' % (_encode(key), answer[len(b'{"key":') + len(_encode(name)) :])


def evaluate_all(services: Services, bodies: Bodies, gate: Gate, channels: Channels, turns: Turns) -> Handler:
    read = bodies.context
    least = LISTED_BYTES_MIN

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        at = served(snapshot, record)
        client = record.kind == "client"
        known = bodies.prepared(at.lists, body, client=client) if len(body) > least else None
        if known is None:
            wanted, context = None, read(body)
        else:
            wanted, context = known
            context |= {OWN_MEMBER: cast("Json", wanted.text)}
        base, streams = channels.offer(snapshot, record, headers)
        second = seconds_now() if at.timed else None
        tag = tag_of(base, context, second)
        if wanted is None:
            person = who(context)
        else:
            del context[OWN_MEMBER]
            person = who(context, wanted.flags)
        gate.evaluation(at.terms, person.targeting_key)
        if matches(headers.get(b"if-none-match"), tag):
            return unchanged(tag), b""
        pieces = everything(at, client, person, wanted)
        if at.large if person.flags is None else len(person.flags) > PIECE_FLAGS:
            environment = record.environment
            begun = second, snapshot.content(environment)

            def same() -> bool:
                ends = seconds_now() if at.timed else None, services.snapshots.current().content(environment)
                return ends == begun

            return in_turn(pieces, tag, streams, same)
        return tagged(tag), b'{"flags":[%b]%b}' % (b",".join(chain.from_iterable(pieces)), streams)

    async def in_turn(
        pieces: Iterator[list[bytes]], tag: bytes, streams: bytes, same: Callable[[], bool]
    ) -> Reply:
        """Many flags. Members of lists and the time are those of the moment, so the answer is none to keep where
        they are not the `same` as when it was begun."""
        answers = await turns.gather(pieces)
        return tagged(tag) if same() else OK, b'{"flags":[%b]%b}' % (b",".join(answers), streams)

    return handler


def tag_of(base: hashlib.blake2b, context: JsonObject, second: int | None = None) -> bytes:
    """The entity tag: another one for any other base (`Offer.tag`), context and, where flags read the time,
    second."""
    try:
        canonical = _canonical(context)
    except (OverflowError, msgspec.EncodeError):  # whole numbers of more than 64 bits
        text = json.dumps(context, sort_keys=True, default=msgspec.json.decode)
        canonical = text.encode("utf-8", "surrogatepass")
    whole = base.copy()
    whole.update(canonical)
    if second is not None:
        whole.update(b"@%d" % second)
    return b'"%b"' % whole.hexdigest().encode()


class Plan(NamedTuple):
    """What some keys ask for: `flags`, by key, as `flag_of` says, and those to be asked, as groups. `plain`: the
    one group holds just these keys, in this order, under their own names."""

    flags: dict[str, tuple[str, str] | bytes | None]
    groups: list[Group]
    plain: bool


def everything(at: Served, client: bool, person: Who, wanted: Wanted | None = None) -> Iterator[list[bytes]]:
    """The answers of all flags, or of those that the context names, in pieces, each of them one or several with
    commas between. `wanted`: these, where they were asked for before."""
    if person.flags is None:
        listing = at.listing
        if at.large:
            yield []  # to read the list takes as long as many pieces
        for group in at.groups(client):
            yield together(at, group, client, person)
        plans = planned(at, client, listing.ambiguous)
    elif wanted is None or wanted.plans is None:
        plans = planned(at, client, person.flags)
    else:
        plans = iter(cast("Sequence[Plan]", wanted.plans))
    made: list[Plan] = []
    for plan in plans:
        made.append(plan)
        yield list(chosen(at, client, person, plan))
    if wanted is not None:
        wanted.plans = made


def each(at: Served, person: Who) -> Iterator[bytes]:
    """The same, one by one, for whoever may see all."""
    if person.flags is None:
        for group in at.groups(False):
            yield from filter(None, answered(at, group, False, person))
    for plan in planned(at, False, at.listing.ambiguous if person.flags is None else person.flags):
        yield from put_together(at, False, person, plan)


def answered(at: Served, group: Group, client: bool, person: Who) -> list[bytes]:
    """The answers of one group, in its order; nothing of a flag that isn't there."""
    shape, layered, names = group
    targeting_key, attributes, _ = person
    asked = shape.asked(targeting_key, attributes)
    if layered is not None:
        found = laid(at, layered, names, client, asked, assigned=True)
    else:
        found = [answer for _, answer, _ in at.bundle.ask(*asked).put_each(at.table, names, client)]
    if targeting_key is None:
        lacking = at.lacking(names, shape, attributes)
        found = [
            failure(name, TARGETING_KEY_MISSING, NEEDED) if answer and name in lacking else answer
            for name, answer in zip(names, found, strict=True)
        ]
    return found


def together(at: Served, group: Group, client: bool, person: Who) -> list[bytes]:
    """The answers of one group, those that are there, with commas between if that is quicker."""
    if group.layered is not None or person.targeting_key is None:
        return list(filter(None, answered(at, group, client, person)))
    asked = group.shape.asked(person.targeting_key, person.attributes)
    made = at.bundle.ask(*asked).put_list(at.table, group.names, client)
    return [made] if made else []


def planned(at: Served, client: bool, keys: Iterable[str]) -> Iterator[Plan]:
    """What these keys ask for, each once, in pieces."""
    for some in cut(tuple(dict.fromkeys(keys))):
        flags = {key: flag_of(at, key, client) for key in some}
        groups = at.grouped(dict.fromkeys(flag for flag in flags.values() if isinstance(flag, tuple)))
        yield Plan(flags, groups, len(groups) == 1 and groups[0].names == list(flags))


def chosen(at: Served, client: bool, person: Who, plan: Plan) -> Iterable[bytes]:
    """The answers to a plan's keys, in their order; a key that isn't there has none."""
    if plan.plain:
        return together(at, plan.groups[0], client, person)
    return put_together(at, client, person, plan)


def put_together(at: Served, client: bool, person: Who, plan: Plan) -> Iterator[bytes]:
    """As `chosen`, of several groups, or under other names."""
    answers: dict[str, bytes] = {}
    for group in plan.groups:
        answers.update(zip(group.names, answered(at, group, client, person), strict=True))
    for key, flag in plan.flags.items():
        if isinstance(flag, bytes):
            yield flag
        elif flag is not None and answers[flag[1]]:
            name = flag[1]
            yield answers[name] if name == key else renamed(answers[name], name, key)
