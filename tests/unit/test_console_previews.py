"""Previews in the console: what readers answer, the page's form, and what can't be asked in words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fanion.app.answering.answers import Answers
from fanion.console.exchange import BODY_BYTES_MAX, RefusedError
from fanion.console.preview_questions import (
    CONTEXTS_MAX,
    PASTED,
    RECENT,
    RECENT_MAX,
    FileList,
    Files,
    PreviewOf,
)
from fanion.console.previews import (
    ATTRIBUTE_CHARS_MAX,
    CONTENT_CHARS_MAX,
    CONTEXTS_CHARS_MAX,
    PreviewPages,
)
from fanion.console.reader import ReaderError
from fanion.errors import ConfigError, DefinitionError, RowsError
from fanion.pipeline import query
from fanion.preview.moves import VALUES_SHOWN_MAX
from fanion.preview.report import FlagReport, Preview
from fanion.store.store import Store
from tests.unit.test_console_answers import NASTY, WORLD, answered, published
from tests.unit.test_console_pages import FakeReader, asked, rendered

CHANGED = WORLD.replace("rollout_percentage: 50", "rollout_percentage: 100")
FORM = {"environment": "env", "name": "world.yaml", "content": "fanion: 1\r\n"}
FILES = FileList(["env"], ["world.yaml"], "world.yaml", "fanion: 1\n", 10)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return published(tmp_path, WORLD)


@pytest.fixture
def world(data: Path) -> Answers:
    return Answers(data)


def compared(world: Answers, text: str, units: int = 1_000, **more: str) -> Preview:
    found = answered(world, Files("env"), FileList)
    (one,) = answered(world, PreviewOf("env", found.name, text, units, **more), list[Preview])
    return one


def page_of(form: dict[str, str] | None, *answers: Any) -> tuple[Any, FakeReader, FakeReader]:
    """The page, and who was asked for it."""
    reader, computer = FakeReader(FILES), FakeReader(*answers)
    pages: Any = PreviewPages(reader, computer)  # type: ignore[arg-type]
    return asyncio.run(pages.preview(asked(form=form), "")), reader, computer


# -- what readers answer


def test_a_preview_counts_who_would_move_and_stores_nothing(world: Answers, tmp_path: Path) -> None:
    found = answered(world, Files("env"), FileList)
    assert found.content == WORLD
    changed = WORLD.replace("rollout_percentage: 50", "rollout_percentage: 60")
    (one,) = answered(world, PreviewOf("env", found.name, changed, 20_000), list[Preview])
    (flag,) = one.flags
    assert (flag.key, flag.change, flag.redrawn) == ("checkout", "changed", False)
    assert 0 < flag.moved < 2_000
    assert {move.after for move in flag.moves} == {'"half"'}
    with Store.open(tmp_path / "data") as store:
        assert store.generation() == 1


def test_a_preview_of_the_same_says_that_nothing_changes(world: Answers) -> None:
    found = answered(world, Files("env"), FileList)
    (one,) = answered(world, PreviewOf("env", found.name, WORLD, 1_000), list[Preview])
    assert one.empty


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("type: string", "type: number"), "checkout"),
        (("fanion: 1", "fanion: ["), "world.yaml"),
        (("{id: env}", "{id: env, sources: [{format: feather, path: /etc/passwd}]}"), "not in the store"),
        (
            ("{id: env}", "{id: env, sources: [{format: feather, path: ../../../etc/passwd}]}"),
            "not in the store",
        ),
    ],
)
def test_a_preview_reads_no_file_and_says_what_cant_be_published(
    world: Answers, change: tuple[str, str], said: str
) -> None:
    found = answered(world, Files("env"), FileList)
    with pytest.raises(DefinitionError, match=said):
        world.of(PreviewOf("env", found.name, WORLD.replace(*change), 1_000))


def test_keys_in_variables_are_not_looked_up(world: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "sk_live_1234567890abcdef")
    found = answered(world, Files("env"), FileList)
    text = WORLD.replace("{id: env}", '{id: env, keys: [{key: "env:SECRET_KEY", kind: server}]}')
    (one,) = answered(world, PreviewOf("env", found.name, text, 1_000), list[Preview])
    assert one.keys_lost == []


def test_pasted_contexts_are_who_is_asked_for_and_counted_by_an_attribute(world: Answers) -> None:
    lines = [f'{{"targetingKey": "u{n}", "country": "DE", "age": 20, "plan": {n % 2}}}' for n in range(400)]
    lines[1:1] = ["", "  \r"]
    lines.append('{"userId": "ann", "plan": null}')
    one = compared(world, CHANGED, who=PASTED, contexts="\n".join(lines), by="plan")
    (flag,) = one.flags
    assert one.asked == "401 contexts that were pasted; none has anonymousId, email"
    assert flag.units == 401
    assert 100 < flag.moved < 300
    assert {value: units for value, (units, _) in flag.by["plan"].items()} == {
        "0": 200,
        "1": 200,
        "(nothing)": 1,
    }
    assert sum(moved for _, moved in flag.by["plan"].values()) == flag.moved


def test_made_up_units_are_counted_by_an_attribute_too(world: Answers) -> None:
    (flag,) = compared(world, CHANGED, 20_000, by="country").flags
    assert {"DE", "AT", "(nothing)"} <= flag.by["country"].keys()
    assert {value for value, (_, moved) in flag.by["country"].items() if moved} == {"DE", "AT"}


def test_of_an_attribute_the_most_frequent_values_are_said(world: Answers) -> None:
    lines = [f'{{"targetingKey": "u{n}", "n": {n // 2 if n < 100 else "7"}}}' for n in range(200)]
    (flag,) = compared(world, CHANGED, who=PASTED, contexts="\n".join(lines), by="n").flags
    assert len(flag.by["n"]) == VALUES_SHOWN_MAX
    assert next(iter(flag.by["n"].items()))[0] == "7"


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        ("", "none are pasted"),
        (" \n\n", "none are pasted"),
        ('{"userId": "u"}\n{', "contexts: line 2: not JSON"),
        ("\n[1]", "contexts: line 2: list; one object a line"),
        ("[" * 100_000, "contexts: line 1: not JSON"),
        ("{}\n" * (CONTEXTS_MAX + 1), f"more than {CONTEXTS_MAX:,}"),
    ],
)
@pytest.mark.parametrize("text", [WORLD, CHANGED])
def test_contexts_that_arent_any_are_said_whatever_changes(
    world: Answers, contexts: str, said: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        compared(world, text, who=PASTED, contexts=contexts)


def test_as_many_contexts_as_are_allowed_are_asked_for(world: Answers) -> None:
    (flag,) = compared(world, CHANGED, 10, who=PASTED, contexts="{}\n" * CONTEXTS_MAX).flags
    assert (flag.units, flag.moved) == (CONTEXTS_MAX, 0)


@pytest.mark.parametrize(
    "context",
    [
        '{"targetingKey": {"a": 1}, "country": ["DE"], "age": {"b": null}}',
        '{"targetingKey": 1e308, "age": 123456789012345678901234567890, "country": true}',
        '{"targetingKey": "", "age": -0.0, "email": "\\ud83d\\ude00", "": ""}',
        '{"userId": true, "country": null, "a.b": {"c": [[[[1]]]]}}',
    ],
)
def test_any_object_is_a_context(world: Answers, context: str) -> None:
    (flag,) = compared(world, CHANGED, who=PASTED, contexts=context, by="age").flags
    assert flag.units == 1
    assert len(flag.by["age"]) == 1


def test_recent_units_are_those_that_events_named_by_their_ids(world: Answers, data: Path) -> None:
    pytest.importorskip("duckdb")
    from tests.unit.result_rows import write_rows

    with pytest.raises(RowsError, match="no row names a unit by its id"):
        compared(world, CHANGED, who=RECENT)
    at = 1_772_323_200_000_000
    sent = {"kind": "metric", "environment": "env", "metric": "m", "attributes": '{"country":"DE","age":30}'}
    rows = [sent | {"unit": f"u{number % 50}", "event_at": at + number} for number in range(100)]
    rows += [sent | {"unit": "ab" * 32, "unit_hashed": True, "event_at": at + 900}]
    rows += [sent | {"unit": "x", "environment": "other", "event_at": at + 900}]
    write_rows(data, rows)
    one = compared(world, CHANGED, who=RECENT, by="country")
    (flag,) = one.flags
    assert one.asked == "50 units that events named last; none has anonymousId, email"
    assert flag.by == {"country": {"DE": (50, flag.moved)}}
    assert 0 < flag.moved < 50
    assert compared(world, CHANGED, 10, who=RECENT).flags[0].units == 10


def test_rows_beyond_a_readers_memory_are_said(
    world: Answers, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    from tests.unit.result_rows import write_rows

    at = 1_772_323_200_000_000
    sent = {"kind": "metric", "environment": "env", "metric": "m", "attributes": '{"country":"DE"}'}
    write_rows(data, [sent | {"unit": f"u{number}", "event_at": at + number} for number in range(50)])
    monkeypatch.setattr(query, "SMALL_MEMORY", "1KB")
    with pytest.raises(RowsError, match="more than 1KB of memory"):
        compared(world, CHANGED, who=RECENT)


# -- the page


def test_a_form_asks_for_made_up_units_where_nothing_else_is_said() -> None:
    page, _, computer = page_of(FORM, [])
    assert computer.asked == [PreviewOf("env", "world.yaml", "fanion: 1\n", 100_000)]
    shown = rendered(page)
    assert '<option value="made-up" selected>' in shown
    assert f"at most {RECENT_MAX:,}" in shown
    assert "<details><summary>Contexts" in shown
    page, _, computer = page_of(None)
    assert computer.asked == []
    assert '<option value="made-up" selected>' in rendered(page)


def test_who_is_asked_for_and_by_what_is_sent_as_the_form_has_it() -> None:
    contexts = '{"userId": "a"}\r\n{"userId": "b"}'
    form = {**FORM, "units": "10000", "who": PASTED, "contexts": contexts, "by": " plan "}
    page, _, computer = page_of(form, [])
    pasted = contexts.replace("\r\n", "\n")
    assert computer.asked == [PreviewOf("env", "world.yaml", "fanion: 1\n", 10_000, PASTED, pasted, "plan")]
    shown = rendered(page)
    assert '<option value="pasted" selected>' in shown
    assert "<details open><summary>Contexts" in shown
    page, _, computer = page_of({**form, "who": RECENT}, [])
    assert computer.asked[0].contexts == "", (
        "a field that isn't asked for is kept in the form and not sent on"
    )
    assert "{&#34;userId&#34;: &#34;b&#34;}</textarea>" in rendered(page)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("who", "everybody", "who is one of: made-up, recent, pasted"),
        ("units", "7", "units is one of"),
        ("contexts", "x" * (CONTEXTS_CHARS_MAX + 1), f"contexts has at most {CONTEXTS_CHARS_MAX:,}"),
        ("by", "x" * (ATTRIBUTE_CHARS_MAX + 1), f"by has at most {ATTRIBUTE_CHARS_MAX}"),
        ("by", "a\0", "by has a character"),
    ],
)
def test_what_no_form_of_the_page_sends_is_refused_in_words(field: str, value: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        page_of({**FORM, field: value}, [])
    assert refused.value.status == 400


def test_what_a_form_may_have_is_within_what_a_body_may() -> None:
    assert 3 * (CONTENT_CHARS_MAX + CONTEXTS_CHARS_MAX) < BODY_BYTES_MAX


def test_contexts_that_arent_any_are_said_beside_what_was_pasted() -> None:
    error = ReaderError("contexts: line 1: not JSON", unfit=True)
    page, _, _ = page_of({**FORM, "who": PASTED, "contexts": NASTY}, error)
    shown = rendered(page)
    assert page.status == 400
    assert '<pre class="bad-text" role="alert">contexts: line 1: not JSON</pre>' in shown
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in shown
    assert "<script>alert" not in shown


def test_counts_by_an_attribute_are_shown_and_escaped() -> None:
    around = "a\u202eb"
    by = {NASTY: {NASTY: (8, 2), around: (0, 0), "v" * 5_000: (1, 1)}}
    flag = FlagReport("native", NASTY, "changed", [NASTY], units=9, moved=3, by=by)
    page, _, _ = page_of({**FORM, "by": NASTY}, [Preview("env", 1, f"9 {NASTY}", [flag])])
    shown = rendered(page)
    assert "<script>alert" not in shown
    assert '2 of 8 <span class="hint">(25 %)</span>' in shown
    assert r"a\u202eb" in shown
    assert around not in shown
    assert "v" * 99 + "…" in shown
    assert "v" * 100 not in shown


def test_who_would_be_asked_for_is_said_only_where_somebody_was() -> None:
    new = FlagReport("native", "fresh", "new", [])
    page, _, _ = page_of({**FORM, "who": RECENT}, [Preview("env", 1, "units that events named last", [new])])
    assert "Asked for" not in rendered(page)
