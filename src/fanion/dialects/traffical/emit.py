"""Traffical's table, rendered when definitions are published (docs/apis/traffical.md: Resolve, Layer rows).

Entries are parameters, with their defaults; rows are layers, in two views: the SDKs' `metadata.layers` and
the documents' `decisions`. What an allocation overrides is a patch. Native flags stand beside the parameters,
without a layer; definitions in other systems' own formats are not shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import xxhash

from fanion.dialects.traffical.words import NAME
from fanion.model.json_value import Json
from fanion.model.layers import Arm, Layer, Patch, Row, RowHole, RowOutcome
from fanion.model.parts import Fragment, Hole
from fanion.model.program import Answer, Entry, Lowered, Parameter, Table

RECORD = "traffical"
"""Document: what the definitions say to this dialect."""
FIELDS = "traffical.fields"
"""Document: a list of lists of context fields; a row outcome's note is 1 + the number of one of them."""
VERSION = "traffical.version"
"""Document: the state's version where there is no Traffical bundle to name one."""
NATIVE = "traffical.native"
"""Document: whether there are native flags beside the parameters."""
VIEWS = 2
PREFIX = "native-"
SUM = 2**64 - 1
NULL: Fragment = (b"null",)


def render(lowered: Lowered) -> Table:
    """Traffical's table of an environment."""
    own = [one for one in lowered.parameters if one.source == NAME]
    native = [one for one in lowered.parameters if one.source == "native"]
    rows: dict[str, int] = {}
    for number, layer in enumerate(lowered.layers):
        rows.setdefault(layer.key, number)
    values: dict[tuple[Answer, ...], tuple[Fragment, ...]] = {}
    entries = []
    for parameter in native:
        answers = parameter.answers
        if answers not in values:
            values[answers] = tuple(map(value_of, answers))
        entries.append(Entry(parameter.key, parameter.decision, values[answers], parameter.client_safe))
    fields: dict[tuple[str, ...], int] = {}
    made: list[Row] = []
    record = lowered.documents.get(RECORD)
    if record is not None:
        constant: int = msgspec.json.decode(record)["constant"]
        entries += [
            Entry(one.key, constant, (default_of(one),), one.client_safe, rows.get(one.group, -1))
            for one in own
        ]
        entries += guests(lowered.layers, {entry.key for entry in entries}, constant)
        numbers = {entry.key: number for number, entry in enumerate(entries)}
        made = [row_of(layer, rows[layer.key], numbers, fields) for layer in lowered.layers]
        made = [
            msgspec.structs.replace(row, group=-1) if row.group == number else row
            for number, row in enumerate(made)
        ]
    documents = {
        FIELDS: msgspec.json.encode(list(fields)),
        NATIVE: b"true" if native else b"false",
        VERSION: version_of(digest(native)),
    }
    return Table(tuple(entries), NULL, documents, tuple(made), VIEWS)


def digest(parameters: list[Parameter]) -> int:
    """Another one for other flags or values; rules count by what they serve. A sum over the flags, so that it
    can be said of others from what changed."""
    total = 0
    for one in parameters:
        said = (one.key, one.group, one.group_id, one.client_safe, one.variants, one.answers)
        total += xxhash.xxh3_64_intdigest(msgspec.json.encode(said))
    return total & SUM


def amend(name: str, whole: bytes, before: bytes, after: bytes, decisions: Mapping[int, int]) -> bytes | None:
    """The version after a change of some flags (`wire.dialect.Dialect`)."""
    if name != VERSION:
        return None
    kept, gone, new = (
        int(msgspec.json.decode(one, type=str).removeprefix(PREFIX), 16) for one in (whole, before, after)
    )
    return version_of((kept - gone + new) & SUM)


def version_of(total: int) -> bytes:
    return quoted(f"{PREFIX}{total:016x}")


def value_of(answer: Answer) -> Fragment:
    return NULL if answer.value is None else (answer.value.encode(),)


def default_of(parameter: Parameter) -> Fragment:
    """The last outcome of a layer is the one without a unit, where every parameter has its default."""
    return value_of(parameter.answers[-1])


def guests(layers: tuple[Layer, ...], known: set[str], constant: int) -> list[Entry]:
    """Keys that only overrides name: they count where the caller brings a default (docs/apis/traffical.md:
    Resolution)."""
    keys = {key: None for layer in layers for arm in layer.arms for key, _ in arm.values if key not in known}
    return [Entry(key, constant, (NULL,), guest=True) for key in keys]


def row_of(layer: Layer, group: int, numbers: dict[str, int], fields: dict[tuple[str, ...], int]) -> Row:
    outcomes = []
    for arm in layer.arms:
        note = 0
        if arm.fields:
            note = fields.setdefault(arm.fields, len(fields)) + 1
        patches = tuple(Patch(numbers[key], (value.encode(),)) for key, value in arm.values)
        outcomes.append(RowOutcome((long_view(layer, arm), short_view(layer, arm)), patches, note))
    return Row(layer.decision, tuple(outcomes), layer.unit_slot, group)


def long_view(layer: Layer, arm: Arm) -> Fragment:
    """A row of `metadata.layers`; absent members are left out."""
    fragment: list[bytes | Hole] = [b'{"layerId":%b,"bucket":' % quoted(layer.key), Hole(RowHole.BUCKET)]
    text = member("policyId", arm.policy) + member("policyKey", arm.policy_key)
    if arm.numbered:
        fragment += [
            text + b',"allocationId":%b' % quoted(arm.allocation or "")[:-1],
            Hole(RowHole.CHOICE),
            b'","allocationName":"',
            Hole(RowHole.CHOICE),
        ]
        text = b'"'
    else:
        text += member("allocationId", arm.allocation) + member("allocationName", arm.allocation_name)
        text += member("allocationKey", arm.allocation_key)
    if arm.drawn:
        fragment += [text, Hole(RowHole.PROBABILITY)]
        text = b""
    elif arm.probability is not None:
        text += b',"probability":' + msgspec.json.encode(arm.probability)
    text += member("modelVersion", arm.model_version)
    if layer.unit is not None:
        fragment += [text + b',"unitKey":%b,"unitKeyValue":' % quoted(layer.unit), Hole(RowHole.UNIT)]
        text = b""
    fragment += [text, Hole(RowHole.UNASKED), b"}"]
    return tuple(piece for piece in fragment if piece)


def short_view(layer: Layer, arm: Arm) -> Fragment:
    """A row of `decisions`, for layers where a policy matched."""
    if arm.policy is None:
        return ()
    start = b'{"layerId":%b%b' % (quoted(layer.key), member("policyId", arm.policy))
    end: tuple[bytes | Hole, ...] = (b',"bucket":', Hole(RowHole.BUCKET), b"}")
    if arm.numbered:
        return (start + b',"allocationName":"', Hole(RowHole.CHOICE), b'"', *end)
    return (start + member("allocationName", arm.allocation_name), *end)


def whole(fragment: bytes, user: Mapping[str, Json] | None) -> bytes:
    """A parameter's fragment is its value."""
    return fragment


def member(name: str, value: str | None) -> bytes:
    return b"" if value is None else b',"%b":%b' % (name.encode(), quoted(value))


def quoted(text: str) -> bytes:
    return msgspec.json.encode(text)
