"""The oracle of the lowering: what every definition of the tests was lowered to and answered, kept in `programs/`.

A kept definition is the text of its files, and what they give: each decision's program in its canonical form, the
tables that dialects render, and the answers in contexts drawn from a seed. What is long is kept as its digest.

    python -m tests.golden.oracle                       writes all anew, on purpose: read the difference
    python -m tests.golden.oracle add native PATH...    keeps one more definition, in programs/native.json
    python -m tests.golden.oracle show native NAME      the whole forms of one, to compare two commits
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from fanion import app, dialects
from fanion.bundle.compiler import compile_bundle
from fanion.definitions import load, load_stored
from fanion.engine.evaluator import open_environment
from fanion.engine.externals import make_external
from fanion.engine.reference import choose
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Lowered, Op, Outcome, Source, Test
from tests.golden.canonical import JSON, TYPED, Canonical, digest

FOLDER = Path(__file__).with_name("programs")
CONTEXTS = 24
READABLE_BYTES_MAX = 700
"""A longer form is kept as its digest."""


def readable(form: JSON) -> JSON:
    """The form itself where it is short, else its digest."""
    return form if len(json.dumps(form)) <= READABLE_BYTES_MAX else digest(form)


# -- contexts


def vocabulary(lowered: Lowered) -> JSON:
    """What contexts are drawn from: the names that the slots read, each with values near its operands. It is kept
    with the definition, so that the same contexts are asked whatever the program looks like."""
    values: dict[int, dict[str, JSON]] = {}
    for decision in lowered.decisions:
        for node in decision.nodes:
            if isinstance(node, Test) and node.slot >= 0:
                near = values.setdefault(node.slot, {})
                near.update((json.dumps(one), one) for one in near_values(node) if len(near) < 10)
    words: JSON = {"attributes": {}, "members": {}, "contexts": {}}
    for number, slot in enumerate(lowered.slots):
        near = list(values.get(number, {}).values())
        if slot.source in (Source.MEMBER, Source.MEMBER_OR_ATTRIBUTE):
            words["members"].setdefault(slot.name, []).extend(near)
        if slot.source in (Source.ATTRIBUTE, Source.MEMBER_OR_ATTRIBUTE):
            words["attributes"].setdefault(slot.name, []).extend(near)
        if slot.source in TYPED:
            typed = words["contexts"].setdefault(slot.context_type, {"keys": [], "attributes": {}})
            if slot.source is Source.CONTEXT_KEY:
                typed["keys"].extend(one for one in near if isinstance(one, str))
            else:
                typed["attributes"].setdefault(slot.name, []).extend(near)
    return words


def near_values(node: Test) -> Iterator[JSON]:
    operand = node.operand
    if isinstance(operand, bool | str):
        yield operand if not isinstance(operand, str) else operand[:200]
        if node.op in (Op.STRING_CONTAINS, Op.TEXT_CONTAINS, Op.STRING_STARTS, Op.TEXT_STARTS):
            yield f"{operand[:200]}z" if isinstance(operand, str) else operand
    elif isinstance(operand, int | float):
        yield from (operand, operand + 1, str(operand))
    elif isinstance(operand, tuple):
        for one in operand[:3]:
            low = None if isinstance(one, str) else one.low  # type: ignore[union-attr]
            yield one if low is None else f"{low.major}.{low.minor}.{low.patch}"
        if operand and isinstance(operand[0], str):
            yield list(operand[:2])


GENERAL: tuple[JSON, ...] = (
    None,
    True,
    False,
    0,
    1,
    5,
    -1.5,
    "",
    "a",
    "true",
    "5",
    "1.2.3",
    "u1",
    ["a", "u1"],
)


def draw_contexts(words: JSON, seed: str) -> list[EvaluationContext]:
    source = random.Random(seed)

    def draw(names: dict[str, list[JSON]], share: float) -> dict[str, JSON]:
        drawn: dict[str, JSON] = {}
        for name, near in names.items():
            if source.random() < share:
                value = source.choice(near if near and source.random() < 0.75 else GENERAL)
                if "." in name and source.random() < 0.7:
                    for part in reversed(name.split(".")[1:]):
                        value = {part: value}
                    drawn.setdefault(name.split(".")[0], value)
                else:
                    drawn[name] = value
        return drawn

    def identities(names: dict[str, list[JSON]], number: int) -> dict[str, JSON]:
        members = draw(names, 0.4)
        for name in names:
            if name not in members and source.random() < 0.75:
                members[name] = f"user-{number}-{source.randrange(1000)}"
        return members

    contexts = []
    for number in range(CONTEXTS):
        typed = tuple(
            TypedContext(
                kind,
                source.choice(one["keys"]) if one["keys"] and source.random() < 0.4 else f"key-{number}",
                draw(one["attributes"], 0.75),
            )
            for kind, one in words["contexts"].items()
            if source.random() < 0.85
        )
        attributes = draw(words["attributes"], 0.75)
        contexts.append(EvaluationContext(identities(words["members"], number), attributes, typed))
    return contexts


# -- what is kept of a definition


class Environment:
    """One lowered environment with its lists, asked through the twin and the compiled core."""

    def __init__(self, lowered: Lowered, lists: dict[str, frozenset[str]]) -> None:
        def is_member(name: str, member: str) -> bool:
            return member in lists.get(name, ())

        self.lowered = lowered
        self.canonical = Canonical(lowered)
        self.external = make_external(is_member)
        self.bundle = open_environment(lowered.environment, compile_bundle(lowered, {}), is_member)

    def ask(self, decision: int, context: EvaluationContext) -> tuple[JSON, str]:
        """What the decision ends in, and the registers as text; twin and core agree."""
        result, chosen = choose(self.lowered, decision, context, self.external)
        typed = tuple((one.type, one.key, one.attributes) for one in context.contexts)
        question = self.bundle.ask(context.members, context.attributes, typed)
        found = question.evaluate(decision)
        choice, probability, _ = question.choose(decision)
        key = self.lowered.decisions[decision].key
        assert found == result, f"{key}: twin {result}, core {found}, {context}"
        assert (choice, repr(probability)) == (chosen.choice, repr(chosen.probability)), f"{key}: {context}"
        nodes = self.lowered.decisions[decision].nodes
        at = [at for at, node in enumerate(nodes) if isinstance(node, Outcome)][result.outcome]
        registers = "" if result.bucket < 0 else f":{result.bucket}"
        if chosen.choice >= 0:
            registers += f"/{chosen.choice}/{chosen.probability!r}"
        return self.canonical.meaning(decision, at), registers

    def answers(self, contexts: list[EvaluationContext]) -> JSON:
        """Per decision the answer to each context, as the number of its meaning and the registers."""
        meanings: dict[str, int] = {}
        shown: list[JSON] = []
        answers: dict[str, str] = {}
        for decision, name in sorted(self.canonical.names().items(), key=lambda item: item[1]):
            given = []
            for context in contexts:
                meaning, registers = self.ask(decision, context)
                text = digest(meaning)
                if text not in meanings:
                    meanings[text] = len(shown)
                    shown.append(readable(meaning))
                given.append(f"{meanings[text]}{registers}")
            answers[name] = given[0] if len(set(given)) == 1 else " ".join(given)
        return {"meanings": shown, "by decision": answers}

    def tables(self) -> dict[str, JSON]:
        served = [name for name in app.renderers() if name in self.lowered.identifiers]
        return {name: self.canonical.table(name) for name in served}

    def whole(self) -> JSON:
        names = self.canonical.names()
        programs = {name: self.canonical.program(number) for number, name in names.items()}
        return {"programs": programs, "tables": self.tables()}

    def kept(self, words: JSON, seed: str) -> JSON:
        lowered, canonical = self.lowered, self.canonical
        names = canonical.names()
        parameters = [
            [
                one.source,
                one.key,
                one.group,
                one.group_id,
                one.client_safe,
                list(one.variants),
                names[one.decision],
            ]
            for one in lowered.parameters
        ]
        documents = {
            name: digest(canonical.document(json.loads(content)))
            for name, content in lowered.documents.items()
        }
        return {
            "environment": lowered.environment,
            "identifiers": lowered.identifiers,
            "lists": sorted(lowered.lists),
            "layers": [
                [one.key, names[one.decision], one.unit, canonical.slot(one.unit_slot)]
                for one in lowered.layers
            ],
            "parameters": readable(sorted(parameters, key=repr)),
            "documents": documents,
            "programs": {name: readable(canonical.program(number)) for number, name in names.items()},
            "tables": {
                name: digest(canonical.table(name)) for name in app.renderers() if name in lowered.identifiers
            },
            "words": words,
            "answers": self.answers(draw_contexts(words, seed)),
        }


def lower(files: dict[str, str]) -> list[Environment]:
    loaded = load_stored({name: text.encode() for name, text in files.items()}, dialects.vocabulary())
    lists = {one.name: frozenset(one.members) for one in loaded.lists}
    return [Environment(lowered, lists) for lowered in loaded.environments]


def today(definition: JSON) -> JSON:
    """The definition with what it gives now; contexts are drawn from the words that are kept with it."""
    kept = {one["environment"]: one["words"] for one in definition.get("environments", [])}
    environments = []
    for one in lower(definition["files"]):
        name = one.lowered.environment
        words = kept[name] if name in kept else vocabulary(one.lowered)
        made = one.kept(words, f"{definition['name']} {name}")
        environments.append(json.loads(json.dumps(made)))
    return {"name": definition["name"], "files": definition["files"], "environments": environments}


def read(path: Path) -> list[JSON]:
    found: list[JSON] = json.loads(path.read_text())
    return found


def write(path: Path, definitions: list[JSON]) -> None:
    """One definition a line, so that a difference names it."""
    lines = [json.dumps(one, ensure_ascii=True, separators=(",", ":")) for one in definitions]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["add"]:
        name, *paths = arguments[1:]
        path = FOLDER / f"{name}.json"
        definitions = read(path) if path.exists() else []
        sources = load(paths, dialects.vocabulary()).sources
        short = {
            key.replace(f"{Path(paths[0]).parent.as_posix()}/", ""): text.decode()
            for key, text in sources.items()
        }
        definitions.append(today({"name": f"{name} {len(definitions)}", "files": short}))
        write(path, definitions)
        return
    if arguments[:1] == ["show"]:
        (definition,) = [one for one in read(FOLDER / f"{arguments[1]}.json") if one["name"] == arguments[2]]
        for one in lower(definition["files"]):
            print(json.dumps(one.whole(), indent=1))
        return
    for path in sorted(FOLDER.glob("*.json")):
        before = read(path)
        after = [today(one) for one in before]
        write(path, after)
        changed = [new["name"] for old, new in zip(before, after, strict=True) if old != new]
        print(f"{path.name}: {len(after)} definitions, {len(changed)} changed", *changed[:5], sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
