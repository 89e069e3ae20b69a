"""Flags as people read them: found by a text, and one with its rules as sentences and where it is used."""

from __future__ import annotations

from collections.abc import Iterator

from fanion.app.answering.programs import Program, Programs
from fanion.app.answering.words import answer_words, override_words
from fanion.bundle.describe import describe
from fanion.bundle.sentences import Sentence, Sentences
from fanion.console.questions import (
    ROWS_MAX,
    WORDS_MAX,
    AnswerWords,
    FindFlags,
    FlagFacts,
    FlagList,
    FlagRow,
    Linked,
    OneFlag,
    Told,
)
from fanion.model.experiment import plans_of
from fanion.model.program import DecisionVariant, Op, Parameter, Test

LINES_MAX = 400
"""Of a program."""
LINKS_MAX = 50


class Flags:
    """Over the programs of a data directory."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def find(self, asked: FindFlags) -> FlagList:
        """Raises StoreError."""
        with self._programs.pinned() as pinned:
            found: list[FlagRow] = []
            total, wanted = 0, asked.text.casefold()
            first = asked.page * ROWS_MAX
            sources: set[str] = set()
            for program in self._programs.searched(pinned, asked.environment):
                for one in program.lowered.parameters:
                    sources.add(one.source)
                    if asked.source not in ("", one.source) or not _has(program, one, wanted):
                        continue
                    if first <= total < first + ROWS_MAX:
                        found.append(_row(program, one))
                    total += 1
            return FlagList(pinned.number, list(pinned.environments()), sorted(sources), total, found)

    def one(self, asked: OneFlag) -> FlagFacts:
        """Raises StoreError."""
        with self._programs.pinned() as pinned:
            program = self._programs.of(pinned, asked.environment)
            parameter = program.parameter(asked.source, asked.key)
            lowered = program.lowered
            decision = lowered.decisions[parameter.decision]
            asks, audiences, lists = _asked(program, parameter.decision)
            lines = describe(decision, lowered.slots)
            override = program.override(parameter)
            return FlagFacts(
                generation=pinned.number,
                environment=asked.environment,
                source=asked.source,
                key=asked.key,
                group=parameter.group,
                description=_described(program, parameter),
                client_safe=parameter.client_safe,
                apis=[name for name, keys in program.served.keys.items() if asked.key in keys],
                answers=list(dict.fromkeys(_answers(parameter))),
                told=_rules(Sentences(lowered, parameter.decision).all(), parameter),
                program=[line[:WORDS_MAX] for line in lines[:LINES_MAX]],
                siblings=_linked(
                    one
                    for one in lowered.parameters
                    if one.group == parameter.group and one.source == asked.source and one.key != asked.key
                ),
                asks=asks,
                asked_by=_asking(program, parameter.decision),
                audiences=audiences,
                lists=lists,
                experiments=[
                    (key, plan.name)
                    for key, plan in plans_of(lowered.documents).items()
                    if plan.flag in (parameter.group, parameter.key)
                ][:LINKS_MAX],
                override=None if override is None else override_words(asked.environment, override),
            )


def _answers(parameter: Parameter) -> Iterator[AnswerWords]:
    for outcome in range(len(parameter.answers)):
        yield answer_words(parameter, outcome)


def _has(program: Program, one: Parameter, wanted: str) -> bool:
    return (
        not wanted
        or wanted in one.key.casefold()
        or wanted in one.group.casefold()
        or wanted in _described(program, one).casefold()
    )


def _described(program: Program, one: Parameter) -> str:
    found = program.descriptions
    text = found.get(f"{one.source}:{one.key}") or found.get(f"{one.source}:{one.group}") or ""
    return text[:WORDS_MAX]


def _row(program: Program, one: Parameter) -> FlagRow:
    override = program.override(one)
    shown = dict.fromkeys(words.variant or words.value for words in _answers(one))
    return FlagRow(
        program.lowered.environment,
        one.source,
        one.key,
        one.group,
        _described(program, one),
        [text[:80] for text in list(shown)[:6]],
        "" if override is None else override.answer[:80],
    )


def _rules(found: list[Sentence], parameter: Parameter) -> list[Told]:
    """What everyone gets who isn't in a rule before is said once, whatever ways there are to it."""
    told = [_told(one, parameter) for one in found]
    while len(told) > 1 and told[-1].ways == [[]] and told[-1].answer and told[-1].answer == told[-2].answer:
        del told[-2]
    return told


def _told(one: Sentence, parameter: Parameter) -> Told:
    shares = [
        (share.share, None if share.outcome is None else answer_words(parameter, share.outcome))
        for share in one.shares
    ]
    answer = None if one.outcome is None else answer_words(parameter, one.outcome)
    return Told([list(way) for way in one.ways], one.more, answer, one.by, shares)


def _linked(found: Iterator[Parameter]) -> list[Linked]:
    """Each once."""
    return [Linked(*name) for name in list(dict.fromkeys((one.source, one.key) for one in found))[:LINKS_MAX]]


def _asked(program: Program, number: int) -> tuple[list[Linked], list[str], list[str]]:
    """Flags and audiences that a decision asks, and lists, at any depth."""
    lowered = program.lowered
    wanted, seen, lists = [number], {number}, dict[str, None]()
    while wanted:
        for node in lowered.decisions[wanted.pop(0)].nodes:
            if not isinstance(node, Test):
                continue
            if isinstance(node.operand, DecisionVariant) and node.operand.decision not in seen:
                seen.add(node.operand.decision)
                wanted.append(node.operand.decision)
            elif node.op is Op.LIST_MEMBER and isinstance(node.operand, str):
                lists[node.operand] = None
    seen.discard(number)
    served = {one.decision for one in lowered.parameters}
    flags = _linked(one for one in lowered.parameters if one.decision in seen)
    audiences = [lowered.decisions[one].key for one in sorted(seen - served)]
    return flags, audiences[:LINKS_MAX], list(lists)[:LINKS_MAX]


def _asking(program: Program, number: int) -> list[Linked]:
    lowered = program.lowered
    asking = {
        index
        for index, decision in enumerate(lowered.decisions)
        if any(
            isinstance(node, Test)
            and isinstance(node.operand, DecisionVariant)
            and node.operand.decision == number
            for node in decision.nodes
        )
    }
    return _linked(one for one in lowered.parameters if one.decision in asking)
