"""Corrupt, truncated and hostile bundles are refused, or run to an end: never a crash.

A mutant with a wrong checksum must be refused. A hostile one carries a right checksum over changed bytes, so
only the structural checks stand between it and the kernel; one that still verifies must evaluate without harm.
"""

from __future__ import annotations

import contextlib
import random
import struct
from typing import Any

import pytest
import xxhash

from fanion._core.evaluate import Bundle
from fanion._core.overlay import Overlay
from fanion.bundle.compiler import compile_bundle
from fanion.bundle.format import HEADER, VERSION
from fanion.engine.evaluator import open_environment
from fanion.errors import BundleError, BundleVersionError
from fanion.model.layers import Patch, Row, RowHole, RowOutcome
from fanion.model.parts import Hole
from fanion.model.program import Entry, Lowered, Table
from tests.property.programs import Maker, answer_external
from tests.rounds import rounds

MUTANTS = rounds(2_000, 10_000, "BUNDLE_MUTANTS")
SEED = 7


def a_bundle(seed: int) -> tuple[bytes, Lowered]:
    lowered = Maker(random.Random(seed)).lowered()

    def render(program: Lowered) -> Table:
        entries, rows = [], []
        for number, decision in enumerate(program.decisions):
            outcomes = sum(type(node).__name__ == "Outcome" for node in decision.nodes)
            fragments = tuple((b'"v":', Hole(0), b"%d" % n) for n in range(outcomes))
            entries.append(Entry(f"key-{number}", number, fragments, client_safe=number % 2 == 0, row=number))
            view = (b"<", *map(Hole, RowHole), b">")
            patches = (Patch(number // 2, (b'"patched"',)),)
            rows.append(Row(number, (RowOutcome((view, ()), patches, note=1),) * outcomes, slot=0))
        return Table(tuple(entries), absent=(b'"absent"',), rows=tuple(rows), views=2)

    return compile_bundle(lowered, {"table": render}), lowered


def ask_rows(bundle: Bundle, table: int, attributes: dict[str, Any]) -> None:
    try:
        overlay = Overlay(bundle, table)
    except LookupError:
        return
    overlay.run(None, {"key-0": b"1", "stranger": b"2"}, None, attributes, None)
    with contextlib.suppress(ValueError):  # another number of views
        overlay.emit((b"", b"", b"", b""), b"unasked", b"chance")


def sealed(body: bytearray) -> bytes:
    struct.pack_into("<Q", body, 24, xxhash.xxh64_intdigest(bytes(body[32:])))
    return bytes(body)


def test_every_flipped_or_cut_bundle_is_refused() -> None:
    whole, _ = a_bundle(SEED)
    source = random.Random(SEED)
    for _ in range(MUTANTS // 4):
        mutant = bytearray(whole)
        mutant[source.randrange(len(mutant))] ^= 1 << source.randrange(8)
        with pytest.raises(ValueError, match=r"."):
            Bundle(bytes(mutant))
    for length in range(0, len(whole), max(1, len(whole) // 500)):
        with pytest.raises(ValueError, match=r"."):
            Bundle(whole[:length])


def test_hostile_bundles_with_right_checksums_never_crash() -> None:
    source = random.Random(SEED)
    refused = ran = 0
    for seed in range(20):
        whole, lowered = a_bundle(seed)
        make = Maker(random.Random(seed))
        context = make.context()
        typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
        for _ in range(MUTANTS // 20):
            mutant = bytearray(whole)
            for _ in range(source.randrange(1, 4)):
                at = source.randrange(HEADER.size, len(mutant) - 4)
                value = source.choice([0, 1, 0x7F, 0xFF, 0xFFFFFFFF, source.getrandbits(32)])
                if source.random() < 0.5:
                    mutant[at] = value & 0xFF
                else:
                    struct.pack_into("<I", mutant, at & ~3, value)
            try:
                bundle = Bundle(sealed(mutant), answer_external)
            except ValueError:
                refused += 1
                continue
            ran += 1
            table = bundle.table("table")
            for number in range(len(lowered.decisions)):
                bundle.evaluate(number, context.members, context.attributes, typed)
                if table >= 0:
                    bundle.put_one(table, f"key-{number}", False, None, context.attributes, typed, b"", b"")
            if table >= 0:
                question = bundle.ask(context.members, context.attributes, typed)
                question.put_each(table, ["key-0", "key-1", "stranger"], False)
                question.put_list(table, ["key-0", "key-1", "stranger"], False)
                question.put_map(table, ["key-0", "key-1", "stranger"], True, b"", b"")
            ask_rows(bundle, table, context.attributes)
    assert refused > MUTANTS // 20
    assert ran > 0


def test_a_newer_format_is_named() -> None:
    whole, _ = a_bundle(SEED)
    newer = bytearray(whole)
    struct.pack_into("<I", newer, 8, VERSION + 1)
    with pytest.raises(BundleVersionError, match=f"format {VERSION + 1}, this version reads {VERSION}"):
        open_environment("env", bytes(newer))


def test_another_environments_bundle_is_refused() -> None:
    whole, _ = a_bundle(SEED)
    with pytest.raises(BundleError, match="is that of env"):
        open_environment("other", whole)


def test_a_closed_bundle_refuses_every_use() -> None:
    bundle = Bundle(a_bundle(SEED)[0])
    bundle.close()
    with pytest.raises(ValueError, match="closed"):
        bundle.evaluate(0, None, None, None)


def test_restricted_and_unknown_keys_give_the_same_bytes() -> None:
    bundle = Bundle(a_bundle(3)[0])
    table = bundle.table("table")
    restricted = bundle.put_one(table, "key-1", True, None, {}, (), b"<", b">")
    assert restricted == bundle.put_one(table, "no-such", True, None, {}, (), b"<", b">") == b'<"absent">'
