"""What readers answer to the console's questions, of the demo world and of one whose names are nasty."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.app import publish
from fanion.app.answering import programs
from fanion.app.answering.answers import Answers
from fanion.app.overriding import lay_overrides
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.console import questions as q
from fanion.console.links import event_query, experiment_query, flag_query, page_query, usage_query
from fanion.console.rendering import Templates, read_static
from fanion.definitions import DEMO, load, load_stored
from fanion.dialects import vocabulary
from fanion.errors import ConfigError, JournalError, StoreError
from fanion.model.override import Override
from fanion.store.console import add_token
from fanion.store.store import Store
from tests.unit.console_standins import token

NASTY = "<script>alert('x')</script>\"&/%"
WORLD = f"""
fanion: 1
organisations:
  org:
    projects:
      shop:
        environments:
          production: {{id: env}}
        segments:
          staff: {{conditions: [{{attribute: email, operator: ends_with, value: "@shop.example"}}]}}
          early: {{list: {{include: [ann, bob]}}}}
        flags:
          checkout:
            type: string
            default_value: {msgspec.json.encode(NASTY).decode()}
            description: {msgspec.json.encode(NASTY).decode()}
            rules:
              - {{id: staff, conditions: [{{segment: staff}}], value: for staff}}
              - id: germany
                conditions:
                  - {{attribute: country, operator: in, value: [DE, AT]}}
                  - {{attribute: age, operator: gte, value: 18}}
                value: half
                rollout_percentage: 50
"""


def answered(answers: Answers, question: q.Question, kind: Any) -> Any:
    return msgspec.json.decode(answers.of(question), type=kind)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("console") / "data"
    publish(found, load([DEMO], vocabulary()), Config())
    return found


@pytest.fixture(scope="module")
def demo(directory: Path) -> Answers:
    return Answers(directory)


@pytest.fixture
def world(tmp_path: Path) -> Answers:
    return Answers(published(tmp_path, WORLD))


def published(tmp_path: Path, text: str) -> Path:
    (tmp_path / "world.yaml").write_text(text)
    data = tmp_path / "data"
    publish(data, load([tmp_path / "world.yaml"], vocabulary()), Config())
    return data


# -- flags


def test_flags_of_all_formats_are_found_by_key_group_and_description(demo: Answers) -> None:
    everything = answered(demo, q.FindFlags(), q.FlagList)
    assert everything.total == len(everything.rows) > 10
    assert len(everything.sources) == 4
    assert [row.key for row in answered(demo, q.FindFlags("CHECKOUT-C"), q.FlagList).rows] == [
        "checkout-copy"
    ]
    assert answered(demo, q.FindFlags("tried out with half"), q.FlagList).total == 1
    assert answered(demo, q.FindFlags("marketing-banner"), q.FlagList).total == 2
    assert answered(demo, q.FindFlags("nothing has this"), q.FlagList).rows == []
    native = answered(demo, q.FindFlags(source="native"), q.FlagList)
    assert {row.source for row in native.rows} == {"native"}
    assert answered(demo, q.FindFlags(page=1), q.FlagList).rows == []


def test_rules_read_as_sentences_of_which_the_first_that_holds_counts(world: Answers) -> None:
    facts = answered(world, q.OneFlag("env", "native", "checkout"), q.FlagFacts)
    first, second, last = facts.told
    assert first.ways == [["in the segment staff"]]
    assert first.answer is not None
    assert first.answer.value == '"for staff"'
    assert second.ways == [["country is one of DE, AT", "age ≥ 18"]]
    assert second.by == "userId, else anonymousId"
    assert [(share, None if end is None else end.value) for share, end in second.shares] == [
        (0.5, '"half"'),
        (0.5, msgspec.json.encode(NASTY).decode()),
    ]
    assert last.ways == [[]]
    assert facts.audiences == ["segment:staff"]
    assert any("test" in line for line in facts.program)


def test_a_flag_says_where_it_is_used(demo: Answers) -> None:
    facts = answered(demo, q.OneFlag("env_01hx", "native", "checkout-copy"), q.FlagFacts)
    assert facts.experiments == [("checkout-copy", "Does the other text sell more?")]
    assert facts.told[0].by == "userId, else anonymousId"
    assert len(facts.apis) >= 3
    variable = next(row for row in answered(demo, q.FindFlags("show-banner"), q.FlagList).rows)
    siblings = answered(demo, q.OneFlag(variable.environment, variable.source, variable.key), q.FlagFacts)
    assert [one.key for one in siblings.siblings] == ["banner-text"]


def test_what_isnt_there_is_said(demo: Answers) -> None:
    with pytest.raises(StoreError, match="there is no environment nowhere; there are: env_01hx"):
        demo.of(q.OneFlag("nowhere", "native", "x"))
    with pytest.raises(StoreError, match="no flag native:x"):
        demo.of(q.OneFlag("env_01hx", "native", "x"))


def test_an_override_stands_beside_the_flag_and_among_overrides(tmp_path: Path) -> None:
    data = published(tmp_path, WORLD)
    override = Override("checkout", "always", time.time(), None, "", "ann", "why not")
    with Store.open(data, write=True) as store:
        lay_overrides(store, lambda overrides, _: overrides.with_one("env", override))
    answers = Answers(data)
    assert answered(answers, q.FindFlags(), q.FlagList).rows[0].override == "always"
    facts = answered(answers, q.OneFlag("env", "native", "checkout"), q.FlagFacts)
    assert facts.override is not None
    assert (facts.override.answer, facts.override.why) == ("always", "why not")
    found = answered(answers, q.OverridesInForce(), q.OverrideList)
    assert [one.flag for one in found.in_force] == ["checkout"]
    assert [(one.change, one.by) for one in found.log] == [("set", "ann")]


# -- what if


def test_what_if_shows_the_way_and_how_near_the_edge(world: Answers) -> None:
    context = '{"userId": "user_1", "country": "DE", "age": 30, "email": "x@y.example"}'
    found = answered(world, q.WhatIf("env", "native", "checkout", context), q.Explained)
    said = [step.words for step in found.steps]
    assert "country is one of DE, AT" in said
    assert "age ≥ 18" in said
    assert {step.looked_at: step.value for step in found.steps}["country"] == '"DE"'
    (draw,) = [step.draw for step in found.steps if step.draw is not None]
    assert draw.buckets == 10_000
    assert draw.edge == pytest.approx(abs(draw.at - 0.5))
    assert [hit for _, _, _, hit in draw.parts] == [draw.at < 0.5, draw.at >= 0.5]
    assert found.answer is not None
    assert found.answer.value == ('"half"' if draw.at < 0.5 else msgspec.json.encode(NASTY).decode())
    assert {name for name, _ in found.apis} >= {"feather", "ofrep"}


def test_what_if_asks_every_format_as_its_api_would(demo: Answers) -> None:
    context = '{"userId": "user-123", "targetingKey": "user-123", "plan": "pro", "user": {"id": "user-123"}}'
    for row in answered(demo, q.FindFlags(), q.FlagList).rows:
        found = answered(demo, q.WhatIf(row.environment, row.source, row.key, context), q.Explained)
        assert found.apis, row
        assert found.answer is not None


@pytest.mark.parametrize("context", ["", "{", "[]", '{"contexts": 3}', "[" * 5_000, '{"a": NaN}'])
def test_a_context_that_isnt_one_is_refused_in_words(world: Answers, context: str) -> None:
    with pytest.raises(ConfigError, match="CONTEXT_JSON"):
        world.of(q.WhatIf("env", "native", "checkout", context))


# -- what the store holds


def test_keys_are_told_by_what_they_begin_with(demo: Answers, directory: Path) -> None:
    found = answered(demo, q.Keys(), q.KeyList)
    assert found.total == len(found.rows) > 3
    assert all(row.state == "opens" for row in found.rows)
    said = msgspec.json.encode(found)
    for raw in (b"sk_demo_server", b"traffical_sk_demo", b"sdk_live_demo", b"pk_demo_client"):
        assert raw not in said
    assert answered(demo, q.Keys("nowhere"), q.KeyList).rows == []
    begins = found.rows[0].begins
    assert answered(demo, q.Keys(text=begins), q.KeyList).total >= 1


def test_lists_say_who_is_in_them(world: Answers) -> None:
    (row,) = answered(world, q.Lists(), list[q.ListRow])
    assert (row.members, row.held) == (2, None)
    assert answered(world, q.Lists("ann"), list[q.ListRow])[0].held is True
    assert answered(world, q.Lists("eve"), list[q.ListRow])[0].held is False


def test_tokens_are_hashes(world: Answers, tmp_path: Path) -> None:
    with Store.open(tmp_path / "data", write=True) as store:
        add_token(store, token(), 0.0)
    assert [one["id"] for one in msgspec.json.decode(world.of(q.Tokens()))] == ["t1"]


def test_a_token_that_is_over_stays_so_when_the_clock_falls_back(
    world: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path / "data", write=True) as store:
        add_token(store, token(expires_at=time.time() + 60.0), 0.0)
    assert len(msgspec.json.decode(world.of(q.Tokens()))) == 1
    later = look_at(tmp_path / "data")
    later = msgspec.structs.replace(later, offset=later.offset + 120.0)
    monkeypatch.setattr("fanion.app.answering.records.look_at", lambda _: later)
    assert msgspec.json.decode(world.of(q.Tokens())) == []


def test_environments_that_are_searched_together_are_lowered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"e{number}" for number in range(programs.ENVIRONMENTS_MAX)]
    environments = ", ".join(f"{name}: {{id: env_{name}}}" for name in names)
    text = WORLD.replace("production: {id: env}", environments.replace(", ", "\n          "))
    answers = Answers(published(tmp_path, text))
    lowered = []

    def counted(*given: Any, **more: Any) -> Any:
        lowered.append(more["only"])
        return load_stored(*given, **more)

    monkeypatch.setattr(programs, "load_stored", counted)
    for _ in range(3):
        assert answered(answers, q.FindFlags(), q.FlagList).total == len(names)
    assert [sorted(names) for names in lowered] == [
        sorted(f"env_{name}" for name in names)
    ]  # files read once


def test_a_search_reads_nothing_of_what_apis_answer(demo: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 50,000 flags that takes seconds."""

    def tables(*_: Any, **__: Any) -> None:
        raise AssertionError("tables were read")

    monkeypatch.setattr(programs.BundleReader, "tables", tables)
    found = answered(demo, q.FindFlags(), q.FlagList)
    row = found.rows[0]
    assert answered(demo, q.OneFlag(row.environment, row.source, row.key), q.FlagFacts).apis


def test_tables_without_fragments_are_the_same_but_for_them(world: Answers) -> None:
    with world._programs.pinned() as pinned:
        served = world._programs.of(pinned, "env").served
    whole = programs.BundleReader(served.bundle).tables()
    assert served.keys == {name: {entry.key for entry in table.entries} for name, table in whole.items()}
    stripped = {
        name: msgspec.structs.replace(
            table, entries=tuple(msgspec.structs.replace(entry, fragments=()) for entry in table.entries)
        )
        for name, table in whole.items()
    }
    assert served.tables == stripped


def test_experiments_that_are_written_out_stand_first(demo: Answers) -> None:
    rows = answered(demo, q.Experiments(), list[q.ExperimentRow])
    assert rows[0].name == "Does the other text sell more?"
    assert rows[0].state == "runs"
    assert [bool(row.derived_from) for row in rows] == sorted(bool(row.derived_from) for row in rows)


# -- the journal


def test_without_a_journal_it_is_said(world: Answers) -> None:
    assert "no journal" in answered(world, q.JournalState(), q.JournalFacts).missing
    assert "no journal" in answered(world, q.Tail(), q.EventList).missing
    with pytest.raises(JournalError):
        world.of(q.OneEvent(0, 0, 0, 0, 0))


# -- names that may hold anything


def test_whatever_people_named_is_escaped_on_every_page(world: Answers) -> None:
    templates = Templates("/console", read_static("/console"))
    common = {"menu": [], "current": "", "form": "f", "free": True, "version": "1", "title": NASTY}
    event = q.EventRow(0, 1, 2, 3, 4, "2026-01-01T00:00:00.000000Z", *([NASTY] * 9))
    facts = answered(world, q.OneFlag("env", "native", "checkout"), q.FlagFacts)
    flags = answered(world, q.FindFlags(), q.FlagList)
    override = q.OverrideWords(NASTY, NASTY, NASTY, NASTY, 0.0, 1.0, NASTY, NASTY)
    logged = q.LoggedOverride(0.0, *([NASTY] * 6))
    experiment = q.ExperimentRow(NASTY, NASTY, NASTY, NASTY, [NASTY], [NASTY], 1.0, 2.0, NASTY, NASTY)
    filters = dict.fromkeys(("q", "environment", "source"), NASTY)
    flag = msgspec.structs.replace(facts, key=NASTY, group="g", description=NASTY, override=override)
    pages: list[tuple[str, dict[str, Any]]] = [
        ("flags.html", {"found": flags, "filters": filters, "page": 0, "rows_max": 1}),
        ("flag.html", {"flag": flag}),
        ("event.html", {"facts": q.EventFacts(event, NASTY, NASTY, [(NASTY, NASTY)])}),
        ("overrides.html", {"found": q.OverrideList([override], [logged])}),
        ("lists.html", {"rows": [q.ListRow(NASTY, NASTY, 1, True)], "member": NASTY}),
        ("experiments.html", {"rows": [experiment], "missing": NASTY}),
        ("experiment.html", {"row": experiment, "by": NASTY, "missing": ""}),
        ("said.html", {"words": NASTY}),
    ]
    for name, values in pages:
        text = templates.render(name, **common, **values)
        assert "<script>alert" not in text, name
        assert "alert(&#39;x&#39;)" in text or "alert%28" in text, name


def test_links_hold_any_name() -> None:
    assert flag_query(NASTY, "s", "a/b?c=1&d") == (
        "environment=%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%22%26%2F%25&source=s&key=a%2Fb%3Fc%3D1%26d"
    )
    assert usage_query("e", "f g") == "environment=e&flag=f+g"
    assert experiment_query("e", "k") == "environment=e&key=k"
    assert experiment_query("e", "k", "b") == "environment=e&key=k&by=b"
    assert page_query({"q": "a b", "source": ""}, 2) == "q=a+b&page=2"
    event = q.EventRow(1, 2, 3, 4, 5, *([""] * 10))
    assert event_query(event) == "writer=1&epoch=2&sequence=3&index=4&at=5"
