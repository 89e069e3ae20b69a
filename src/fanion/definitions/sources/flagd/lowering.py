"""Lowers flags to decisions and answers (docs/apis/flagd.md: Answers)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.values import value_text
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.branches import Branches
from fanion.definitions.sources.flagd.files import CLIENT_SAFE, Flag, FlagSet
from fanion.definitions.sources.flagd.graph import End, Graph, Led, Overgrown
from fanion.definitions.sources.flagd.steps import TARGETING_KEY, StepWriter
from fanion.definitions.sources.flagd.targeting import TIMESTAMP, Rule, uses
from fanion.definitions.sources.format import SourceFile
from fanion.model.expression import Constant as Value
from fanion.model.program import Answer, Cause, Node, Op, Resolution
from fanion.model.shape import ContextShape
from fanion.model.text import ecmascript_number

NAME: Final = "flagd"
METADATA: Final = "metadata"
"""The document of what is said of flags, by source and key."""


def lower(flags: FlagSet, source: SourceFile, builder: Builder, report: Report) -> None:
    """Add every flag to the environment."""
    told: dict[str, Any] = msgspec.json.decode(builder.documents.get(METADATA, b"{}"))
    for flag in flags.flags:
        owner = builder.taken(flag.key, NAME, source.name, flag.path)
        if owner is not None:
            found = f"a key that a {owner} definition has"
            report.problem(source.name, flag.path, found, "each key once")
            continue
        chosen = builder.overriding.choose(NAME, flag.key, flag.variants)
        if chosen is not None:
            flag = msgspec.structs.replace(
                flag, enabled=True, rule=None, broken=False, default=chosen.variant
            )
        try:
            nodes, answers = lower_flag(builder, flag)
        except ValueError as error:  # a limit of steps
            found = f"rules beyond what can be computed ({error})"
            report.problem(source.name, f"{flag.path}.targeting", found, "shorter, less nested rules")
            continue
        builder.parameter(
            flag.key,
            builder.decision(flag.key, nodes),
            answers,
            client_safe=flag.metadata.get(CLIENT_SAFE) is not False,
            source=NAME,
            variants=tuple(flag.variants),
        )
        if flag.metadata:
            told[f"{NAME}:{flag.key}"] = flag.metadata
    if told:
        builder.documents[METADATA] = msgspec.json.encode(told)
    known = builder.shapes.get(NAME)
    timed = any(flag.enabled and flag.rule is not None and uses(flag.rule, TIMESTAMP) for flag in flags.flags)
    clock = TIMESTAMP if timed or (known is not None and known.clock) else None
    builder.shapes[NAME] = ContextShape(subject=TARGETING_KEY, keyless=True, clock=clock)


def lower_flag(builder: Builder, flag: Flag, *, plain: bool = True) -> tuple[list[Node], list[Answer]]:
    """A flag's nodes and answers; with `plain` off the whole of its targeting is computed. Raises ValueError where
    that is more than can be."""
    if plain:
        try:
            split = builder.split(NAME, flag.key, [flag.hashing, flag.rule]) if flag.rule is not None else -1
            return _lower_flag(builder, flag, plain=True, split=split)
        except Overgrown:
            pass
    return _lower_flag(builder, flag, plain=False)


def _lower_flag(
    builder: Builder, flag: Flag, *, plain: bool, split: int = -1
) -> tuple[list[Node], list[Answer]]:
    graph = Graph()
    ends = Ends(graph, flag)
    first = kept = ends.default
    if not flag.enabled:
        first = kept = graph.end(End(Resolution.OFF, Cause.OFF))
    elif flag.broken:
        first = graph.end(End(Resolution.ERROR, Cause.UNREADABLE))
    elif flag.rule is not None:
        writer = StepWriter(builder, flag.key, flag.hashing)
        goal = Answered(graph, ends, writer)
        if plain:
            first = Branches(builder, graph, writer, flag.key, ends.failed, split).lead(flag.rule, goal)
        else:
            first = goal.computed(flag.rule)
        if writer.draws:
            builder.leaves_none(flag.key, "the draws by a fractional that has to be computed")
    nodes, found = graph.finish(first, kept)
    return nodes, [_answer(flag, end) for end in found]


def _answer(flag: Flag, end: End) -> Answer:
    if end.variant is None:
        return Answer(end.resolution, None, cause=end.cause)
    value = value_text(flag.variants[end.variant])
    return Answer(end.resolution, value, end.variant, cause=end.cause)


class Ends:
    """What a flag's decision may come to. The default is the first that is made, so it is the last that is laid."""

    def __init__(self, graph: Graph, flag: Flag) -> None:
        self._graph = graph
        self.numbers = {name: number for number, name in enumerate(flag.variants)}
        self._default = flag.default
        static = flag.rule is None and not flag.broken
        cause = Cause.DEFAULT if static and flag.default is not None else Cause.UNMATCHED
        if flag.default is None:
            self.default = graph.end(End(Resolution.NO_VALUE, cause))
        else:
            number = self.numbers[flag.default]
            self.default = graph.end(End(Resolution.DEFAULT, cause, flag.default, number))

    @property
    def failed(self) -> int:
        """The targeting names no variant."""
        return self._graph.end(End(Resolution.ERROR, Cause.NONE))

    def matched(self, name: str) -> int:
        number = self.numbers.get(name)
        if number is None:
            return self.failed
        return self._graph.end(End(Resolution.MATCHED, Cause.RULE, name, number))


class Answered:
    """The goal of a targeting as a whole: the variant that its value names; of null the default."""

    def __init__(self, graph: Graph, ends: Ends, writer: StepWriter) -> None:
        self._graph = graph
        self._ends = ends
        self._writer = writer

    def constant(self, value: Value) -> int:
        if value is None:
            return self._ends.default
        if isinstance(value, tuple):
            return self._ends.failed
        if isinstance(value, bool):
            return self._ends.matched("true" if value else "false")
        return self._ends.matched(value if isinstance(value, str) else ecmascript_number(value))

    def computed(self, rule: Rule) -> int:
        slot, ends = self._writer.slot(rule), self._ends
        node = ends.failed
        for name in reversed(ends.numbers):
            node = self._graph.test(Op.TEXT_IN, slot, (name,), Led(ends.matched(name), node, node, node))
        return self._graph.test(Op.EQ_NULL, slot, None, Led(ends.default, node, ends.failed, ends.default))
