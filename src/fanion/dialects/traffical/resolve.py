"""Config and resolve (docs/apis/traffical.md: Config, Resolve).

A config is the published document as it is, with the hash of its bytes as a strong ETag. Resolve runs every
layer and answers in the SDKs' shape with the documents' names as aliases.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import msgspec

from fanion._core.prepared import PreparedList
from fanion.dialects.traffical.decision_ids import DecisionIds
from fanion.dialects.traffical.envelope import OK
from fanion.dialects.traffical.schema import ResolveRest, Schema
from fanion.dialects.traffical.served import Served, check_place, served
from fanion.dialects.wire.conditional import matches
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.path import decode_segment
from fanion.dialects.wire.prepared import LISTED_BYTES_MIN
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.dialects.wire.walk import ABSENT, look_up
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord
from fanion.model.json_value import JsonObject
from fanion.model.text import ecmascript_number

UNASKED: Final = b',"attributionOnly":true'
CHANCE: Final = b',"probability":'


def get_config(snapshot: Snapshot, record: KeyRecord, query: bytes, tail: bytes, headers: Headers) -> Reply:
    at = served(snapshot, record)
    project = decode_segment(tail)
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("env") or at.environment
    if project != at.project or given != at.environment:
        raise Fault(FaultKind.FORBIDDEN, "The API key belongs to another project or environment")
    if at.config is None:
        raise Fault(FaultKind.NOT_FOUND, "Bundle not found for project")
    if matches(headers.get(b"if-none-match"), at.etag):
        return at.unchanged_head, b""
    return at.config_head, at.config


def resolve(services: Services, schema: Schema) -> Handler:
    read = schema.resolve
    least = LISTED_BYTES_MIN
    now = services.clock.text
    decision_id = DecisionIds().take

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        if record.kind == "client":
            raise Fault(FaultKind.FORBIDDEN, "Publishable keys may not resolve")
        known = prepared(snapshot, record, body) if len(body) > least else None
        if known is not None:
            at, keys, rest = known
            check_place(at, rest, headers)
            context = {} if isinstance(rest.context, list) else rest.context
            notes = at.overlay.run_prepared(keys, identity(at, context), context, None)
        else:
            request = read(body)
            at = served(snapshot, record)
            check_place(at, request, headers)
            context = {} if isinstance(request.context, list) else request.context
            guests = None
            if request.defaults:
                guests = {key: bytes(value) for key, value in request.defaults.items()}
            notes = at.overlay.run(request.parameters, guests, identity(at, context), context, None)
        overlay = at.overlay
        unit = overlay.text(at.unit_slot) if at.unit_slot >= 0 else msgspec.json.encode(text_of(context, at))
        logged = filtered(at, notes, context) if notes else b""
        return OK, overlay.emit(
            (
                b'{"decisionId":"%b","assignments":{' % decision_id(),
                b'},"metadata":{"timestamp":"%b","unitKeyValue":%b,"layers":[' % (now(), unit),
                b']%b},"decisions":[' % logged,
                at.tail,
            ),
            UNASKED,
            CHANCE,
        )

    def prepared(
        snapshot: Snapshot, record: KeyRecord, body: bytes
    ) -> tuple[Served, PreparedList, ResolveRest] | None:
        """Where the body has a list that was asked for before."""
        try:
            at = served(snapshot, record)
        except (Fault, StoreError):  # it stands behind those of the body
            return None
        found = schema.take(at.lists, body)
        return None if found is None else (at, *found)

    return handler


def identity(at: Served, context: JsonObject) -> JsonObject | None:
    """The member that native flags know their user by."""
    if not at.has_native or at.unit_key == "userId" or at.unit_key not in context:
        return None
    return {"userId": context[at.unit_key]}


def text_of(context: JsonObject, at: Served) -> str:
    """The unit's text where no Traffical bundle binds it (docs/apis/traffical.md: Resolution)."""
    value = context.get(at.unit_key)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return ecmascript_number(float(value))
        except OverflowError:
            return ""
    return value if isinstance(value, str) else ""


def filtered(at: Served, notes: tuple[int, ...], context: JsonObject) -> bytes:
    """`,"filteredContext":{...}`: the fields that matched policies may log, those that the context has
    (docs/apis/traffical.md: Layer rows)."""
    found = {}
    for note in notes:
        for field in at.fields[note - 1]:
            if field not in found:
                value = look_up(context, field)
                if value is not ABSENT:
                    found[field] = value
    return b',"filteredContext":' + encode(found) if found else b""


def encode(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (
        OverflowError,
        msgspec.EncodeError,
    ):  # integers of more than 64 bits: doubles, as their clients read them
        return msgspec.json.encode(doubles(value))


def doubles(value: object) -> object:
    if isinstance(value, dict):
        return {key: doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [doubles(item) for item in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value
