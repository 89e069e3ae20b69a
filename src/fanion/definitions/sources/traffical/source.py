"""Traffical config bundles as a definition source (docs/apis/traffical.md: Bundle), with entity weights as the
role `weights`.

A reference names the bundle; a bundle that is published itself takes `NAME.weights.json` beside `NAME.json`
along. What the bundle's API gives a meaning is kept and warned about; what one of its clients would
refuse is refused (`files`). The document is served as it is, so nothing of it is lost.

    files       the structs of the files
    conditions  conditions, checked and lowered
    pattern     ECMAScript patterns to RE2
    lowering    the whole bundle: layers, parameters, edge policies
    layers      one layer to a decision
    events      event definitions
    experiments what experiment a policy is by itself
    overriding  a bundle as overrides leave it
    weighing    a bundle as applied weights leave it, and its policies for proposals
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading import limits
from fanion.definitions.reading.documents import DocumentError, parse_json
from fanion.definitions.reading.files import resolve
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.sources.format import Exists, SourceFile, SourceFormat
from fanion.definitions.sources.traffical.conditions import check_condition
from fanion.definitions.sources.traffical.events import read_events
from fanion.definitions.sources.traffical.files import NAME, Bundle, Layer, Policy, PolicyState, Reader
from fanion.definitions.sources.traffical.lowering import CONFIG, TrafficalLowering
from fanion.definitions.sources.traffical.overriding import overridden
from fanion.definitions.sources.traffical.weighing import plans, weighed
from fanion.model.definition import Environment, File, Organisation, Project, SourceReference

WEIGHTS: Final = "weights"
WEIGHTS_SUFFIX: Final = ".weights.json"
ALGORITHM: Final = "sha256-v2"


class Parsed(msgspec.Struct, frozen=True):
    """A checked bundle: `config` is the document to serve, `states` the weights that edge mode uses."""

    bundle: Bundle
    states: dict[str, PolicyState]
    events: dict[str, Any]
    config: bytes


def recognises(document: Any) -> bool:
    """Whether a plain document is a config bundle, or the weights of one."""
    if not isinstance(document, dict) or not document:
        return False
    if {"hashing", "parameters", "layers"} <= document.keys():
        return True
    return all(isinstance(one, dict) and "entities" in one and "_global" in one for one in document.values())


def placed(name: str, document: Any, exists: Exists) -> File | None:
    """The environment that a bundle names, with the bundle as its source; None for weights without it."""
    path = PurePosixPath(name)
    if "hashing" not in document:
        bundle = str(path.parent / (path.name.removesuffix(WEIGHTS_SUFFIX) + ".json"))
        beside = path.name.endswith(WEIGHTS_SUFFIX) and exists(bundle)
        return File(organisations={}) if beside else None
    ids = [document.get(key) for key in ("orgId", "projectId", "env")]
    if not all(isinstance(id, str) and 0 < len(id) <= limits.ID_CHARS_MAX for id in ids):
        return None
    weights = path.stem + WEIGHTS_SUFFIX
    files = {WEIGHTS: weights} if exists(resolve(name, weights)) else {}
    environment = Environment(sources=[SourceReference(NAME, path.name, files)])
    project = Project(environments={ids[2]: environment})
    return File(organisations={ids[0]: Organisation(projects={ids[1]: project})})


def parse(source: SourceFile, report: Report) -> Parsed | None:
    """The bundle with everything that is odd about it reported; None when it can't be served."""
    document = _json(source.name, source.data, report)
    if document is None:
        return None
    bundle = Reader(source.name, report).bundle(document)
    states: dict[str, PolicyState] = {}
    if WEIGHTS in source.files:
        further = _json(source.name, source.files[WEIGHTS], report)
        if further is not None:
            states = Reader(f"{source.name} ({WEIGHTS})", report).states(further, "")
    if bundle is None:
        return None
    before = len(report.problems)
    events = read_events(bundle.head.event_definitions or [], source.name, report)
    _Checks(bundle, source.name, report).run()
    if len(report.problems) > before:
        return None
    document["hashing"].setdefault("algorithm", ALGORITHM)
    try:
        config = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        report.problem(source.name, "document", "a number that is not finite", "finite numbers")
        return None
    return Parsed(bundle, bundle.states | states, events, config.encode())


def _json(name: str, data: bytes, report: Report) -> Any:
    try:
        document = parse_json(data.decode())
    except UnicodeDecodeError as error:
        report.problem(name, f"byte {error.start}", "bytes that are not UTF-8", "JSON is UTF-8")
    except DocumentError as error:
        report.problem(name, error.place, error.found, error.allowed)
    else:
        if document is not None:
            return document
        report.problem(name, "document", "null", "an object")
    return None


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "json": (dict, list),
}


class _Checks:
    """What is odd about a readable bundle."""

    def __init__(self, bundle: Bundle, file: str, report: Report) -> None:
        self.bundle = bundle
        self.file = file
        self.report = report
        self.count = bundle.head.hashing.bucket_count
        self.types = {parameter.key: parameter.type for parameter in bundle.parameters}

    def warn(self, path: str, found: str, meaning: str) -> None:
        self.report.warning(self.file, path, found, meaning)

    def run(self) -> None:
        self.parameters()
        seen: dict[str, str] = {}
        for layer in self.bundle.layers:
            if layer.id in seen:
                self.warn(f"{layer.path}.id", f"{shown(layer.id)} again", "both layers share their buckets")
            seen[layer.id] = layer.path
            if layer.unit_key is not None and not layer.unit_key.strip():
                self.warn(f"{layer.path}.unitKey", "a blank unit key", "the layer is always skipped")
            self.policies(layer)
        refresh = self.bundle.head.suggested_refresh_ms
        if refresh is not None and (not isinstance(refresh, int | float) or not refresh > 0):
            self.warn("suggestedRefreshMs", shown(refresh), "not a number above 0, so clients ignore it")

    def parameters(self) -> None:
        layers = {layer.id for layer in self.bundle.layers}
        seen: dict[str, str] = {}
        for number, parameter in enumerate(self.bundle.parameters):
            path = f"parameters[{number}]"
            if parameter.layer_id not in layers:
                found = f"the layer {shown(parameter.layer_id)}, which there is not"
                self.warn(f"{path}.layerId", found, "the parameter keeps its default")
            expected = _TYPES.get(parameter.type)
            if expected is None:
                self.warn(
                    f"{path}.type", shown(parameter.type), "an unknown type; the value is served as it is"
                )
            elif type(parameter.default) not in expected:
                meaning = f"served as it is, though the type is {parameter.type}"
                self.warn(f"{path}.default", shown(parameter.default), meaning)
            owner = seen.get(parameter.key)
            if owner is None:
                seen[parameter.key] = parameter.layer_id
            elif owner != parameter.layer_id:
                found = f"{shown(parameter.key)} again, in another layer"
                self.report.problem(self.file, f"{path}.key", found, "a parameter belongs to one layer")
            else:
                self.warn(f"{path}.key", f"{shown(parameter.key)} again", "the later default counts")

    def policies(self, layer: Layer) -> None:
        ids: set[str] = set()
        for policy in layer.policies:
            if policy.head.id in ids:
                meaning = "both are tried, and share their draws"
                self.warn(f"{policy.path}.id", f"{shown(policy.head.id)} again", meaning)
            ids.add(policy.head.id)
            for number, condition in enumerate(policy.conditions):
                defect = check_condition(condition)
                if defect is not None:
                    refused, member, found, meaning = defect
                    place = f"{policy.path}.conditions[{number}].{member}"
                    (self.report.problem if refused else self.report.warning)(
                        self.file, place, found, meaning
                    )
            self.allocations(policy)
            self.model(policy)

    def allocations(self, policy: Policy) -> None:
        by_bucket = not policy.mode and policy.head.contextual_model is None
        taken: list[tuple[int, int]] = []
        for number, allocation in enumerate(policy.allocations):
            path = f"{policy.path}.allocations[{number}]"
            low, high = allocation.bucket_range
            if by_bucket:
                if high >= self.count:
                    found, meaning = f"[{low}, {high}]", f"buckets from {self.count} on do not exist"
                    self.warn(f"{path}.bucketRange", found, meaning)
                if any(low <= other_high and other_low <= high for other_low, other_high in taken):
                    self.warn(
                        f"{path}.bucketRange", f"[{low}, {high}] overlaps", "the allocation before it wins"
                    )
                taken.append((low, high))
            for key, value in allocation.overrides.items():
                self.override(join(f"{path}.overrides", key), key, value)

    def override(self, path: str, key: str, value: Any) -> None:
        kind = self.types.get(key)
        if kind is None:
            self.warn(path, "a key that no parameter has", "it counts only where a caller brings a default")
        elif kind in _TYPES and type(value) not in _TYPES[kind]:
            self.warn(path, shown(value), f"served as it is, though the parameter is a {kind}")

    def model(self, policy: Policy) -> None:
        model = policy.head.contextual_model
        if model is None:
            return
        path = f"{policy.path}.contextualModel"
        numbers = [model.gamma, model.action_probability_floor, model.default_allocation_score]
        for one in model.coefficients.values():
            numbers.append(one.intercept)
            numbers += [n for term in one.numeric for n in (term.coef, term.missing)]
            numbers += [n for term in one.categorical for n in (*term.values.values(), term.missing)]
        if not all(map(math.isfinite, numbers)):
            self.report.problem(self.file, path, "a number that is not finite", "finite numbers")
        names = {allocation.identity for allocation in policy.allocations}
        for key in model.coefficients.keys() - names:
            place = join(f"{path}.coefficients", key)
            self.warn(place, "coefficients of no allocation", "they are never used")


def lower(parsed: Parsed, source: SourceFile, builder: Builder, report: Report) -> None:
    """Add a bundle to an environment, of which it becomes the one Traffical source."""
    bundle, config, states = parsed.bundle, parsed.config, parsed.states
    if builder.weights:
        changed, states = weighed(bundle, states, config, builder.weights, source.name, report)
        if changed is not None:
            config = changed
            bundle = Reader(source.name, Report()).bundle(json.loads(config)) or bundle
    if builder.overriding:
        changed = overridden(bundle, config, builder.overriding)
        if changed is not None:
            config = changed
            bundle = Reader(source.name, Report()).bundle(json.loads(config)) or bundle
    TrafficalLowering(bundle, states, builder).run(source.name, report, config, parsed.events)


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[str, str] | None:
    """Clients stamp the version on their events, so other content under the same one can't be told apart."""
    served, new = before.get(CONFIG), after.get(CONFIG)
    if served is None or new is None or served == new:
        return None
    version = msgspec.json.decode(new)["version"]
    if msgspec.json.decode(served)["version"] != version:
        return None
    return f"other content under the same version, {shown(version)}", "clients report both as one"


FORMAT = SourceFormat(
    NAME,
    parse,
    lower,
    recognises,
    placed=placed,
    roles=frozenset({WEIGHTS}),
    changes=changes,
    policies=plans,
)
