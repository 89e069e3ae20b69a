"""OFREP's answers, rendered when definitions are published (docs/apis/ofrep.md: One flag, Reasons, Values).

A fragment is a whole answer, `{"key":...}`: a success, or a failure where the outcome is an error. Every flag of
every source has one entry, under its name (`SourceDirectory.name`); what layers lay over their source's parameters
are the table's rows. Three documents stand beside the table: which sources have layers, the flags (for all flags at
once, and for requests without a targeting key), and the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fanion.dialects.ofrep.envelope import GENERAL, PARSE_ERROR, failure
from fanion.dialects.ofrep.needs import Needs
from fanion.dialects.ofrep.values import FlagType, default_of, type_of, variant_of, written
from fanion.engine.sources import SourceDirectory
from fanion.model.layers import Arm, Layer, Patch, Row, RowOutcome
from fanion.model.parts import Fragment
from fanion.model.program import Answer, Cause, Entry, Lowered, Parameter, Resolution, Table
from fanion.model.shape import SourceRecord

LAYERED: Final = "ofrep.layered"
"""Document: the sources that have layers; for each, names of flags whose values other layers may replace, and per
flag the name of one parameter of each such layer: a layer counts only where one of its own is asked for."""
FLAGS: Final = "ofrep.flags"
"""Document: `FlagList`."""
MANIFEST: Final = "ofrep.manifest"
"""Document: a list of `ManifestFlag`."""

REASONS: Final = {
    Cause.NONE: "UNKNOWN",
    Cause.RULE: "TARGETING_MATCH",
    Cause.ROLLOUT: "SPLIT",
    Cause.PINNED: "TARGETING_MATCH",
    Cause.UNMATCHED: "DEFAULT",
    Cause.DEFAULT: "STATIC",
    Cause.OFF: "DISABLED",
    Cause.COMPLETE: "STATIC",
    Cause.ARCHIVED: "DISABLED",
    Cause.DELETED: "DISABLED",
    Cause.PREREQUISITE: "DEFAULT",
    Cause.UNREADABLE: "UNKNOWN",
}

FAILED: Final = "The flag's definition can't be evaluated; `fanion check` says why."

Scalar = bool | int | float | str


class Flag(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """`name`: of its entry. `keyed`: it reads a context that has no key without a targeting key. `splits`:
    decisions that need the targeting key if their hash is reached."""

    name: str
    client_safe: bool
    keyed: bool = False
    splits: tuple[int, ...] = ()


class FlagList(msgspec.Struct, frozen=True):
    """`flags`: by source. `ambiguous`: keys that several sources have."""

    flags: dict[str, list[Flag]]
    ambiguous: tuple[str, ...] = ()


class ManifestFlag(msgspec.Struct, frozen=True, gc=False):
    """`client_safe` isn't shown."""

    key: str
    type: FlagType
    default_value: msgspec.Raw = msgspec.field(name="defaultValue")
    client_safe: bool
    description: str = ""


def render(lowered: Lowered) -> Table:
    """OFREP's table of an environment."""
    return _Rendering(lowered).table()


class _Rendering:
    """One environment's table while it is made."""

    def __init__(self, lowered: Lowered) -> None:
        flags = ((one.source, one.key) for one in lowered.parameters)
        self.lowered = lowered
        self.directory = SourceDirectory(SourceRecord.of(lowered.shapes, lowered.source_order, flags))
        self.parameters = [one for one in lowered.parameters if one.source in lowered.shapes]
        self.names = [self.directory.name(one.source, one.key) for one in self.parameters]
        self.needs = Needs(lowered)
        told = lowered.documents.get("metadata", b"{}")
        self.metadata = msgspec.json.decode(told, type=dict[str, dict[str, Scalar]])
        self.rows: dict[tuple[str, str], int] = {}
        """Source and name of a layer -> its first row."""
        self.laid: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """Source and key of a parameter -> the layers that may lay a value over it, and the value."""
        self.plain: dict[tuple[str, tuple[Answer, ...]], tuple[FlagType, list[_Rest]]] = {}
        """Source and answers of flags that have nothing else in their answers but their names: their type, and the
        rest of each answer."""
        for number, layer in enumerate(lowered.layers):
            self.rows.setdefault((layer.source, layer.key), number)
            for arm in layer.arms:
                for key, value in arm.values:
                    self.laid.setdefault((layer.source, key), []).append((number, value))

    def table(self) -> Table:
        entries, types = [], {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            entry, kind = self._entry(name, parameter)
            types[parameter.source, parameter.key] = kind
            entries.append(entry)
        numbers = {(one.source, one.key): n for n, one in enumerate(self.parameters)}
        rows = [self._row(n, layer, numbers, types) for n, layer in enumerate(self.lowered.layers)]
        documents = {
            LAYERED: msgspec.json.encode(self._companions()),
            FLAGS: msgspec.json.encode(self._flags()),
            MANIFEST: msgspec.json.encode(list(self._manifest(types))),
        }
        return Table(tuple(entries), (), documents, tuple(rows), 1 if rows else 0)

    def _values(self, parameter: Parameter) -> Iterator[str]:
        """Every value that the flag may have."""
        yield from (answer.value for answer in parameter.answers if answer.value is not None)
        yield from (value for _, value in self.laid.get((parameter.source, parameter.key), ()))

    def _entry(self, name: str, parameter: Parameter) -> tuple[Entry, FlagType]:
        source, key, answers = parameter.source, parameter.key, parameter.answers
        constant = (source, key) not in self.laid
        own = self.metadata.get(f"{source}:{key}", {}) if self.metadata else {}
        if own or not constant or parameter.group != key:
            kind = type_of(self._values(parameter))
            rests = [_rest(parameter, one, kind, constant, own) for one in answers]
        elif (source, answers) in self.plain:
            kind, rests = self.plain[source, answers]
        else:
            kind = type_of(self._values(parameter))
            rests = [_rest(parameter, one, kind, constant, own) for one in answers]
            self.plain[source, answers] = kind, rests
        fragments = tuple(_whole(name, rests))
        row = self.rows.get((source, parameter.group), -1) if self.rows else -1
        return Entry(name, parameter.decision, fragments, parameter.client_safe, row), kind

    def _row(
        self, number: int, layer: Layer, numbers: dict[tuple[str, str], int], types: dict[Any, FlagType]
    ) -> Row:
        outcomes = []
        for arm in layer.arms:
            patches = []
            for key, value in arm.values:
                at = numbers.get((layer.source, key))
                if at is not None:
                    text = self._laid_fragment(at, layer, arm, value, types[layer.source, key])
                    patches.append(Patch(at, text))
            outcomes.append(RowOutcome(((),), tuple(patches)))
        group = self.rows[layer.source, layer.key]
        return Row(layer.decision, tuple(outcomes), group=-1 if group == number else group)

    def _laid_fragment(self, at: int, layer: Layer, arm: Arm, value: str, kind: FlagType) -> Fragment:
        metadata = {"source": layer.source, "group": layer.key, "ruleId": arm.policy}
        rest = _success("SPLIT", value, arm.allocation_name, kind, metadata)
        return next(_whole(self.names[at], [rest]))

    # -- documents

    def _companions(self) -> dict[str, dict[str, list[str]]]:
        if not self.lowered.layers:
            return {}
        first: dict[int, str] = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            row = self.rows.get((parameter.source, parameter.group))
            if row is not None:
                first.setdefault(row, name)
        found: dict[str, dict[str, list[str]]] = {layer.source: {} for layer in self.lowered.layers}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            own = self.rows.get((parameter.source, parameter.group))
            layers = (number for number, _ in self.laid.get((parameter.source, parameter.key), ()))
            rows = {self.rows[parameter.source, self.lowered.layers[number].key]: None for number in layers}
            others = [first[row] for row in rows if row != own and row in first]
            if others:
                found[parameter.source][name] = others
        return found

    def _flags(self) -> FlagList:
        flags: dict[str, list[Flag]] = {}
        shared: dict[str, None] = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            flags.setdefault(parameter.source, []).append(self._flag(name, parameter))
            if name != parameter.key:
                shared[parameter.key] = None
        return FlagList(flags, tuple(key for key in shared if len(self.directory.place(key)[0]) > 1))

    def _flag(self, name: str, parameter: Parameter) -> Flag:
        shape, needs = self.lowered.shapes[parameter.source], self.needs
        decisions = {parameter.decision: None}
        if self.laid:
            for number, _ in self.laid.get((parameter.source, parameter.key), ()):
                decisions[self.lowered.layers[number].decision] = None
        keyed = shape.keyed and any(needs.keyed(decision, shape) for decision in decisions)
        splits = [decision for decision in decisions if needs.splits(decision, shape)]
        return Flag(name, parameter.client_safe, keyed, tuple(splits))

    def _manifest(self, types: dict[Any, FlagType]) -> Iterator[ManifestFlag]:
        """Flags that have a value; a key that several sources have goes by its names."""
        texts = self.lowered.documents.get("descriptions", b"{}")
        descriptions = msgspec.json.decode(texts, type=dict[str, str])
        for name, parameter in zip(self.names, self.parameters, strict=True):
            kind = types[parameter.source, parameter.key]
            value = default_of(parameter)
            if value is not None:
                told = descriptions.get(f"{parameter.source}:{parameter.key}", "")
                raw = msgspec.Raw(written(value, kind))
                yield ManifestFlag(name, kind, raw, parameter.client_safe, told)


_Rest = str | tuple[bytes, ...]
"""An answer without the flag's name: what stands behind it, or the code of a failure."""


def _rest(
    parameter: Parameter, answer: Answer, kind: FlagType, constant: bool, own: dict[str, Scalar]
) -> _Rest:
    """`constant`: no layer lays another value over it. `own`: what the definition says of the flag."""
    if answer.resolution is Resolution.ERROR:
        return PARSE_ERROR if answer.cause is Cause.UNREADABLE else GENERAL
    reason = REASONS[answer.cause]
    if reason == "STATIC" and not constant:
        reason = "DEFAULT"
    group = None if parameter.group == parameter.key else parameter.group
    metadata = {"source": parameter.source, "group": group, "ruleId": answer.rule_id, **own}
    return _success(reason, answer.value, answer.variant, kind, metadata)


def _success(
    reason: str,
    value: str | None,
    variant: str | None,
    kind: FlagType,
    metadata: Mapping[str, Scalar | None],
) -> _Rest:
    """The value stands alone, so that a bundle stores it once. None, JSON's null and a variant without a name: the
    caller's own default counts, so neither value nor variant is sent."""
    told = {key: text for key, text in metadata.items() if text is not None}
    tail = b',"reason":"%b"' % reason.encode()
    if value is None or value == "null" or variant == "":
        return (b"", b'%b,"metadata":%b}' % (tail, msgspec.json.encode(told)))
    text = written(value, kind)
    tail += b',"variant":%b' % quoted(variant_of(value) if variant is None else variant)
    return (b',"value":', text, b'%b,"metadata":%b}' % (tail, msgspec.json.encode(told)))


def _whole(name: str, rests: list[_Rest]) -> Iterator[Fragment]:
    """Whole answers of one flag."""
    head = b'{"key":' + quoted(name)
    for rest in rests:
        if isinstance(rest, str):
            yield (failure(name, rest, FAILED),)
        else:
            yield (head + rest[0], *rest[1:])


def quoted(text: str) -> bytes:
    return msgspec.json.encode(text)


def whole(fragment: bytes, user: object) -> bytes:
    """A fragment is a whole answer."""
    return fragment
