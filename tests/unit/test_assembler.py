"""The assembler of decisions: labels, and what is named but never placed."""

from __future__ import annotations

import pytest

from fanion.definitions.lowering.assembler import Assembler, Exits, spans
from fanion.definitions.lowering.conditions import Leaf, Tree, emit, join_trees, negate
from fanion.model import program
from fanion.model.program import Hash, HashKind, Op, Outcome, Range, Ranges, Reduction, Resolution


def test_labels_become_the_numbers_of_the_nodes_that_follow_them() -> None:
    code = Assembler[str]()
    named, drawn, share, nobody = (code.label() for _ in range(4))
    code.test(Op.STRING_IN, 3, ("",), Exits(nobody, named, nobody, nobody))
    code.place(named)
    code.hash(HashKind.XXH64, (), Reduction.MODULO, 100, drawn)
    code.place(drawn)
    code.ranges([(0, 49, share)], nobody)
    code.place(share)
    code.outcome("half", Resolution.SPLIT, 1, 0)
    code.place(nobody)
    code.outcome("rest", Resolution.DEFAULT)
    assert code.finish() == (
        [
            program.Test(Op.STRING_IN, 3, ("",), 4, 1, 4, 4),
            Hash(HashKind.XXH64, (), Reduction.MODULO, 100, 2, -1),
            Ranges((Range(0, 49, 3),), 4),
            Outcome(Resolution.SPLIT, 1, 0),
            Outcome(Resolution.DEFAULT),
        ],
        ["half", "rest"],
    )


def test_a_label_that_is_named_but_never_placed_is_refused() -> None:
    code = Assembler[None]()
    code.ranges([], code.label())
    with pytest.raises(AttributeError):
        code.finish()


def test_spans_leave_out_empty_shares_and_stop_at_the_last_bucket() -> None:
    code = Assembler[None]()
    labels = [code.label() for _ in range(4)]
    made = spans(zip((10, 0, 95, 5), labels, strict=True), 100)
    assert made == [(0, 9, labels[0]), (10, 99, labels[2])]


@pytest.mark.parametrize(
    ("tree", "exits"),
    [
        (Leaf(Op.PRESENT, 0, None), [(1, 2, 2, 2)]),
        (Leaf(Op.PRESENT, 0, None, True), [(2, 1, 1, 1)]),
        (Leaf(Op.PRESENT, 0, None, fallback=1), [(2, 3, 1, 3), (2, 3, 3, 3)]),
        (join_trees(True, [Leaf(Op.PRESENT, 0, None)] * 2), [(1, 3, 3, 3), (2, 3, 3, 3)]),
        (join_trees(False, [Leaf(Op.PRESENT, 0, None)] * 2), [(2, 1, 1, 1), (2, 3, 3, 3)]),
        (negate(join_trees(False, [Leaf(Op.PRESENT, 0, None)] * 2)), [(3, 1, 1, 1), (3, 2, 2, 2)]),
    ],
    ids=["leaf", "negative", "fallback", "all", "any", "none"],
)
def test_a_tree_leads_to_where_it_is_true_and_where_it_is_not(
    tree: Tree, exits: list[tuple[int, int, int, int]]
) -> None:
    assert not isinstance(tree, bool)
    code = Assembler[None]()
    true, false = code.label(), code.label()
    emit(code, tree, true, false)
    for label in (true, false):
        code.place(label)
        code.outcome(None, Resolution.DEFAULT)
    nodes, _ = code.finish()
    tests = [node for node in nodes if isinstance(node, program.Test)]
    assert [(one.on_true, one.on_false, one.on_missing, one.on_mismatch) for one in tests] == exits
