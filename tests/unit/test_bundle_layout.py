"""The core and Python write down the bundle's format and the program's words twice; here they are held equal."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Any

import pytest

from fanion._core.bundle import SECTIONS
from fanion._core.expression import STEPS
from fanion.bundle import format as f
from fanion.bundle.compiler import compile_bundle
from fanion.engine import reference
from fanion.errors import ProgramError
from fanion.model import expression, expression_proof, program
from fanion.model.layers import RowHole
from fanion.model.parts import PieceKind

ROOT = Path(__file__).parents[2]
LAYOUT = ROOT / "ext/fanion/_core/layout.pxd"
HEADER = ROOT / "ext/include/fanion_bundle.h"
STEPS_HEADER = ROOT / "ext/include/fanion_expression.h"
WORDS: dict[str, type[enum.IntEnum]] = {
    "KIND": program.Kind,
    "PROFILE": program.Profile,
    "SOURCE": program.Source,
    "OP": program.Op,
    "HASH": program.HashKind,
    "REDUCE": program.Reduction,
    "PIECE": PieceKind,
    "ROW_HOLE": RowHole,
}
BOUNDS = {
    "RESOLUTION_ERROR": program.Resolution.ERROR,
    "TEXT_BYTES_MAX": program.TEXT_BYTES_MAX,
    "STRINGS_MAX": reference.STRINGS_MAX,
    "HOLES_MAX": f.HOLES_MAX,
    "ALTERNATIVES_MAX": f.ALTERNATIVES_MAX,
}
EXITS = ("on_true", "on_false", "on_missing", "on_mismatch")


def numbers_of_the_core() -> dict[str, int]:
    return {
        name: int(n) for name, n in re.findall(r"^    ([A-Z][A-Z0-9_]+) = (\d+)$", LAYOUT.read_text(), re.M)
    }


def test_every_word_of_a_program_has_the_same_number_in_the_core() -> None:
    expected = {f"{prefix}_{word.name}": word.value for prefix, words in WORDS.items() for word in words}
    exits = [name for name in program.Test.__struct_fields__ if name.startswith("on_")]
    assert tuple(exits) == EXITS
    expected |= {f"EXIT_{name.removeprefix('on_').upper()}": n for n, name in enumerate(exits)}
    assert numbers_of_the_core() == expected | BOUNDS


def test_the_core_and_the_writer_have_one_list_of_sections() -> None:
    assert list(SECTIONS) == [section.name for section in f.Section]
    assert [section.value for section in f.Section] == list(range(len(SECTIONS)))
    assert list(SECTIONS.values()) == [f.RECORD_SIZES[section] for section in f.Section]
    assert f.HEADER.size + f.SECTION.size * len(SECTIONS) == 32 + 16 * len(f.Section)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FANION_BUNDLE_MAGIC", f.MAGIC),
        ("FANION_BUNDLE_VERSION", f.VERSION),
        ("FANION_NONE", f.NONE),
        ("FANION_DEPTH_MAX", program.DECISION_DEPTH_MAX),
        ("FANION_NEEDS_TEXT", f.NEEDS_TEXT),
        ("FANION_NEEDS_NUMBER", f.NEEDS_NUMBER),
        ("FANION_ANY_ELEMENT", f.ANY_ELEMENT),
        ("FANION_FOLD", f.FOLD),
        ("FANION_SET_LINEAR", f.SET_LINEAR),
    ],
)
def test_every_constant_of_the_header_is_the_writers(name: str, value: int) -> None:
    found = re.search(rf"^#define {name} (0x[0-9A-F]+|\d+)", HEADER.read_text(), re.M)
    assert found is not None
    assert int(found[1], 0) == value


def test_the_types_of_nodes_are_the_writers() -> None:
    found = re.search(r"enum fanion_node_type \{(.*?)\}", HEADER.read_text(), re.S)
    assert found is not None
    names = [name.strip() for name in found[1].split(",")]
    assert names == [f"FANION_{kind.name}" for kind in f.NodeType]


def test_every_step_of_an_expression_is_the_cores() -> None:
    """Its number, and how many values it takes where that is fixed."""
    assert list(STEPS) == [op.name for op in expression.StepOp]
    assert [op.value for op in expression.StepOp] == list(range(len(STEPS)))
    for op, takes in STEPS.items():
        kind = expression.StepOp[op]
        if takes >= 0:
            assert expression.taken(expression.Step(kind)) == takes, op
        else:
            by_operand = {*expression.COMPARISONS, expression.StepOp.SUBSTR}
            groups = (expression.VARIADIC, by_operand, expression.JUMPS, expression.LOOPS)
            assert [kind in group for group in groups] == [takes == -number for number in (1, 2, 3, 4)], op
    found = re.search(r"enum fanion_constant_kind \{(.*?)\}", HEADER.read_text(), re.S)
    assert found is not None
    names = [name.strip() for name in found[1].split(",")]
    assert names == [f"FANION_CONSTANT_{kind.name}" for kind in f.ConstantKind]
    found = re.search(r"enum fanion_fraction_kind \{(.*?)\}", STEPS_HEADER.read_text(), re.S)
    assert found is not None
    names = [name.strip() for name in found[1].split(",")]
    assert names == [f"FANION_FRACTION_{kind.name}" for kind in expression.FractionKind]


def test_every_limit_of_an_expression_is_the_cores() -> None:
    names = re.findall(r"^#define FANION_([A-Z_]+) \(?(-?\d+)\)?$", STEPS_HEADER.read_text(), re.M)
    found = {name: int(number) for name, number in names if not name.startswith("TAKES_")}
    assert found == {
        "STEPS_MAX": expression.STEPS_MAX,
        "STACK_MAX": expression.STACK_MAX,
        "LOOPS_MAX": expression.LOOPS_MAX,
        "NESTED_MAX": expression.NESTED_MAX,
        "LIST_MAX": expression.LIST_MAX,
        "BUDGET": expression.BUDGET,
        "ARENA_BYTES_MAX": expression.ARENA_BYTES_MAX,
        "TEXT_DEPTH_MAX": expression.TEXT_DEPTH_MAX,
        "TEXT_BYTES_MAX": program.TEXT_BYTES_MAX,
        "SPREAD": expression.SPREAD,
    }
    assert expression_proof.TEXT_BYTES_MAX == program.TEXT_BYTES_MAX
    assert expression.LIST_MAX == reference.STRINGS_MAX  # the verifier's bound of a constant list


def test_a_document_of_a_table_stands_in_no_others_place() -> None:
    lowered = program.Lowered("env", documents={"events": b"[]"})
    table = program.Table((), (b"",), documents={"events": b"{}"})
    with pytest.raises(ProgramError, match="table toy: the document 'events' again"):
        compile_bundle(lowered, {"toy": lambda _: table})


@pytest.mark.parametrize("edges", [(0, 1 << 63), (-(1 << 63) - 1, 0), (1 << 70, 1 << 71)])
def test_ranges_beyond_64_bits_are_refused_in_words(edges: tuple[int, int]) -> None:
    nodes = (program.Ranges((program.Range(*edges, 1),), 1), program.Outcome(program.Resolution.DEFAULT))
    lowered = program.Lowered("env", decisions=[program.Decision("flag", nodes)])
    with pytest.raises(ProgramError, match=r"decision flag node 0: the range .* whole numbers of 64 bits"):
        compile_bundle(lowered, {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key": "half \ud800"}, "halves of surrogate pairs"),
        ({"variant": 1 << 40}, "numbers that their fields can hold"),
        ({"rule": 1 << 70}, "numbers that their fields can hold"),
    ],
)
def test_what_no_field_can_hold_is_refused_in_words(changed: dict[str, Any], said: str) -> None:
    given = {"key": "flag", "variant": 0, "rule": 0, **changed}
    outcome = program.Outcome(program.Resolution.DEFAULT, given["variant"], given["rule"])
    lowered = program.Lowered("env", decisions=[program.Decision(given["key"], (outcome,))])
    with pytest.raises(ProgramError, match=said):
        compile_bundle(lowered, {})
