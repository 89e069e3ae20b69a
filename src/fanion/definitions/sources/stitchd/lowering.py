"""Lowers stitchd's flags and segments (docs/apis/stitchd.md: Segments, Order of decisions) to decisions, and
writes what its dialect needs beside.

Order of a flag's nodes: prerequisites, rules, default distribution or default rule, default variant. Flags and
segments that are asked are lowered first, on demand; a flag that asks itself, however indirectly, is refused.

Decisions, 2026-11
    FlagEvaluatedAs resolves the other flag first. Upstream reads a map of flags evaluated earlier, which its
    single-flag entry point starts empty; constant false would be a condition that no one can mean.
    An error in a segment stays in it: it counts as "not in" (upstream blanks all rule segments of the flag).
    A gate without a context type looks at that of the first target.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits, Label
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.segments import MEMBER, OTHER, member_outcome
from fanion.definitions.reading.files import resolve
from fanion.definitions.reading.members import MemberList, list_name
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.stitchd.conditions import (
    COMPARISONS,
    VERSIONS,
    Asked,
    Comparison,
    ConditionReader,
    Evaluated,
    Group,
    Membership,
    Not,
    Ready,
    Tree,
    emit,
    key_slot,
    ready_group,
    ready_not,
)
from fanion.definitions.sources.stitchd.files import (
    NAME,
    ListSegment,
    Members,
    RuleSegment,
    World,
    environment_text,
    is_uuid,
)
from fanion.definitions.sources.stitchd.flags import FlagLowering
from fanion.definitions.sources.stitchd.rollouts import variant_number
from fanion.definitions.sources.stitchd.versions import comparator
from fanion.model.program import (
    DECISION_DEPTH_MAX,
    DecisionVariant,
    Node,
    Op,
    Profile,
    Resolution,
    Source,
    Test,
)
from fanion.model.shape import ContextShape

USER_CONTEXT: Final = "user"


class StitchdLowering:
    """One source in one environment."""

    def __init__(self, world: World, source: SourceFile, builder: Builder, report: Report) -> None:
        self.world = world
        self.source = source
        self.builder = builder
        self.report = report
        self.environment = self._environment()
        self.flags = _by_name(world.flags)
        self.segments = _by_name([*world.rule_segments, *world.list_segments])
        self.lowered_segments: dict[str, int] = {}
        self.lowered_flags: dict[str, int] = {}
        self.depths: dict[int, int] = {}
        self.asking: list[str] = []

    def run(self) -> None:
        document = _document(self.builder.documents.get(NAME))
        segments: list[Any] = [*self.world.rule_segments, *self.world.list_segments]
        for _, _, segment in segments:
            decision = self.segment(segment.key)
            member = member_outcome(self.builder.decisions[decision].nodes)
            record: dict[str, Any] = {"decision": decision, "member": member}
            if isinstance(segment, ListSegment):
                record["lists"] = {
                    context_type: [self.list_name(segment, context_type, side) for side in SIDES]
                    for context_type, _, _ in _sides(segment, "")
                }
            document["segments"][segment.key] = record
        for _, _, flag in self.world.flags:
            self.flag(flag.key)
        self.builder.documents[NAME] = msgspec.json.encode(document)
        self.builder.shapes[NAME] = self.shape()
        events = msgspec.json.decode(self.builder.documents.get("events", b"{}"))
        for file, path, event in self.world.events:
            if event.key in events:
                self.report.problem(
                    file, f"{path}.key", f"{shown(event.key)} again", "another definition has it"
                )
            events[event.key] = {"type": event.value_type, "unit": ""}
        self.builder.documents["events"] = msgspec.json.encode(events)

    def shape(self) -> ContextShape:
        """A flat context is one context: of the only type that is looked at, else a user. Of several types the
        others may stand in it as objects under their names."""
        types = {
            slot.context_type
            for slot in self.builder.slots
            if slot.source is Source.CONTEXT_KEY or slot.profile is Profile.VERSIONED
        }
        own = next(iter(types)) if len(types) == 1 else USER_CONTEXT
        return ContextShape(context_type=own, keyed=True, nested=tuple(sorted(types - {own})))

    def _environment(self) -> str:
        """The id in the hash: the environment's stitchd id, else what the file says. The two must agree."""
        ids = self.builder.identifiers.get(NAME)
        said = self.world.environment
        if ids is None:
            return said or self.builder.environment
        own = environment_text(ids.get("environment", ""))
        if said is None or own == said:
            return own
        if is_uuid(own) or own != self.builder.environment:
            self.report.problem(
                self.source.name, "environment_id", shown(said), f"{own}, the environment's id for stitchd"
            )
        ids["environment"] = said
        return said

    # -- segments

    def segment(self, name: str) -> int:
        """The decision of a segment, by its id or key: variant MEMBER or OTHER."""
        file, path, segment = self.segments[name]
        known = self.lowered_segments.get(segment.key)
        if known is not None:
            return known
        if isinstance(segment, ListSegment):
            nodes = self.list_segment(file, path, segment)
        else:
            nodes = self.rule_segment(file, path, segment)
        decision = self.builder.decision(f"segment:{segment.key}", nodes)
        self.lowered_segments[segment.key] = decision
        return decision

    def rule_segment(self, file: str, path: str, segment: RuleSegment) -> list[Node]:
        """Any rule's condition; one that ends in missing or mismatch is the segment's error."""
        reader = ConditionReader(file, self.report)
        conditions = [(segment.condition, f"{path}.condition")]
        if segment.rules is not None:
            conditions = [
                (rule.condition, f"{path}.rules[{n}].condition") for n, rule in enumerate(segment.rules)
            ]
        trees: list[Ready] = []
        for document, place in conditions:
            tree = reader.read(document, place, leaves=COMPARISONS)
            if tree is not None:
                trees.append(self.ready(tree, file, place))
        code: Assembler[None] = Assembler()
        member, other, error = code.label(), code.label(), code.label()
        entry = other
        behind: list[tuple[Ready, Label, Label]] = []
        for ready in reversed(trees):
            own = code.label()
            behind.append((ready, own, entry))
            if not isinstance(ready, bool):
                entry = own
            elif ready:
                entry = member
        for ready, own, following in reversed(behind):
            code.place(own)
            emit(self.builder, code, ready, Exits(member, following, error, error))
        constant = all(isinstance(ready, bool) for ready in trees)
        if entry is member or not constant:
            code.place(member)
            code.outcome(None, Resolution.MATCHED, MEMBER)
        if entry is other or not constant:
            code.place(other)
            code.outcome(None, Resolution.DEFAULT, OTHER)
        if not constant:
            code.place(error)
            code.outcome(None, Resolution.ERROR, OTHER)
        return code.finish()[0]

    def list_segment(self, file: str, path: str, segment: ListSegment) -> list[Node]:
        """Not a member if any present context is excluded by its type's list, else if any is included."""
        sides = _sides(segment, path)
        for context_type, place, members in sides:
            for side in SIDES:
                inline, further = getattr(members, side), getattr(members, f"{side}_file")
                name = self.builder.list_name(self.list_name(segment, context_type, side))
                if inline or further:
                    other = None if further is None else resolve(file, further)
                    self.builder.list_members(MemberList(name, tuple(inline), other), f"{place}.{side}_file")
        code: Assembler[None] = Assembler()
        member, excluded = code.label(), code.label()
        for included in (False, True):
            for number, (context_type, _, _) in enumerate(sides, 1):
                following = excluded if included and number == len(sides) else code.label()
                name = self.list_name(segment, context_type, SIDES[not included])
                on_true = member if included else excluded
                exits = Exits(on_true, following, following, following)
                code.test(Op.LIST_MEMBER, key_slot(self.builder, context_type), name, exits)
                if following is not excluded:
                    code.place(following)
        code.place(excluded)
        code.outcome(None, Resolution.DEFAULT, OTHER)
        code.place(member)
        code.outcome(None, Resolution.MATCHED, MEMBER)
        return code.finish()[0]

    def list_name(self, segment: ListSegment, context_type: str, side: str) -> str:
        """The store's name of one side of a list segment."""
        return list_name(self.builder.environment, NAME, segment.key, context_type, side)

    # -- conditions

    def ready(self, tree: Tree, file: str, path: str) -> Ready:
        """A condition with its references resolved. What nothing answers to is false, with a warning."""
        if isinstance(tree, Group):
            return ready_group(tree.every, [self.ready(child, file, path) for child in tree.children])
        if isinstance(tree, Not):
            return ready_not(self.ready(tree.child, file, path))
        if isinstance(tree, Membership):
            if tree.segment not in self.segments:
                meaning = "unknown, so no one is in it"
                self.report.warning(file, path, f"the segment {shown(tree.segment)}", meaning)
                return tree.negative
            decision = self.segment(tree.segment)
            return Asked(decision, MEMBER, tree.negative)
        if isinstance(tree, Evaluated):
            return self.evaluated(tree, file, path)
        return self.comparison(tree, file, path)

    def comparison(self, tree: Comparison, file: str, path: str) -> Comparison:
        if tree.op in VERSIONS and comparator(tree.op, str(tree.operand)) is None:
            found = f"{tree.op} with the version {shown(tree.operand)}"
            self.report.warning(file, path, found, "a type mismatch whatever the parameter, so no match")
        return tree

    def evaluated(self, tree: Evaluated, file: str, path: str) -> Ready:
        if tree.flag not in self.flags:
            self.report.warning(file, path, f"the flag {shown(tree.flag)}", "unknown, so this is false")
            return False
        flag = self.flags[tree.flag][2]
        number = variant_number(flag, tree.variant)
        decision = self.flag(flag.key, path)
        if number is None:
            found = f"the variant {shown(tree.variant)} of {flag.key}"
            self.report.warning(file, path, found, "unknown, so this is false")
            return False
        return False if decision is None or flag.archived else Asked(decision, number, False)

    # -- flags

    def flag(self, key: str, path: str = "") -> int | None:
        """A flag's decision; None (and a problem) for one that is being lowered."""
        known = self.lowered_flags.get(key)
        if known is not None:
            return known
        file, own_path, flag = self.flags[key]
        if key in self.asking:
            circle = " -> ".join([*self.asking[self.asking.index(key) :], key])
            self.report.problem(file, path or own_path, f"a circle ({circle})", "flags that end somewhere")
            return None
        self.asking.append(key)
        nodes, answers = FlagLowering(self, file, own_path, flag).run()
        self.asking.pop()
        decision = self.builder.decision(key, nodes)
        self.lowered_flags[key] = decision
        asked = [node.operand.decision for node in nodes if _asks(node)]  # type: ignore[union-attr]
        depth = self.depths[decision] = 1 + max((self.depths.get(one, 1) for one in asked), default=0)
        if depth > DECISION_DEPTH_MAX:
            found = f"flags that ask each other {depth} deep"
            self.report.problem(file, own_path, found, f"at most {DECISION_DEPTH_MAX}")
        if flag.archived:
            return decision
        owner = self.builder.taken(key, NAME, file, f"{own_path}.key")
        if owner is not None:
            found = f"a key that a {owner} definition has"
            self.report.problem(file, f"{own_path}.key", found, "each key once")
        self.builder.parameter(
            key,
            decision,
            answers,
            client_safe=True,
            group_id=flag.id,
            source=NAME,
            variants=tuple(variant.key for variant in flag.variants),
        )
        return decision


SIDES: Final = ("include", "exclude")


def _by_name(items: list[Any]) -> dict[str, Any]:
    """Items by key and by id; a key wins over an id of the same text."""
    named = {placed[2].id: placed for placed in items if placed[2].id is not None}
    return named | {placed[2].key: placed for placed in items}


def _sides(segment: ListSegment, path: str) -> list[tuple[str, str, Members]]:
    """Context type, path and sets."""
    own = [] if segment.context_type is None else [(segment.context_type, path, segment)]
    return [*own, *((name, join(f"{path}.lists", name), one) for name, one in segment.lists.items())]


def _asks(node: Node) -> bool:
    return isinstance(node, Test) and isinstance(node.operand, DecisionVariant)


def _document(stored: bytes | None) -> dict[str, Any]:
    return {"segments": {}} if stored is None else msgspec.json.decode(stored)
