"""Who may read the console: names, tokens, sessions, forms, and what every answer tells a browser."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from fanion.console import access as module
from fanion.console import site
from fanion.console.exchange import BODY_BYTES_MAX, DOOR_BYTES_MAX, FIELDS_MAX, TARGET_CHARS_MAX
from fanion.errors import StoreError
from fanion.store.console import TOKENS_MAX, ConsoleToken, add_token, read_tokens, revoke_token
from fanion.store.store import Store
from tests.unit.console_standins import FORM_VALUE, RAW, World, token


@pytest.mark.parametrize("host", ["localhost:8081", "127.0.0.1:8081", "ops.example"])
def test_a_loopback_console_is_read_without_a_token_by_its_own_names(host: str) -> None:
    found = World().ask("/console/now", host=host)
    assert (found.status, "the page" in found.text) == (200, True)


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.1", "", "localhost.evil.example"])
def test_by_no_other_name_is_anything_told(host: str) -> None:
    world = World()
    found = world.ask("/console/now", host=host)
    assert found.status == 403
    assert world.told == []
    assert "server.operations_names" in found.text


def test_two_host_headers_are_refused() -> None:
    sent = [("host", "localhost"), ("host", "evil.example")]
    status, _, _ = asyncio.run(World().console.answer("GET", "/console/now", sent, b""))
    assert status == 400


def test_elsewhere_the_door_is_all_that_is_seen() -> None:
    world = World(free=False, tokens=[token()])
    found = world.ask("/console/now", host="10.0.0.1")
    assert found.status == 401
    assert world.told == []
    assert 'href="/console/now"' not in found.text.partition("<main")[2]
    assert "fanion console token" in found.text


def test_a_token_opens_a_session_that_only_the_browser_has() -> None:
    world = World(free=False, tokens=[token("other", "t0"), token()])
    opened = world.sign_in()
    assert (opened.status, opened.header("location")) == (303, "/console/now")
    (cookie,) = [value for name, value in opened.headers if name == "set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=3600"} <= set(cookie.split("; "))
    assert RAW not in cookie
    assert "Secure" not in cookie
    assert world.ask("/console/now", cookies=opened.cookies()).status == 200
    assert world.ask("/console/now", cookies={"fanion_console": "guess"}).status == 401


def test_the_cookie_is_kept_to_tls_where_the_browser_came_by_it() -> None:
    opened = World(free=False, tokens=[token()]).sign_in(x_forwarded_proto="https")
    assert all("Secure" in value for name, value in opened.headers if name == "set-cookie")


@pytest.mark.parametrize("raw", ["", "fanion_console_wrong", RAW + "b", RAW * 100, "é"])
def test_a_wrong_token_opens_nothing(raw: str) -> None:
    world = World(free=False, tokens=[token()])
    found = world.sign_in(raw)
    assert found.status == 401
    assert "fanion_console" not in found.cookies()
    assert "isn&#39;t known" in found.text or "isn't known" in found.text


def test_a_token_whose_time_is_over_opens_nothing_and_ends_its_sessions() -> None:
    world = World(free=False, tokens=[token(expires_at=200.0)])
    opened = world.sign_in()
    assert world.ask("/console/now", cookies=opened.cookies()).status == 200
    world.now = 201.0
    assert world.ask("/console/now", cookies=opened.cookies()).status == 401
    assert world.sign_in().status == 401


def test_a_revoked_token_ends_its_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_KEPT_S", 0.0)
    world = World(free=False, tokens=[token()])
    opened = world.sign_in()
    world.tokens.clear()
    assert world.ask("/console/now", cookies=opened.cookies()).status == 401


def test_a_session_that_is_over_sends_no_more_than_who_was_never_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(free=False, tokens=[token()])
    head = [("cookie", f"fanion_console={world.sign_in().cookies()['fanion_console']}")]
    assert world.console.body_bytes_max(head) == BODY_BYTES_MAX
    began = module.time.monotonic()
    with monkeypatch.context() as later:
        later.setattr(module.time, "monotonic", lambda: began + 3_601.0)
        assert world.console.body_bytes_max(head) == DOOR_BYTES_MAX
    assert world.console.body_bytes_max(head) == DOOR_BYTES_MAX


def test_a_revoked_token_s_session_sends_no_more_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_KEPT_S", 0.0)
    world = World(free=False, tokens=[token()])
    cookies = world.sign_in().cookies()
    world.tokens.clear()
    world.ask("/console/now", cookies=cookies)
    head = [("cookie", f"fanion_console={cookies['fanion_console']}")]
    assert world.console.body_bytes_max(head) == DOOR_BYTES_MAX


def test_however_many_knock_at_once_the_tokens_are_read_once() -> None:
    read = []

    async def tokens() -> list[ConsoleToken]:
        read.append(1)
        await asyncio.sleep(0)
        return [token()]

    access = module.Access(free=False, known=bool, tokens=tokens, session_s=60.0)

    async def knock() -> list[str | None]:
        return await asyncio.gather(*(access.open_session("wrong") for _ in range(40)))

    assert asyncio.run(knock()) == [None] * 40
    assert len(read) == 1


def test_wrong_tokens_do_not_fill_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site, "sparing", site.Sparing())
    world = World(free=False, tokens=[token()])
    for _ in range(3):
        assert world.sign_in("fanion_console_wrong").status == 401
    (record,) = [one for one in caplog.records if one.name == "fanion.console"]
    assert record.__dict__["count"] == 1


def test_leaving_ends_the_session() -> None:
    world = World(free=False, tokens=[token()])
    opened = world.sign_in()
    page = world.ask("/console/now", cookies=opened.cookies())
    cookies = {**opened.cookies(), **page.cookies()}
    field = FORM_VALUE.search(page.text)
    assert field is not None
    left = world.ask("/console/out", method="POST", form={"form": field[1]}, cookies=cookies)
    assert left.status == 303
    assert world.ask("/console/now", cookies=opened.cookies()).status == 401


def test_who_isnt_let_in_sends_a_token_and_no_more() -> None:
    world = World(free=False, tokens=[token()])
    small = world.console.body_bytes_max([("host", "localhost")])
    cookies = world.sign_in().cookies()
    head = [("cookie", f"a=b; fanion_console={cookies['fanion_console']}")]
    large = world.console.body_bytes_max(head)
    assert (small, large) == (DOOR_BYTES_MAX, BODY_BYTES_MAX)
    assert world.console.body_bytes_max([*head, ("sec-fetch-site", "cross-site")]) == small
    assert world.console.body_bytes_max([("cookie", "fanion_console=guess")]) == small
    assert World().console.body_bytes_max([("host", "localhost")]) == large


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 2)
    world = World(free=False, tokens=[token()])
    opened = [world.sign_in().cookies() for _ in range(3)]
    assert [world.ask("/console/now", cookies=one).status for one in opened] == [401, 200, 200]


def test_a_form_without_what_the_page_gave_it_is_refused() -> None:
    world = World(free=False, tokens=[token()])
    door = world.ask("/console/now")
    for form in ({"token": RAW}, {"token": RAW, "form": "0" * 64}, {"token": RAW, "form": ""}):
        assert world.ask("/console/in", method="POST", form=form, cookies=door.cookies()).status == 403
    assert world.ask("/console/in", method="POST", form={"token": RAW, "form": "x"}).status == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        ("GET", {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}),
        ("POST", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
        ("POST", {"origin": "http://evil.example"}),
        ("POST", {"origin": "null"}),
    ],
)
def test_what_another_sites_page_asks_is_refused(method: str, headers: dict[str, str]) -> None:
    world = World()
    form = {} if method == "POST" else None
    assert world.ask("/console/now", method=method, form=form, **headers).status == 403
    assert world.told == []


def test_a_link_on_another_site_may_be_followed() -> None:
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert World().ask("/console/now", **headers).status == 200


def test_every_answer_binds_the_browser() -> None:
    world = World()
    for path in ("/console", "/console/now", "/console/nothing", "/console/static/0/x.js"):
        found = world.ask(path)
        policy = found.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert found.header("x-content-type-options") == "nosniff"
        assert "style=" not in found.text
        assert "<script>" not in found.text
        assert " onclick" not in found.text


def test_names_are_escaped_and_pages_are_not_kept() -> None:
    found = World().ask("/console/now/%3Cscript%3Ealert(1)")
    assert "<script>alert" not in found.text
    assert "&lt;script&gt;alert(1)" in found.text
    assert found.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/nothing", 404),
        ("/console/%ff", 400),
        ("/console/a%00b", 400),
        ("/console/now?x=%ff", 400),
        ("/console/now?" + "&".join(f"a{n}=1" for n in range(FIELDS_MAX + 1)), 400),
        ("/console/now?" + "a" * TARGET_CHARS_MAX, 414),
        ("/console/static/../../secret", 404),
        ("/console/static/0/console.css", 404),
    ],
)
def test_what_no_page_links_to_is_refused_with_a_page(path: str, status: int) -> None:
    found = World().ask(path)
    assert (found.status, "<h1>" in found.text) == (status, True)


def test_other_methods_and_bodies_are_refused() -> None:
    world = World()
    assert world.ask("/console/now", method="DELETE").status == 405
    assert world.ask("/console/now", method="POST", content_type="application/json", body=b"{}").status == 415
    assert world.ask("/console/now", method="POST", form={}, body=b"").status == 403


def test_static_files_are_kept_for_ever_and_packed() -> None:
    world = World()
    page = world.ask("/console/now").text
    links = [part.partition('"')[0] for part in page.split('"/console/static/')[1:]]
    assert len(links) >= 4
    for link in links:
        plain = world.ask(f"/console/static/{link}")
        packed = world.ask(f"/console/static/{link}", accept_encoding="gzip, br")
        assert plain.status == packed.status == 200
        assert "immutable" in plain.header("cache-control")
        assert packed.header("content-encoding") == ("gzip" if len(plain.text) > 600 else "")


def test_a_fault_is_a_page_that_says_nothing_of_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.fault = KeyError("user_123")
    found = world.ask("/console/now?context=user_123")
    assert found.status == 500
    assert "user_123" not in found.text
    assert "user_123" not in caplog.text
    (record,) = [one for one in caplog.records if one.name == "fanion.console"]
    assert record.__dict__["reason"] == "KeyError"


def test_without_jinja2_the_console_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "missing_library", lambda: "jinja2")
    found = World().ask("/console/now")
    assert found.status == 503
    assert "pip install 'fanion[console]'" in found.text


def test_nothing_of_the_console_brings_jinja2_until_a_page_is_made() -> None:
    program = (
        "import sys, fanion.app.console, fanion.app.answering.answers; sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -- tokens in the store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path, create=True, map_bytes=1 << 24)


def tokens(store: Store) -> tuple[ConsoleToken, ...]:
    with store.pin() as pinned:
        return read_tokens(pinned)


def test_tokens_are_kept_beside_generations_and_revoked_by_id(store: Store) -> None:
    generation = store.generation()
    add_token(store, token(), 0.0)
    add_token(store, token("other", "t2"), 0.0)
    assert [one.id for one in tokens(store)] == ["t1", "t2"]
    assert RAW not in str(tokens(store))
    revoke_token(store, "t1")
    assert [one.id for one in tokens(store)] == ["t2"]
    assert store.generation() == generation
    with pytest.raises(StoreError, match="no console token t1"):
        revoke_token(store, "t1")
    with store.pin() as pinned:
        assert b"console" not in pinned.meta_rows()  # which go to other machines
    store.close()


def test_tokens_are_bounded_and_those_that_are_over_make_room(store: Store) -> None:
    for number in range(TOKENS_MAX):
        add_token(store, token(id=f"t{number}", expires_at=10.0 if number == 3 else None), 0.0)
    with pytest.raises(StoreError, match="revoke some"):
        add_token(store, token(id="more"), 5.0)
    add_token(store, token(id="more"), 10.0)
    assert len(tokens(store)) == TOKENS_MAX
    store.close()
