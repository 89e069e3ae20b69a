"""Regular expressions as servers run them: what may be published can be run, and none takes long, whatever it is
asked of."""

from __future__ import annotations

import pytest

from fanion.definitions.lowering.conditions import pattern_error
from fanion.dialects.traffical.event_schema import EventRule, EventSchemas, PropertySchema
from fanion.engine.externals import PATTERN_WORK_MAX, compile_pattern, make_external
from fanion.model.program import Op

SIZES = [rf"\p{{L}}{{{count}}}" for count in (1, 20, 40, 64, 100, 200, 300, 1000)] + [
    r"[^\s]{1,1000}" * count for count in (1, 3, 4, 6, 9)
]


def compile_error(pattern: str) -> str | None:
    try:
        compile_pattern(pattern)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("pattern", SIZES)
def test_a_pattern_that_may_be_published_is_one_that_servers_run(pattern: str) -> None:
    assert pattern_error(pattern) == compile_error(pattern)


def test_patterns_of_both_kinds_were_asked() -> None:
    assert {compile_error(pattern) is None for pattern in SIZES} == {True, False}


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600"])
@pytest.mark.parametrize("pattern", ["a|é|\U0001f600", ".{0,1000}$", "(a?){500}", r"^\S{1,300}"])
def test_a_text_of_the_longest_size_is_asked_of_and_one_byte_more_matches_nothing(
    pattern: str, letter: str
) -> None:
    compiled = compile_pattern(pattern)
    size = len(letter.encode())
    longest = letter * (compiled.bytes_max // size) + "x" * (compiled.bytes_max % size)
    assert len(longest.encode()) == compiled.bytes_max
    asked = make_external()
    assert compiled.search(longest) is not None
    assert asked(Op.STRING_REGEX, pattern, longest)
    assert compiled.search(longest + "x") is None
    assert not asked(Op.STRING_REGEX, pattern, longest + "x")


def test_an_ordinary_pattern_is_asked_of_every_text_that_an_attribute_can_be() -> None:
    assert compile_pattern(r"^[\w.+-]+@[\w-]+\.[\w.-]+$").bytes_max > 65_536


def test_the_longest_text_falls_as_the_pattern_grows() -> None:
    bounds = [compile_pattern(f"(.{{0,{count}}}a)$").bytes_max for count in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < PATTERN_WORK_MAX // 1_000


def test_groups_of_a_pattern_are_not_looked_for() -> None:
    """They have it run by a way that is 16 times slower."""
    assert compile_pattern("(a)(b)?").bytes_max == compile_pattern("ab?").bytes_max


def test_an_event_pattern_that_another_version_let_through_asks_nothing_and_costs_nobody_the_environment() -> (
    None
):
    wrong = PropertySchema(properties={"p": PropertySchema(pattern=r"\p{L}{1000}", max_length=3)})
    events = EventSchemas({"e": EventRule("reject", wrong)})
    assert events.check("e", {"p": "1"}) == ([], False)
    assert [one["rule"] for one in events.check("e", {"p": "1234"})[0]] == ["maxLength"]
