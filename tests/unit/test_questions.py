"""One question with many answers: what the core gives for each key, and when a question has ended."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from fanion.bundle.compiler import compile_bundle
from fanion.engine.evaluator import ABSENT, Bundle, Question
from fanion.model import program as p
from fanion.model.parts import Fragment, Hole

ENDS = (p.Outcome(p.Resolution.MATCHED, variant=0), p.Outcome(p.Resolution.DEFAULT, variant=1))
HOLED: tuple[Fragment, Fragment] = (
    (b'"value":', b"1", Hole(0), b"rest", Hole(1), b"end"),
    (b'"value":2',),
)


@pytest.fixture
def bundle() -> Bundle:
    """`wanted` is 1 with a hole behind it for the plan "pro", else 2; `hidden` the same, for servers only."""
    asked = (p.Slot(p.Source.ATTRIBUTE, "plan"), p.Slot(p.Source.MEMBER, "userId"))
    decision = p.Decision("plan", (p.Test(p.Op.EQ_STRING, 0, "pro", 1, 2, 2, 2), *ENDS))
    entries = (p.Entry("wanted", 0, HOLED, client_safe=True), p.Entry("hidden", 0, HOLED))
    table = p.Table(entries, (b'"absent"',))
    return Bundle(compile_bundle(p.Lowered("env", asked, (decision,)), {"native": lambda _: table}))


def ask(bundle: Bundle, plan: Any = "pro") -> Question:
    return bundle.ask(None, {"plan": plan}, None)


def test_each_key_has_its_resolution_its_fragment_and_what_stands_behind_the_first_hole(
    bundle: Bundle,
) -> None:
    pro = (p.Resolution.MATCHED, b'"value":1', b"restend")
    assert ask(bundle).put_each(0, ["wanted", "hidden", "wanted"], False) == [pro, pro, pro]
    assert ask(bundle, "free").put_each(0, ["wanted"], False) == [(p.Resolution.DEFAULT, b'"value":2', None)]


def test_what_the_caller_may_not_see_is_absent_as_an_unknown_key_is(bundle: Bundle) -> None:
    absent = (ABSENT, b'"absent"', None)
    assert ask(bundle).put_each(0, ["hidden", "stranger"], True) == [absent, absent]
    assert bundle.resolve(0, "hidden", True, None, {"plan": "pro"}, None) == absent


def test_one_call_gives_what_a_question_gives(bundle: Bundle) -> None:
    for plan in ("pro", "free"):
        (expected,) = ask(bundle, plan).put_each(0, ["wanted"], True)
        assert bundle.resolve(0, "wanted", True, None, {"plan": plan}, None) == expected


def test_answers_that_are_kept_are_those_that_would_be_made() -> None:
    """More answers than are kept, some too long to be, some alike under decisions of different resolution."""
    ends = ((p.Outcome(p.Resolution.MATCHED),), (p.Outcome(p.Resolution.DEFAULT),))
    decisions = tuple(p.Decision(f"d{n}", nodes) for n, nodes in enumerate(ends))
    pieces: list[tuple[Fragment, Any]] = [
        ((b'"value":', b"%d" % n, Hole(0), b"x" * (n % 3 * 300)), b"x" * (n % 3 * 300)) for n in range(3_000)
    ]
    entries = tuple(p.Entry(f"{n}-{d}", d, (pieces[n][0],)) for n in range(3_000) for d in (0, 1))
    table = p.Table(entries, (b"",))
    bundle = Bundle(compile_bundle(p.Lowered("env", (), decisions), {"native": lambda _: table}))
    for _ in range(2):
        for n in (*range(3_000), *range(0, 3_000, 7)):
            for d, resolution in enumerate((p.Resolution.MATCHED, p.Resolution.DEFAULT)):
                answer = bundle.resolve(0, f"{n}-{d}", False, None, None, None)
                assert answer == (resolution, b'"value":%d' % n, pieces[n][1])


def listed(question: Question, keys: list[str], client: bool) -> bytes:
    """What `put_list` has to say, by `put_each`."""
    return b",".join(head for _, head, _ in question.put_each(0, keys, client) if head)


def test_a_list_is_what_each_key_has_before_its_first_hole(bundle: Bundle) -> None:
    keys = ["wanted", "hidden", "stranger", "wanted"]
    for plan in ("pro", "free"):
        for client in (False, True):
            question = ask(bundle, plan)
            assert question.put_list(0, keys, client) == listed(question, keys, client)
    assert ask(bundle).put_list(0, [], False) == b""


def test_a_list_leaves_out_what_is_empty() -> None:
    decision = p.Decision("d", ((p.Outcome(p.Resolution.MATCHED),)))
    texts: list[Fragment] = [(b"",), (b"1",), (b"",), (Hole(0), b"2"), (b"3", b"", b"4"), (b"",)]
    entries = tuple(p.Entry(f"{n}", 0, (text,)) for n, text in enumerate(texts))
    table = p.Table(entries, (b"",))
    bundle = Bundle(compile_bundle(p.Lowered("env", (), (decision,)), {"native": lambda _: table}))
    question = bundle.ask(None, None, None)
    for keys in permutations([f"{n}" for n in range(len(texts))]):
        assert question.put_list(0, list(keys), False) == listed(question, list(keys), False)
    assert question.put_list(0, ["0", "1", "none", "4", "5"], False) == b"1,34"


def test_a_map_writes_every_key_once_in_order_and_a_hole_as_nothing(bundle: Bundle) -> None:
    question = ask(bundle)
    keys = ["wanted", 'str"anger', "wanted", 'str"anger', "hidden"]
    expected = b'<"wanted":{"value":1restend},"str\\"anger":{"absent"},"hidden":{"value":1restend}>'
    assert question.put_map(0, keys, False, b"<", b">") == expected
    assert question.put_map(0, keys, False, b"<", b">") == expected
    assert bundle.put_map(0, keys, False, None, {"plan": "pro"}, None, b"<", b">") == expected


def test_one_question_may_be_asked_for_all_kinds_of_answers(bundle: Bundle) -> None:
    question = ask(bundle)
    assert question.evaluate(0) == (0, -1)
    assert question.choose(0) == (-1, 0.0, -1)
    assert question.put_map(0, [], False, b"<", b">") == b"<>"
    with pytest.raises(IndexError, match="decision 1 of 1"):
        question.evaluate(1)
    with pytest.raises(IndexError, match="table 1 of 1"):
        question.put_each(1, ["wanted"], False)


@pytest.mark.parametrize(
    "other",
    [
        lambda bundle: bundle.ask(None, None, None),
        lambda bundle: bundle.put_one(0, "wanted", False, None, None, None, b"", b""),
        lambda bundle: bundle.resolve(0, "wanted", False, None, None, None),
        lambda bundle: bundle.evaluate(0, None, None, None),
        lambda bundle: bundle.choose(0, None, None, None),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda question: question.put_each(0, ["wanted"], False),
        lambda question: question.put_list(0, ["wanted"], False),
        lambda question: question.put_map(0, ["wanted"], False, b"", b""),
        lambda question: question.evaluate(0),
        lambda question: question.choose(0),
    ],
)
def test_a_question_ends_when_the_bundle_is_asked_anything_else(bundle: Bundle, other: Any, use: Any) -> None:
    question = ask(bundle)
    use(question)
    later = other(bundle)
    with pytest.raises(RuntimeError, match="asked something else"):
        use(question)
    if isinstance(later, Question):
        use(later)


def test_a_question_to_a_closed_bundle_is_refused(bundle: Bundle) -> None:
    question = ask(bundle)
    bundle.close()
    with pytest.raises(ValueError, match="closed"):
        question.put_each(0, ["wanted"], False)


def test_a_question_that_no_bundle_made_is_refused() -> None:
    for use in (lambda: Question().put_each(0, [], False), lambda: Question().put_list(0, [], False)):
        with pytest.raises(RuntimeError, match=r"Bundle\.ask"):
            use()


def test_a_question_keeps_its_context_and_its_bundle_alive() -> None:
    slots = (p.Slot(p.Source.ATTRIBUTE, "plan"),)
    tests = tuple(
        p.Decision(f"d{n}", (p.Test(p.Op.EQ_STRING, 0, text, 1, 2, 2, 2), *ENDS))
        for n, text in enumerate(["a" * 50, "b" * 50])
    )
    question = Bundle(compile_bundle(p.Lowered("env", slots, tests), {})).ask(
        None, {"plan": "".join(["b"] * 50)}, None
    )
    assert [question.evaluate(n)[0] for n in range(2)] == [1, 0]


def test_a_key_is_found_with_its_decision(bundle: Bundle) -> None:
    assert (bundle.decision(0, "wanted"), bundle.decision(0, "stranger")) == (0, -1)
