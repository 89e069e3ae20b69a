"""Pages over stand-ins: results and usage as they are shown, events' filters, what a query may hold."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from fanion.console import questions as q
from fanion.console.events import EventPages
from fanion.console.exchange import Asked, RefusedError, choice, number, text
from fanion.console.experiments import ExperimentPages
from fanion.console.held import HeldPages
from fanion.console.plots import days_plot, draw_bar, intervals_plot, latency_bars, usage_plot
from fanion.console.reader import ReaderError
from fanion.console.rendering import Templates, read_static
from fanion.console.site import Page
from fanion.errors import RowsError
from fanion.results.report import (
    Bounds,
    Comparison,
    DayResult,
    MetricResult,
    Result,
    RunResult,
    VariantMetric,
)
from fanion.results.usage import Count

EVIL = "<b>&\"'"
FAR = Bounds(float("-inf"), float("inf"))


def compared(finding: Any, words: str, always: Bounds = FAR) -> Comparison:
    return Comparison(
        EVIL, finding, 0.4, 0.5, 0.1, always, 0.2, 0.3, Bounds(0.0, 0.2), 0.01, 0.25, FAR, 0.05, 900, words
    )


def metric(one: Comparison, type: str = "conversion") -> MetricResult:
    sides = [VariantMetric("a", 1_000, 400, 0.4, 3), VariantMetric(EVIL, 1_001, 500, 0.5, 0)]
    return MetricResult(f"paid {EVIL}", "purchase", type, "goal", "increase", sides, [one])


def result(one: Comparison, ratio_p: float | None = 0.7, problems: tuple[str, ...] = ()) -> Result:
    days = [
        DayResult(f"2026-01-0{day}T00:00:00Z", f"paid {EVIL}", EVIL, 10 * day, 0.1, -0.5 / day, 0.5 / day)
        for day in range(1, 6)
    ]
    run = RunResult("r", "2026-01-01T00:00:00Z", {"a": 50.0, EVIL: 50.0}, {"a": 1_000, EVIL: 1_001}, ratio_p)
    return Result(
        *("exp", "An experiment", "env", "flag", "a", "served", "2026-01-01T00:00:00Z", None),
        *("2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", False, None, None),
        {"a": 1_000, EVIL: 1_001},
        not problems,
        list(problems),
        ["a note"],
        "what was found",
        [run],
        [metric(one)],
        None,
        [],
        days,
        None,
    )


class FakeReader:
    """Answers each question by what it is."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def ask(self, question: Any) -> bytes:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)


class FakeResults:
    def __init__(self, answer: bytes | Exception | None) -> None:
        self.answer = answer

    async def ask(self, *_: object, **__: object) -> bytes | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def usage(self, *_: object, **__: object) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or b""


def asked(query: dict[str, str] | None = None, form: dict[str, str] | None = None, **headers: str) -> Asked:
    return Asked("GET" if form is None else "POST", "", query or {}, form or {}, headers)


def rendered(page: Page) -> str:
    common = {"menu": [], "current": "", "form": "f", "free": True, "version": "1"}
    return Templates("/console", read_static("/console")).render(page.template, **{**common, **page.values})


def shown(answer: bytes | Exception | None, missing: str = "", rest: str = "result") -> str:
    pages: Any = ExperimentPages(FakeReader(), FakeResults(answer), missing)  # type: ignore[arg-type]
    return rendered(asyncio.run(pages.experiments(asked({"environment": "env", "key": "exp"}), rest)))


def as_answer(one: Result) -> bytes:
    return msgspec.json.encode({"results": [one]})


@pytest.mark.parametrize("finding", ["better", "worse", "none", "not enough yet"])
def test_a_result_says_its_finding_in_words_and_as_a_picture(finding: Any) -> None:
    page = shown(as_answer(result(compared(finding, f"{finding}, in words", Bounds(-0.1, 0.3)))))
    assert f"{finding}, in words" in page
    assert f'class="interval {finding.replace(" ", "-")}"' in page
    assert "of 50 %" in page
    assert "as planned" in page
    assert "every event before 2026-01-05" in page
    assert EVIL not in page


def test_shares_that_are_no_chance_and_what_isnt_to_be_trusted_are_said_first() -> None:
    page = shown(as_answer(result(compared("better", "better"), 1e-9, ("the sample ratio is no chance",))))
    assert "don&#39;t trust it" in page or "don't trust it" in page
    assert page.index("the sample ratio is no chance") < page.index("<table>")


def test_intervals_without_end_are_drawn_to_the_edge() -> None:
    picture = intervals_plot(metric(compared("not enough yet", "not enough yet")))
    assert "inf" not in picture
    assert "nan" not in picture


def test_why_there_is_no_result_is_said() -> None:
    assert "too many questions" in shown(RowsError("too many questions"))
    assert "pip install" in shown(None, "results need duckdb: pip install it")
    with pytest.raises(RefusedError, match="no experiment exp"):
        shown(None)
    assert "there is nothing to say" in shown(b'{"results":[]}')


def test_usage_is_drawn_by_day_and_variant_and_counted_beside() -> None:
    counts = [
        Count("env", "flag", f"2026-01-0{day}T00:00:00Z", "served", variant, None, 10 * day, day)
        for day in range(1, 5)
        for variant in ("on", EVIL, None)
    ]
    pages: Any = ExperimentPages(
        FakeReader(),  # type: ignore[arg-type]
        FakeResults(msgspec.json.encode({"usage": counts})),
        "",
    )
    page = rendered(asyncio.run(pages.usage(asked({"environment": "env", "flag": "flag"}), "")))
    assert page.count('class="use') == 12
    assert EVIL not in page
    part = asyncio.run(pages.usage(asked({}, **{"hx-request": "true"}), ""))
    assert part.template == "usage_part.html"
    assert usage_plot([]).startswith("<svg")


def test_an_experiment_that_isnt_there_has_no_page() -> None:
    pages: Any = ExperimentPages(FakeReader([]), FakeResults(None), "")  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="has no experiment"):
        asyncio.run(pages.experiments(asked({"environment": "env", "key": "x"}), "one"))


def test_filters_of_events_are_those_of_the_form_and_nothing_else() -> None:
    reader = FakeReader(q.EventList([], 10.0, True, 0, ""), q.EventList([], 10.0, False, 0, ""))
    pages: Any = EventPages(reader, ("feather",))  # type: ignore[arg-type]
    form = {"kind": "metric", "unit": " ann ", "dialect": "feather", "live": "1"}
    page = rendered(asyncio.run(pages.events(asked(form=form), "")))
    assert reader.asked == [q.Tail("", "feather", "metric", "", "ann", 50)]
    assert "data-every" in page
    assert "No event fits" in page
    for wrong in ({"kind": "x"}, {"dialect": "x"}, {"flag": "a" * 501}):
        with pytest.raises(RefusedError):
            asyncio.run(pages.events(asked(form=wrong), ""))


def test_a_journal_with_defects_says_so_and_how_far_it_was_read() -> None:
    facts = q.JournalFacts(
        [q.WriterRow(0, 1, 2, 1, 30, 4_096, 1.0, 2.0, 0)],
        [q.ReaderRow("pipeline", 5, 0, 7)],
        8_192,
        "7 days",
        q.Verified(4, 2, 30, [f"segment: {EVIL}"]),
        "",
    )
    pages: Any = HeldPages(FakeReader(facts))  # type: ignore[arg-type]
    page = rendered(asyncio.run(pages.journal(asked(form={}), "")))
    assert "1 defects" in page
    assert "fanion journal verify" in page
    assert '<td class="n bad-text">7</td>' in page
    assert EVIL not in page


def test_what_people_named_turns_nothing_around_and_is_sent_again_to_the_letter() -> None:
    around = "a\u202eb\u001b[31m\u0085"
    pages: Any = HeldPages(FakeReader([q.ListRow("env", f"env/{around}", 5, False)]))  # type: ignore[arg-type]
    page = rendered(asyncio.run(pages.lists(asked(form={"member": around}), "")))
    told = r"a\u202eb\u001b[31m\u0085"
    assert page.count(told) == 2  # the list's name, and what was looked for, above its column
    assert page.count(around) == page.count(f'value="{around}"') == 1


def test_a_picture_turns_nothing_around() -> None:
    drawn = draw_bar(q.Draw(1, 10, 0.15, [(0.0, 1.0, "a\u202eb", True)], None))
    assert r"a\u202eb" in drawn
    assert "\u202e" not in drawn


def test_a_reader_that_has_no_answer_is_not_taken_for_an_empty_one() -> None:
    pages: Any = HeldPages(FakeReader(ReaderError("the store is damaged")))  # type: ignore[arg-type]
    with pytest.raises(ReaderError, match="damaged"):
        asyncio.run(pages.keys(asked(), ""))


def test_a_draw_is_drawn_from_its_first_bucket_to_its_last() -> None:
    parts = [(0.0, 0.5, EVIL, False), (0.5, 1.0, "on", True)]
    picture = draw_bar(q.Draw(7_500, 10_000, 0.75, parts, 0.25))
    assert picture.count("<rect") == 2
    assert "75.00 %" in picture
    assert EVIL not in picture
    assert latency_bars([0, 0], [1], 1).count("<rect") == 2
    assert days_plot(result(compared("none", "x")), metric(compared("none", "x"), "sum")).startswith("<svg")


@pytest.mark.parametrize("value", ["-1", "11", "1.0", "x", "١", "9" * 30])
def test_numbers_of_queries_are_within_bounds(value: str) -> None:
    assert number({"n": "10"}, "n", 5, 0, 10) == 10
    assert number({}, "n", 5, 0, 10) == 5
    with pytest.raises(RefusedError):
        number({"n": value}, "n", 5, 0, 10)


def test_words_of_queries_are_within_bounds() -> None:
    assert text({"n": "ab"}, "n", 2) == "ab"
    assert choice({}, "n", ("a",)) == ""
    for wrong in ("abc", "a\0"):
        with pytest.raises(RefusedError):
            text({"n": wrong}, "n", 2)
    with pytest.raises(RefusedError, match="is one of: a"):
        choice({"n": "b"}, "n", ("a",))
