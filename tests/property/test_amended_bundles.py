"""A bundle that is made from the served one and what changed has the bytes of one that is compiled; the native
copier writes what the plain way writes."""

from __future__ import annotations

import json
import random
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.app.amending import mark, remade
from fanion.app.compiling import compile_environment, renderers
from fanion.bundle.amending import Amended, Amendment
from fanion.bundle.compiler import compile_bundle, compile_spending, write_end
from fanion.bundle.nodes import DecisionWriter
from fanion.bundle.reader import BundleReader
from fanion.bundle.sections import SectionWriter
from fanion.bundle.splits import ReachedWriter
from fanion.bundle.tables import write_table
from fanion.definitions import Loaded, load_stored
from fanion.definitions.reading import excerpt
from fanion.definitions.reading.files import ROOT
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError, ProgramError
from fanion.model.program import Decision, Entry, Lowered, Outcome
from tests.property.native_worlds import Worlds
from tests.property.programs import Maker
from tests.rounds import rounds

ROUNDS = rounds(40, 250)


def text_of(world: dict[str, Any], indent: int | None) -> bytes:
    return json.dumps(world, ensure_ascii=False, indent=indent).encode()


def loaded(texts: dict[str, bytes]) -> Loaded:
    return load_stored(texts, vocabulary())


def compiled(found: Loaded) -> dict[str, bytes]:
    compilers = renderers()
    return {one.environment: compile_environment(one, compilers) for one in found.environments}


def plainly(bundle: bytes, amendment: Amendment) -> bytes:
    """The copier's twin: all of it read back and written again."""
    reader = BundleReader(bundle)
    program = reader.program()
    writer = SectionWriter(reader.environment, len(program.slots))
    decisions = DecisionWriter(writer, ReachedWriter(writer, Lowered(reader.environment)))
    for number, decision in enumerate(program.decisions):
        decisions.write(amendment.decisions.get(number, decision))
    for name, table in reader.tables().items():
        given = amendment.entries.get(name, {})
        entries = tuple(given.get(entry.decision, entry) for entry in table.entries)
        write_table(writer, name, msgspec.structs.replace(table, entries=entries))
    return write_end(writer, program, program.documents | amendment.documents)


@settings(max_examples=ROUNDS)
@given(st.integers(0, 2**32))
def test_a_bundle_without_an_amendment_stays_as_it_is(seed: int) -> None:
    lowered = Maker(random.Random(seed)).lowered()
    bundle = compile_bundle(unrecorded(lowered), {})
    with closing(Amended(bundle)) as of:
        if of.can_be():
            assert of.compiled(Amendment({})) == bundle == plainly(bundle, Amendment({}))


@settings(max_examples=ROUNDS, deadline=None)
@given(st.integers(0, 2**32))
def test_a_program_that_is_spent_comes_to_the_same_bundle(seed: int) -> None:
    lowered = Maker(random.Random(seed)).lowered()
    given = [lowered]
    assert compile_spending(given, {}) == compile_bundle(lowered, {})
    assert not given


def unrecorded(lowered: Lowered) -> Lowered:
    decisions = [
        msgspec.structs.replace(
            one,
            nodes=tuple(
                msgspec.structs.replace(node, reached=()) if isinstance(node, Outcome) else node
                for node in one.nodes
            ),
        )
        for one in lowered.decisions
    ]
    return msgspec.structs.replace(lowered, decisions=tuple(decisions), splits=())


@settings(max_examples=ROUNDS)
@given(st.integers(0, 2**32))
def test_a_native_world_is_copied_as_its_plain_twin_writes_it(seed: int) -> None:
    world = Worlds(seed, asking=True).world(12)
    found = loaded({ROOT + "flags.json": text_of(world, None)})
    for bundle in compiled(found).values():
        with closing(Amended(bundle)) as of:
            assert of.can_be()
            assert of.compiled(Amendment({})) == bundle == plainly(bundle, Amendment({}))


def others_in_their_place(bundle: bytes, draw: random.Random) -> Amendment:
    """Some decisions with another's nodes, and their entries with another's fragments or ones of their own: texts
    and fragments that something else was the first to have, will be the first to have, or that nothing has."""
    reader = BundleReader(bundle)
    program, tables = reader.program(), reader.tables()
    segments = {
        one["decision"] for one in json.loads(dict(program.documents).get("segments", b"{}")).values()
    }
    flags = [number for number in range(len(program.decisions)) if number not in segments]
    decisions: dict[int, Decision] = {}
    entries: dict[str, dict[int, Entry]] = {name: {} for name in tables}
    of = {name: {entry.decision: entry for entry in table.entries} for name, table in tables.items()}
    for number in draw.sample(flags, min(len(flags), draw.randrange(1, 5))):
        other = draw.choice(flags)
        given, taken = program.decisions[number], program.decisions[other]
        decisions[number] = Decision(given.key, taken.nodes)
        for name, known in of.items():
            if number in known:
                fragments = known[other].fragments if other in known else None
                if fragments is None or draw.random() < 0.3:
                    outcomes = sum(isinstance(node, Outcome) for node in taken.nodes)
                    text = draw.choice([b'"value":true', b"new", given.key.encode(), b"%d" % number])
                    fragments = tuple((text, b"%d" % one) for one in range(outcomes))
                entries[name][number] = msgspec.structs.replace(known[number], fragments=fragments)
    return Amendment(decisions, entries)


def test_what_others_have_is_written_as_the_plain_twin_writes_it() -> None:
    compared = 0
    for seed in range(2 * ROUNDS):
        draw = random.Random(seed)
        found = loaded({ROOT + "flags.json": text_of(Worlds(seed).world(12), None)})
        for bundle in compiled(found).values():
            amendment = others_in_their_place(bundle, draw)
            try:
                plain = plainly(bundle, amendment)
            except ProgramError:
                continue  # it asks a decision that stands behind it
            with closing(Amended(bundle)) as of:
                assert of.compiled(amendment) == plain, seed
            compared += 1
    assert compared > ROUNDS


def test_an_entry_keeps_its_key() -> None:
    found = loaded({ROOT + "flags.json": text_of(Worlds(3).world(4), None)})
    bundle, *_ = compiled(found).values()
    (name, table), *_ = BundleReader(bundle).tables().items()
    entry = msgspec.structs.replace(table.entries[0], key="another")
    with closing(Amended(bundle)) as of, pytest.raises(ProgramError, match="keeps its key"):
        of.compiled(Amendment({}, {name: {entry.decision: entry}}))


def both_ways(seed: int, *, asking: bool = False, flags: int = 20) -> bool:
    """Whether the change was amended; then to the bytes of a compilation, and with its keys and sources."""
    worlds = Worlds(seed, asking=asking)
    indent = worlds.draw.choice([None, 1])
    world = worlds.world(flags)
    other = {"organisations": {"o": {"projects": {"p": {"flags": {"other": worlds.plain_flag()}}}}}}
    texts = {ROOT + "flags.json": text_of(world, indent), ROOT + "other.json": text_of(other, None)}
    before = loaded(texts)
    assert mark(before)
    served = compiled(before)
    texts[ROOT + "flags.json"] = text_of(worlds.changed(world), indent)
    made = remade(before.sources, texts, served)
    if made is None:
        return False
    whole = loaded(texts)
    assert not whole.warnings
    assert made.bundles == compiled(whole)
    assert made.loaded.sources == whole.sources
    assert made.loaded.keys == whole.keys
    for one, all_of_it in zip(made.loaded.environments, whole.environments, strict=True):
        assert len(one.parameters) + made.left_out[one.environment] == len(all_of_it.parameters)
    return True


@pytest.mark.parametrize("neighbours", [1, 3, 64])
def test_what_is_amended_is_what_is_compiled(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpt, "NEIGHBOURS", neighbours)
    amended = sum(both_ways(seed) for seed in range(ROUNDS))
    assert amended > ROUNDS // 4


def test_flags_that_ask_flags_are_compiled_as_a_whole_or_the_same() -> None:
    for seed in range(ROUNDS):
        both_ways(seed, asking=True)


def test_a_change_that_is_refused_is_never_amended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any bytes put in the place of others: where the whole is refused or warns, nothing is made."""
    monkeypatch.setattr(excerpt, "NEIGHBOURS", 2)
    draw = random.Random(7)
    amended = 0
    for seed in range(ROUNDS // 4):
        world = Worlds(seed).world(10)
        text = text_of(world, None)
        before = loaded({ROOT + "flags.json": text})
        served = compiled(before)
        for _ in range(8):
            bent = bend_near_a_flag(draw, text)
            texts = {ROOT + "flags.json": bent}
            made = remade(before.sources, texts, served)
            try:
                whole = loaded(texts)
            except DefinitionError:
                assert made is None, bent
                continue
            if made is not None:
                amended += 1
                assert not whole.warnings
                assert made.bundles == compiled(whole), bent
    assert amended


def bend_near_a_flag(draw: random.Random, text: bytes) -> bytes:
    pieces = (
        b'"',
        b"{",
        b"}",
        b",",
        b":",
        b"[",
        b"]",
        b"1",
        b"\\",
        b" ",
        b"",
        b"true",
        b'"f-1": {}',
        b'}, "x": {',
    )
    first = draw.randrange(len(text))
    return text[:first] + draw.choice(pieces) + text[first + draw.randrange(4) :]
