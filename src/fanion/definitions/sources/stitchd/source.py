"""stitchd's flag and segment definitions as a source (docs/apis/stitchd.md: Segments, Order of decisions),
beside its event definitions.

A reference names the flag file and, by role, the files of segments and events; a published folder that holds
`flag_definitions.json` takes `segment_definitions.json` and `event_definitions.json` beside it along. The flag
file may hold all three. Unknown fields, dangling variants and wrong kinds are refused; what the engine itself
gives a meaning is a warning: weights that don't cover every bucket, an unknown segment (nobody is in it), a
bad version (never matches).

    files       the structs of the files
    conditions  conditions, read and lowered
    versions    Cargo's version requirements
    flags       one flag to a decision
    rollouts    what a rule serves
    lowering    flags and segments to decisions
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading import limits
from fanion.definitions.reading.documents import DocumentError, parse_json
from fanion.definitions.reading.files import resolve
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN, build
from fanion.definitions.reading.values import value_defect
from fanion.definitions.sources.format import Exists, SourceFile, SourceFormat
from fanion.definitions.sources.stitchd.files import (
    BASIS_POINTS,
    NAME,
    EventFile,
    Flag,
    FlagFile,
    ListSegment,
    RuleSegment,
    SegmentFile,
    World,
    environment_text,
)
from fanion.definitions.sources.stitchd.lowering import StitchdLowering
from fanion.model.definition import Environment, File, Organisation, Project, SourceReference

SEGMENTS: Final = "segments"
EVENTS: Final = "events"
SEGMENT_FILE: Final = "segment_definitions.json"
EVENT_FILE: Final = "event_definitions.json"
BESIDE: Final = {SEGMENTS: SEGMENT_FILE, EVENTS: EVENT_FILE}
ORGANISATION: Final = "stitchd"
PROJECT: Final = "stitchd"

FLAG_KEY_BYTES_MAX: Final = 255

T = TypeVar("T")

_KINDS: Final[dict[str, tuple[type, str]]] = {
    "bool": (bool, "true or false"),
    "int": (int, "a whole number of 64 bits"),
    "double": (float, "a number with a point or an exponent"),
    "string": (str, "text"),
    "str": (str, "text"),
}


def recognises(document: Any) -> bool:
    """Whether a plain document is one of the three files."""
    if not isinstance(document, dict):
        return False
    flags = document.get("flags")
    if isinstance(flags, list):
        return all(isinstance(flag, dict) and {"key", "variants"} <= flag.keys() for flag in flags)
    return bool(document) and document.keys() <= {"rule_segments", "list_segments", "events"}


def placed(name: str, document: Any, exists: Exists) -> File | None:
    """A flag file says its environment itself; the other files belong to the one beside them."""
    if "flags" not in document:
        flags = resolve(name, "flag_definitions.json")
        return File(organisations={}) if exists(flags) else None
    ids = {document.get("environment_id")} | {flag.get("environment_id") for flag in document["flags"]}
    ids -= {None}
    if len(ids) != 1 or not all(isinstance(id, str) and id for id in ids):
        return None
    id = environment_text(ids.pop())
    beside = {role: file for role, file in BESIDE.items() if exists(resolve(name, file))}
    source = SourceReference(NAME, PurePosixPath(name).name, beside)
    environment = Environment(
        id=id, identifiers={"stitchd": {"environment": id}}, dialects=["stitchd"], sources=[source]
    )
    project = Project(environments={id: environment})
    return File(organisations={ORGANISATION: Organisation(projects={PROJECT: project})})


def parse(source: SourceFile, report: Report) -> World | None:
    """Everything that the source's files say; None when any of it is refused."""
    before = len(report.problems)
    main = _read(source.name, source.data, FlagFile, report)
    segments = events = None
    if SEGMENTS in source.files:
        name = f"{source.name} ({SEGMENTS})"
        segments = _read(name, source.files[SEGMENTS], SegmentFile, report)
    if EVENTS in source.files:
        events = _read(f"{source.name} ({EVENTS})", source.files[EVENTS], EventFile, report)
    if main is None or len(report.problems) != before:
        return None
    files: list[tuple[str, Any]] = [(source.name, main)]
    if segments is not None:
        files.append((f"{source.name} ({SEGMENTS})", segments))
    if events is not None:
        files.append((f"{source.name} ({EVENTS})", events))
    world = World(
        _gather(files, "flags"),
        _gather(files, "rule_segments"),
        _gather(files, "list_segments"),
        _gather(files, "events"),
        None,
    )
    checks = _Checks(world, report)
    checks.run(main.environment_id)
    return checks.world if len(report.problems) == before else None


def _read(name: str, data: bytes, kind: type[T], report: Report) -> T | None:
    try:
        document = parse_json(data.decode())
    except UnicodeDecodeError as error:
        report.problem(name, f"byte {error.start}", "bytes that are not UTF-8", "JSON is UTF-8")
        return None
    except DocumentError as error:
        report.problem(name, error.place, error.found, error.allowed)
        return None
    before = len(report.problems)
    built = build(document, kind, name, "", report)
    return None if built is BROKEN or len(report.problems) != before else built


def _gather(files: list[tuple[str, Any]], kind: str) -> list[tuple[str, str, Any]]:
    return [
        (name, f"{kind}[{number}]", item)
        for name, file in files
        for number, item in enumerate(getattr(file, kind, ()))
    ]


class _Checks:
    """The checks of meaning that need no references between flags; those are the lowering's."""

    def __init__(self, world: World, report: Report) -> None:
        self.world = world
        self.report = report

    def run(self, environment: str | None) -> None:
        world = self.world
        if len(world.flags) > limits.FLAGS_MAX:
            found = f"{len(world.flags)} flags"
            self.report.problem(world.flags[0][0], "flags", found, f"at most {limits.FLAGS_MAX}")
        self.unique("key", world.flags)
        self.unique("id", [item for item in world.flags if item[2].id is not None])
        segments = [*world.rule_segments, *world.list_segments]
        self.unique("key", segments)
        self.unique("id", segments)
        self.unique("key", world.events)
        for file, path, flag in world.flags:
            self.flag(file, path, flag)
        for file, path, segment in world.rule_segments:
            self.rule_segment(file, path, segment)
        for file, path, members in world.list_segments:
            self.list_segment(file, path, members)
        self.environment(environment)

    def unique(self, field: str, items: list[Any]) -> None:
        seen: set[str] = set()
        for file, path, item in items:
            value = getattr(item, field)
            if value in seen:
                self.report.problem(file, f"{path}.{field}", f"{shown(value)} again", "each once")
            seen.add(value)

    def environment(self, given: str | None) -> None:
        """All flags of a source belong to one environment."""
        found = None if given is None else environment_text(given)
        for file, path, flag in self.world.flags:
            if flag.environment_id is None:
                continue
            id = environment_text(flag.environment_id)
            if found is not None and id != found:
                self.report.problem(
                    file, f"{path}.environment_id", shown(id), f"{found}, as above: one environment a source"
                )
                return
            found = id
        world = self.world
        self.world = World(world.flags, world.rule_segments, world.list_segments, world.events, found)

    def flag(self, file: str, path: str, flag: Flag) -> None:
        if not 1 <= len(flag.key.encode()) <= FLAG_KEY_BYTES_MAX:
            found = f"a key of {len(flag.key.encode())} bytes"
            self.report.problem(file, f"{path}.key", found, f"1 to {FLAG_KEY_BYTES_MAX} bytes")
        for what, count, most in (
            ("variants", len(flag.variants), limits.VARIANTS_MAX),
            ("rules", len(flag.rules), limits.RULES_MAX),
        ):
            if count > most:
                self.report.problem(file, f"{path}.{what}", f"{count} {what}", f"at most {most}")
        items = [(file, f"{path}.variants[{n}]", one) for n, one in enumerate(flag.variants)]
        self.unique("key", items)
        self.unique("id", [item for item in items if item[2].id is not None])
        for _, place, variant in items:
            defect = _value_defect(variant.value, flag.value_type)
            if defect is not None:
                self.report.problem(file, f"{place}.value", *defect)
        distribution = flag.default_rule_distribution
        if distribution is not None:
            self.distribution(file, f"{path}.default_rule_distribution.allocations", distribution.allocations)

    def distribution(self, file: str, path: str, allocations: list[Any]) -> None:
        """Each 1 to 10000, unique keys, 10000 together (docs/apis/stitchd.md: Default distribution): upstream
        refuses the rest as well."""
        seen: set[str] = set()
        for number, one in enumerate(allocations):
            if one.variant_key in seen:
                found = f"{shown(one.variant_key)} again"
                self.report.problem(file, f"{path}[{number}].variant_key", found, "each once")
            seen.add(one.variant_key)
            if one.percentage_bp == 0:
                self.report.problem(file, f"{path}[{number}].percentage_bp", "0", f"1 to {BASIS_POINTS}")
        total = sum(one.percentage_bp for one in allocations)
        if total != BASIS_POINTS:
            self.report.problem(file, path, f"{total} basis points in total", f"{BASIS_POINTS}")

    def rule_segment(self, file: str, path: str, segment: RuleSegment) -> None:
        if (segment.condition is None) == (segment.rules is None):
            found = "both" if segment.rules is not None else "neither"
            self.report.problem(file, path, found, "exactly one of condition and rules")
        if segment.rules is not None and len(segment.rules) > limits.RULES_MAX:
            found = f"{len(segment.rules)} rules"
            self.report.problem(file, f"{path}.rules", found, f"at most {limits.RULES_MAX}")

    def list_segment(self, file: str, path: str, segment: ListSegment) -> None:
        own = segment.include or segment.exclude or segment.include_file or segment.exclude_file
        if segment.context_type is None and (own or not segment.lists):
            found = "members without a context type" if own else "no context type"
            self.report.problem(file, path, found, "context_type, or lists by context type")
        for name in (segment.context_type or "", *segment.lists):
            if len(name) > limits.NAME_CHARS_MAX:
                allowed = f"at most {limits.NAME_CHARS_MAX} characters"
                self.report.problem(file, path, f"a context type of {len(name)} characters", allowed)
        if segment.context_type in segment.lists:
            place = join(f"{path}.lists", str(segment.context_type))
            self.report.problem(file, place, "the segment's own context type", "its members stand above")
        sides = [(path, segment), *((join(f"{path}.lists", t), m) for t, m in segment.lists.items())]
        for place, members in sides:
            for side in ("include", "exclude"):
                inline = getattr(members, side)
                if len(inline) > limits.LIST_INLINE_MAX:
                    found = f"{len(inline)} members"
                    allowed = f"at most {limits.LIST_INLINE_MAX}; more stand in a file ({side}_file)"
                    self.report.problem(file, f"{place}.{side}", found, allowed)
                for number, member in enumerate(inline):
                    if not 1 <= len(member.encode()) <= limits.MEMBER_BYTES_MAX:
                        found = f"a member of {len(member.encode())} bytes"
                        allowed = f"1 to {limits.MEMBER_BYTES_MAX} bytes"
                        self.report.problem(file, f"{place}.{side}[{number}]", found, allowed)


def _value_defect(value: Any, value_type: str) -> tuple[str, str] | None:
    """The value's JSON kind must be the flag's type (docs/apis/stitchd.md: Types); a JSON flag takes any."""
    if value_type in _KINDS:
        kind, words = _KINDS[value_type]
        if type(value) is not kind:
            return shown(value), f"{words}, as the value type is {value_type}"
    return value_defect(value, None)


def lower(world: World, source: SourceFile, builder: Builder, report: Report) -> None:
    """Add the source's flags, segments, lists and events to the environment."""
    StitchdLowering(world, source, builder, report).run()


FORMAT = SourceFormat(
    NAME,
    parse,
    lower,
    recognises,
    roles=frozenset({SEGMENTS, EVENTS}),
    placed=placed,
)
