"""The published provider of browsers in a headless Chromium, on a page of another origin than the server's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import Page, PageError
from tests.e2e.ofrep_streams import CLIENT as STREAM_CLIENT
from tests.e2e.ofrep_streams import SERVER as STREAM_SERVER
from tests.e2e.ofrep_streams import revoke_server_key, write_world
from tests.e2e.server import Running, publish, start, wait_until
from tests.unit.ofrep_world import CLIENT, FOLDER, SERVER

Serve = Callable[..., Running]
PERSON = {"targetingKey": "user-1"}
QUICK_MS = 20


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, node_modules: str, browser_program: str) -> Iterator[Page]:
    """One for all tests: each opens a provider of its own in it."""
    module = Path(__file__).with_name("ofrep_page.mjs").read_text()
    opened = Page(browser_program, tmp_path_factory.mktemp("browser"), node_modules, module)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("ofrep") / "data"
    publish(data, FOLDER / "world.yaml")
    running = start(data.with_name("log"), "--workers", "2", "--ack", "buffered", data=data)
    yield running
    assert running.stop() == 0


def base_url(running: Running) -> str:
    return f"http://127.0.0.1:{running.port}"


def open_provider(page: Page, running: Running, key: str = SERVER, **options: Any) -> None:
    """A new provider in the page; what the one before it did is forgotten. `options`: its own, and `context`."""
    defaults = {"headers": [["Authorization", f"Bearer {key}"]], "context": PERSON}
    page.call("requests")
    page.call("open", {"baseUrl": base_url(running), **defaults, **options})
    page.call("told")


def ask(page: Page, *questions: tuple[str, str, Any]) -> list[tuple[Any, str, str | None]]:
    """Value, reason and error code of each (type, key, default)."""
    answers = page.call("ask", questions)
    return [(one["value"], one["reason"], one.get("errorCode")) for one in answers]


def statuses(page: Page) -> list[int]:
    """Of the provider's requests since it was asked before."""
    return [request["status"] for request in page.call("requests")]


# -- what works


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"headers": [["X-API-Key", SERVER], ["X-Trace", "any other header"]]},
        {"mount": "/ofrep"},
    ],
)
def test_a_page_of_another_origin_reads_flags_by_either_header_and_below_the_mount(
    page: Page, server: Running, options: dict[str, Any]
) -> None:
    """The browser asks first whether it may (OPTIONS): no answer of these can be read otherwise."""
    mount = options.pop("mount", "")
    open_provider(page, server, baseUrl=base_url(server) + mount, **options)
    (answer,) = page.call("ask", [("Boolean", "plain", False)])
    assert (answer["value"], answer["reason"], answer["variant"]) == (True, "STATIC", "on")
    assert answer["flagMetadata"] == {"source": "native"}
    (request,) = page.call("requests")
    assert (request["status"], request["ifNoneMatch"]) == (200, None)
    assert request["etag"], "a page of another origin may read it"


def test_five_types_arrive_as_they_are_and_are_kept_apart(page: Page, server: Running) -> None:
    open_provider(page, server)
    assert ask(
        page,
        ("Boolean", "plain", False),
        ("String", "country", ""),
        ("Number", "count", 0),
        ("Number", "price", 0),
        ("Object", "settings", {}),
        ("Object", "colours", []),
        ("Number", "country", 7),
        ("Boolean", "count", False),
        ("String", "plain", "mine"),
        ("Object", "count", {}),
    ) == [
        (True, "STATIC", None),
        ("rest", "DEFAULT", None),
        (1, "STATIC", None),
        (1, "DEFAULT", None),
        ({"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}, "STATIC", None),
        (["red", "green"], "STATIC", None),
        (7, "ERROR", "TYPE_MISMATCH"),
        (False, "ERROR", "TYPE_MISMATCH"),
        ("mine", "ERROR", "TYPE_MISMATCH"),
        ({}, "ERROR", "TYPE_MISMATCH"),
    ]


def test_errors_arrive_with_their_own_code_and_a_flag_without_a_value_is_the_caller_s_default(
    page: Page, server: Running
) -> None:
    """Where there is no value this provider takes the caller's, without an error: the others say GENERAL."""
    open_provider(page, server, context={"plan": "pro"})
    assert ask(
        page,
        ("String", "half", "mine"),
        ("String", "shared", "mine"),
        ("String", "feather:shared", "mine"),
        ("String", "f-broken", "mine"),
        ("String", "nothing", "mine"),
        ("String", "off", "mine"),
        ("Boolean", "r-gone", True),
    ) == [
        ("mine", "ERROR", "TARGETING_KEY_MISSING"),
        ("mine", "ERROR", "GENERAL"),
        ("feather", "STATIC", None),
        ("mine", "ERROR", "GENERAL"),
        ("mine", "ERROR", "FLAG_NOT_FOUND"),
        ("sleeping", "DISABLED", None),
        (True, "DISABLED", None),
    ]


def test_a_client_key_is_told_of_what_is_client_safe_and_of_nothing_else(page: Page, server: Running) -> None:
    hidden, plain = ("Boolean", "hidden", False), ("Boolean", "plain", False)
    open_provider(page, server, CLIENT)
    assert ask(page, hidden, plain) == [(False, "ERROR", "FLAG_NOT_FOUND"), (True, "STATIC", None)]
    open_provider(page, server, SERVER)
    assert ask(page, hidden, plain) == [(True, "STATIC", None), (True, "STATIC", None)]


# -- traps


def test_a_key_with_a_question_mark_is_read_where_all_flags_are_fetched(page: Page, server: Running) -> None:
    """It stands in no URL then, so no provider can get it wrong."""
    open_provider(page, server)
    assert ask(page, ("String", "t.what?", "")) == [("fixed too", "STATIC", None)]


def test_a_context_that_changes_is_answered_anew_though_the_provider_sends_the_old_tag(
    page: Page, server: Running
) -> None:
    """It drops the tag only when the targeting key changes."""
    country = ("String", "country", "")
    open_provider(page, server)
    (first,) = page.call("requests")
    page.call("context", {**PERSON, "country": "DE"})
    (changed,) = page.call("requests")
    assert (changed["ifNoneMatch"], changed["status"]) == (first["etag"], 200)
    assert ask(page, country) == [("home", "TARGETING_MATCH", None)]
    page.call("context", {**PERSON, "country": "DE", "more": 1})
    assert statuses(page) == [200]
    page.call("context", {"more": 1, "country": "DE", **PERSON})
    assert statuses(page) == [304], "the order of the members is no change"
    page.call("context", {"targetingKey": "user-2"})
    (other,) = page.call("requests")
    assert (other["ifNoneMatch"], other["status"]) == (None, 200)
    assert ask(page, country) == [("rest", "DEFAULT", None)]


@pytest.mark.parametrize(("key", "status"), [("nobody's", 401), ("ofrep_events_key", 403)])
def test_a_key_that_may_not_ask_ends_the_provider(page: Page, server: Running, key: str, status: int) -> None:
    with pytest.raises(PageError, match="Initialization failed"):
        open_provider(page, server, key)
    assert statuses(page) == [status]
    assert ask(page, ("Boolean", "plain", False)) == [(False, "ERROR", "PROVIDER_FATAL")]


def test_a_context_that_is_refused_is_an_error_of_the_whole(page: Page, server: Running) -> None:
    with pytest.raises(PageError, match="400"):
        open_provider(page, server, context={"targetingKey": 1})
    assert statuses(page) == [400]


@pytest.mark.heavy
def test_a_rate_pauses_the_provider_until_its_time(page: Page, tmp_path: Path, serve: Serve) -> None:
    """It reads `Retry-After`, which CORS has to allow, and asks nothing before."""
    world = tmp_path / "world.json"
    environment = {"id": "env", "keys": [{"key": "ofrep_rated"}]}
    project = {"environments": {"p": environment}, "flags": {"a": {"type": "boolean", "default_value": True}}}
    organisation = {"limits": {"rate_per_s": 0.01, "burst": 1}, "projects": {"p": project}}
    world.write_text(json.dumps({"fanion": 1, "organisations": {"org": organisation}}))
    publish(tmp_path / "data", world)
    running = serve("--workers", "1", data=tmp_path / "data")
    open_provider(page, running, "ofrep_rated")
    assert statuses(page) == [200]
    page.call("context", {**PERSON, "plan": "pro"})
    (refused,) = page.call("requests")
    assert refused["status"] == 429
    assert int(refused["retryAfter"]) >= 1
    page.call("context", {**PERSON, "plan": "free"})
    assert statuses(page) == []
    assert ask(page, ("Boolean", "a", False)) == [(True, "STATIC", None)]


# -- changes


def poll_until(page: Page, condition: Callable[[list[int]], bool]) -> list[int]:
    """Statuses of the provider's requests until they are as they should be."""
    seen: list[int] = []

    def enough() -> bool:
        seen.extend(statuses(page))
        return condition(seen)

    wait_until(enough)
    return seen


@pytest.mark.heavy
def test_polling_sees_304_until_a_publish(page: Page, tmp_path: Path, serve: Serve) -> None:
    publish(tmp_path / "data", write_world(tmp_path))
    running = serve("--workers", "2", data=tmp_path / "data")
    polling = {"pollInterval": QUICK_MS, "changeDetection": "polling"}
    open_provider(page, running, STREAM_CLIENT, **polling)
    assert statuses(page)[:1] == [200]
    assert set(poll_until(page, lambda seen: len(seen) > 10)) == {304}
    publish(tmp_path / "data", write_world(tmp_path, other="second"))  # of another environment
    assert set(poll_until(page, lambda seen: len(seen) > 10)) == {304}
    publish(tmp_path / "data", write_world(tmp_path, "second"))
    assert 200 in poll_until(page, lambda seen: 200 in seen)
    wait_until(lambda: ask(page, ("String", "told", "")) == [("second", "TARGETING_MATCH", None)])
    assert page.call("told") == [["PROVIDER_CONFIGURATION_CHANGED", ["told"]]]


@pytest.mark.heavy
def test_polling_goes_on_after_a_key_was_revoked_and_keeps_what_it_had(
    page: Page, tmp_path: Path, serve: Serve
) -> None:
    """It ends for good only where it is refused at its start: each refusal has to be cheap."""
    publish(tmp_path / "data", write_world(tmp_path))
    running = serve("--workers", "1", data=tmp_path / "data")
    polling = {"pollInterval": QUICK_MS, "changeDetection": "polling"}
    open_provider(page, running, STREAM_SERVER, **polling)
    revoke_server_key(tmp_path / "data")
    assert poll_until(page, lambda seen: seen.count(401) > 5)
    assert ["PROVIDER_STALE", []] in page.call("told")
    assert ask(page, ("String", "told", "")) == [("first", "TARGETING_MATCH", None)]


def test_a_publish_is_seen_through_the_stream_without_polling(
    page: Page, tmp_path: Path, serve: Serve
) -> None:
    publish(tmp_path / "data", write_world(tmp_path))
    running = serve("--workers", "2", data=tmp_path / "data")
    open_provider(page, running, STREAM_CLIENT)
    wait_until(lambda: b"\nfanion_http_streams 1" in running.operations("/metrics").body)
    for value in ("second", "third"):
        publish(tmp_path / "data", write_world(tmp_path, value))
        wait_until(lambda value=value: ask(page, ("String", "told", ""))[0][0] == value)
    _, *told = [request for request in page.call("requests") if request["status"] == 200]
    assert len(told) == 2, "one fetch a publish"
    assert all("flagConfigEtag=" in request["query"] for request in told), "the hint that the message brought"


def test_a_page_that_comes_back_reads_its_cache_and_is_told_that_it_still_counts(
    page: Page, server: Running
) -> None:
    """The provider's own default: flags of the browser's storage first, then the tag that it kept with them."""
    for _ in range(2):
        open_provider(page, server, CLIENT, cacheMode="local-cache-first")
        seen = poll_until(page, bool)
    assert seen == [304]
    assert ask(page, ("Boolean", "plain", False)) == [(True, "CACHED", None)]
