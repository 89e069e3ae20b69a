"""What the core records is what the twin's outcomes say was reached, whatever the program."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion._core.evaluate import Bundle
from fanion._core.exposures import MEMBER, MarkTable, Recorder
from fanion.bundle.compiler import compile_bundle
from fanion.dialects import canonical_forms
from fanion.engine.reference import trace
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows
from fanion.model import program as p
from tests.property.programs import Maker, answer_external
from tests.rounds import rounds

PROGRAMS = rounds(50, 300, "PROPERTY_PROGRAMS")
SETTINGS = JournalSettings(
    ring_bytes=1 << 20,
    segment_bytes=1 << 20,
    compress=False,
    raise_priority=False,
    reserve_bytes=0,
    stall_ms=60_000.0,
)
Said = tuple[str, str, str, str | None]


def render(lowered: p.Lowered) -> p.Table:
    """Every decision under its key."""
    entries = [
        p.Entry(
            decision.key, number, tuple((b"x",) for node in decision.nodes if isinstance(node, p.Outcome))
        )
        for number, decision in enumerate(lowered.decisions)
    ]
    return p.Table(tuple(entries), (b"",))


def with_splits(make: Maker, lowered: p.Lowered) -> p.Lowered:
    """As lowering makes them: some draws of each decision told apart."""
    splits = tuple(p.Split(f"f{n}", f"{n:032x}") for n in range(len(lowered.decisions)))
    plain = [
        p.Decision(
            one.key,
            tuple(
                msgspec.structs.replace(node, reached=()) if isinstance(node, p.Outcome) else node
                for node in one.nodes
            ),
        )
        for one in lowered.decisions
    ]
    return msgspec.structs.replace(lowered, decisions=tuple(map(make.spread, plain)), splits=splits)


@settings(max_examples=PROGRAMS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_what_is_recorded_is_what_the_twin_says_was_reached(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    lowered = with_splits(make, make.lowered())
    bundle = Bundle(compile_bundle(lowered, {"api": render}), answer_external)
    expected: dict[Said, None] = {}
    with tempfile.TemporaryDirectory() as name:
        loop = asyncio.new_event_loop()
        marks = MarkTable(f"{name}/marks", 4096)
        recorder = Recorder(marks)
        journal = JournalWriter.open(Path(name), SETTINGS, loop)
        journal.lend(recorder.lend)
        places = ((MEMBER, "who", "person", False),)
        bundle.expose(0, recorder, "feather", places, assigned=False, anonymous=False, carried=None)
        for n in range(8):
            context = make.context()
            members = {**context.members, "who": f"u{n % 5}"}
            context = msgspec.structs.replace(context, members=members)
            typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
            for number, decision in enumerate(lowered.decisions):
                bundle.put_one(0, decision.key, False, members, context.attributes, typed, b"", b"")
                end = decision.nodes[
                    [at for one, at in trace(lowered, number, context, answer_external)[1] if one == number][
                        -1
                    ]
                ]
                assert isinstance(end, p.Outcome)
                for one in end.reached:
                    split = lowered.splits[one.split]
                    digest = hashlib.sha256(f"u{n % 5}".encode()).hexdigest()
                    expected[split.flag, "in" if one.inside else "out", digest, None] = None
        journal.close()
        marks.close()
        loop.close()
        rows = [
            row
            for record in JournalReader(Path(name)).read()
            for row in expand_rows(record, "m", canonical_forms())
        ]
    assert [(row.flag, row.reason, row.unit, row.variant) for row in rows] == list(expected)
