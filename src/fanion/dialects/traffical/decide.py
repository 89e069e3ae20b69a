"""Decide, one and many (docs/apis/traffical.md: Decide, Decide many): draws from the server's weights alone;
conditions are the client's business, so they don't count here.

A batch is told apart by the native judge and drawn in one native pass (`choose_each`); what it leaves, and each
single decision, goes item by item.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec

from fanion._core.draws import Way, choose_each
from fanion.dialects.traffical.decide_schema import DECIDE_MEMBERS, Batch, BatchItem, Decide, DecideSchema
from fanion.dialects.traffical.envelope import OK
from fanion.dialects.traffical.schema import Place
from fanion.dialects.traffical.served import Served, check_place, number, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.path import decode_segment
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

BATCH_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A dynamic policy answers up to 10,000 weights; this bounds what a small request can make the server send."""

encode_text = msgspec.json.encode


def decide(schema: DecideSchema) -> Handler:
    read = schema.decide

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        request = read(body)
        at = served(snapshot, record)
        check_place(at, request, headers)
        policy = decode_segment(tail) or ""
        if policy not in at.edges:
            raise Fault(FaultKind.NOT_FOUND, "No running edge policy has this id")
        found = drawn(at, policy, request)
        if found is None:
            raise Fault(
                FaultKind.INVALID_SHAPE, "entityId must not be empty, allocationCount from 1 to 10000"
            )
        return OK, found

    return handler


def drawn(at: Served, policy: str, request: Decide) -> bytes | None:
    """One decision; None where there is nothing to draw from."""
    members = {name: getattr(request, name) for name in DECIDE_MEMBERS}
    choice, probability, vector = at.bundle.choose(at.edges[policy].decision, members, None, None)
    if choice < 0:
        return None
    behind = ending(at, policy, choice, probability, vector, request.allocationCount)
    return begin(policy) + encode_text(request.entityId) + behind


def begin(policy: str) -> bytes:
    """What a decision begins with; the entity's id stands behind it."""
    return b'{"policyId":%b,"entityId":' % encode_text(policy)


def ending(
    at: Served, policy: str, choice: int, probability: float, vector: int, count: float | None
) -> bytes:
    """What stands behind the entity's id. `count`: of a dynamic policy."""
    names = at.edges[policy].names
    version, cold = at.version, True
    if vector >= 0:
        key, weights, note = at.bundle.vector(vector)
        version, cold = note or version, not key
        text = b",".join([encode_text(number(weight)) for weight in weights])
    else:
        size = len(names) if names is not None else int(count or 0)
        text = ((encode_text(number(probability)) + b",") * size)[:-1]
    return b',"allocationIndex":%d,"allocationName":%b,"weights":[%b],"coldStart":%b,"stateVersion":%b}' % (
        choice,
        encode_text(names[choice] if names is not None else str(choice)),
        text,
        b"true" if cold else b"false",
        encode_text(version),
    )


def decide_batch(schema: DecideSchema) -> Handler:
    """As many answers as requests, in their order; null for an item that can't be answered."""

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        sent = schema.items_apart(body)
        request: Place = schema.batch(body) if sent is None else sent[0]
        at = served(snapshot, record)
        check_place(at, request, headers)
        if sent is None:
            assert isinstance(request, Batch)
            text = drawn_singly(at, schema.items(request))
        else:
            text = drawn_each(at, *sent[1:])
        if text is None:
            raise Fault(FaultKind.INVALID_SHAPE, "the answer would be too long; ask for fewer allocations")
        return OK, b'{"responses":[%b],"results":[%b]}' % (text, text)

    return handler


def drawn_each(at: Served, columns: list[list[str | int | float | None]], places: bytes) -> bytes | None:
    """The answers to a batch that was told apart, with commas between; None where they are too long."""
    if at.ways is None:
        at.ways = {
            policy: Way(edge.decision, begin(policy), edge.names is None) for policy, edge in at.edges.items()
        }
    behind = partial(ending, at)
    return choose_each(at.bundle, at.ways, DECIDE_MEMBERS, columns, places, behind, BATCH_ANSWER_BYTES_MAX)


def drawn_singly(at: Served, items: Iterable[BatchItem | None]) -> bytes | None:
    """The plain twin of `drawn_each`, for every batch."""
    answers: list[bytes] = []
    size = 0
    for item in items:
        found = None if item is None or item.policyId not in at.edges else drawn(at, item.policyId, item)
        answers.append(b"null" if found is None else found)
        size += len(answers[-1])
        if size > BATCH_ANSWER_BYTES_MAX:
            return None
    return b",".join(answers)
