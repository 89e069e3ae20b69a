"""The console of a real server, as a browser without JavaScript reads it."""

from __future__ import annotations

import contextlib
import html
import http.client
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.server import Answer, Running, run, start, wait_until
from tests.e2e.test_e2e_feather import event

Serve = Callable[..., Running]
FORM_VALUE = re.compile(rb'name="form" value="([0-9a-f]{64})"')


class Browser:
    """Keeps cookies, follows nothing."""

    def __init__(self, running: Running, host: str = "localhost") -> None:
        self.running = running
        self.host = host
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, b"", headers)

    def post(self, path: str, **form: str) -> Answer:
        """With what the page at that path gave its form."""
        field = FORM_VALUE.search(self.get(path).body)
        assert field is not None
        return self.send(path, {**form, "form": field[1].decode()})

    def send(self, path: str, form: dict[str, str]) -> Answer:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(form).encode(), headers)

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        address = "127.0.0.1", self.running.operations_port
        sent = {"host": f"{self.host}:{self.running.operations_port}", **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            for name, value in response.getheaders():
                if name == "set-cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.partition(";")[0]
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())


def test_now_shows_what_was_asked(server: Running) -> None:
    browser = Browser(server)
    assert browser.get("/console").headers["location"] == "/console/now"
    server.value("plain", userId="u")

    def shown() -> bool:
        page = browser.get("/console/now")
        assert page.status == 200
        return b'<th scope="row">feather</th>' in page.body

    wait_until(shown)
    live = browser.get("/console/now/live", **{"hx-request": "true"})
    assert b"<html" not in live.body
    assert b"Workers" in live.body


def test_every_page_of_the_menu_is_there_and_no_bad_query_is_a_fault(server: Running) -> None:
    browser = Browser(server)
    menu = re.findall(
        r'<a href="(/console/[a-z-]+)"(?: aria-current="page")?>[A-Z]',
        browser.get("/console/now").body.decode(),
    )
    assert len(menu) >= 10
    for path in menu:
        page = browser.get(path)
        assert (page.status, b"<h1>" in page.body) == (200, True), path
        assert b'aria-current="page"' in page.body
    for path in (
        "flags?page=x",
        "flags?page=-1",
        "flags?page=99999999999999999999",
        "flags?q=" + "a" * 600,
        "flags?q=%00",
        "events?kind=nothing",
        "events?dialect=nothing",
        "events/one?writer=x",
        "preview?units=5",
        "usage?days=0",
    ):
        assert browser.get(f"/console/{path}").status == 400, path
    for path in (
        "flags/one?environment=no&source=native&key=x",
        "events/one?writer=0&epoch=0&sequence=99999999&index=0&at=0",
        "experiments/one?environment=no&key=x",
        "experiments/result?environment=no&key=x",
        "flags/two",
        "keys/x",
        "what-if/x",
    ):
        assert browser.get(f"/console/{path}").status == 404, path


def test_what_if_and_preview_are_forms_that_change_nothing(server: Running) -> None:
    browser = Browser(server)
    flag = {"environment": "env_e2e", "source": "native", "key": "falls-through"}
    asked = browser.post("/console/what-if", **flag, context='{"userId": "told-to-nobody", "country": "DE"}')
    assert asked.status == 200
    assert b"The way to it" in asked.body
    assert b"told-to-nobody" in asked.body
    wrong = browser.post("/console/what-if", **flag, context="{")
    assert (wrong.status, b"isn't JSON" in wrong.body or b"is not JSON" in wrong.body) == (400, True)
    page = browser.get("/console/preview?environment=env_e2e").body.decode()
    name = re.findall(r'name="name" value="([^"]+)"', page)[0]
    content = html.unescape(re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[0])
    same = browser.post("/console/preview", environment="env_e2e", name=name, content=content, units="10000")
    assert (same.status, b"decide as they do now" in same.body) == (200, True)
    form = {"environment": "env_e2e", "name": name, "content": content, "who": "pasted", "by": "country"}
    for line, status, said in (
        ('{"userId": "told-to-nobody"}', 200, b"decide as they do now"),
        ("[1]", 400, b"line 1: list"),
    ):
        pasted = browser.post("/console/preview", **form, contexts=line)
        assert (pasted.status, said in pasted.body) == (status, True)
    broken = browser.post(
        "/console/preview", environment="env_e2e", name=name, content="fanion: [", units="10000"
    )
    assert broken.status == 400
    assert server.operations("/readyz").json()["workers"][0]["generation"] == 1
    assert "told-to-nobody" not in server.log.read_text()


def test_an_event_is_seen_with_its_record_and_its_unit_stays_out_of_logs(data: Path, serve: Serve) -> None:
    running = serve("--workers", "1", "--ack", "durable", data=data)
    sent = event(flagKey="plain", sdkVersion="<b>of</b>-nobody")
    taken = running.ask("POST", "/v1/telemetry/events", {"events": [sent]})
    assert taken.status in (200, 202), taken
    browser = Browser(running)
    links: list[str] = []

    def seen() -> bool:
        page = browser.get("/console/events").body.decode()
        links[:] = re.findall(r'href="(/console/events/one[^"]+)"', page)
        return bool(links)

    wait_until(seen)
    one = browser.get(html.unescape(links[0]))
    assert one.status == 200
    assert b"As it was sent" in one.body
    assert b"<b>of</b>" not in one.body
    filtered = browser.post("/console/events", kind="metric", unit="nobody-at-all")
    assert b"No event fits these filters" in filtered.body
    journal = browser.get("/console/journal").body
    assert b"Nobody reads on" in journal
    assert b"All well" in browser.post("/console/journal").body
    assert "nobody" not in running.log.read_text()


def test_probes_are_answered_beside_it_and_other_names_see_nothing(server: Running) -> None:
    assert Browser(server, "evil.example").get("/console/now").status == 403
    assert server.operations("/readyz").status == 200
    assert server.operations("/console-not").status == 404
    assert server.operations("/").status == 404


def test_every_file_that_a_page_names_is_this_servers(server: Running) -> None:
    browser = Browser(server)
    page = browser.get("/console/now").body.decode()
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert all(name.startswith("/console/") for name in named)
    files = [name for name in named if "/static/" in name]
    assert len(files) >= 5
    for name in files:
        answer = browser.get(name, **{"accept-encoding": "gzip"})
        assert answer.status == 200
        for link in (b"http://", b"https://"):
            rest = answer.body if answer.headers.get("content-encoding") is None else b""
            assert link not in rest.replace(b"http://www.w3.org/", b"")


@pytest.mark.heavy
def test_elsewhere_than_on_loopback_a_token_of_the_store_opens_it(data: Path, serve: Serve) -> None:
    running = serve("--workers", "1", data=data, environment={"FANION_SERVER_OPERATIONS_HOST": "0.0.0.0"})
    browser = Browser(running)
    assert browser.get("/console/now").status == 401
    assert running.operations("/readyz").status == 200
    made = run(["console", "token", "--data", str(data), "--expires", "1d", "--name", "tests"])
    raw = made.stdout.strip()
    assert raw.startswith("fanion_console_")
    assert raw not in made.stderr
    assert browser.send("/console/in", {"token": raw}).status == 403, "a form needs what its page gave it"
    browser.get("/console/now")
    door = FORM_VALUE.search(browser.get("/console/now").body)
    assert door is not None
    wrong = {"token": raw[:-1], "form": door[1].decode()}
    assert browser.send("/console/in", wrong).status == 401
    wait_until(lambda: browser.send("/console/in", {**wrong, "token": raw}).status == 303)
    assert browser.get("/console/now").status == 200
    listed = run(["console", "tokens", "--data", str(data)]).stdout
    assert "tests" in listed
    assert raw not in listed
    (token_id,) = re.findall(r"[0-9a-f]{8}", listed.partition("tests")[0])[-1:]
    assert run(["console", "revoke", token_id, "--data", str(data)]).returncode == 0
    wait_until(lambda: browser.get("/console/now").status == 401)
    assert raw not in running.log.read_text()


@pytest.mark.parametrize(("setting", "status"), [("token", 401), ("off", 404)])
def test_a_setting_asks_for_a_token_on_loopback_too_or_switches_it_off(
    data: Path, tmp_path: Path, setting: str, status: int
) -> None:
    running = start(
        tmp_path / "log", "--workers", "1", data=data, environment={"FANION_SERVER_CONSOLE": setting}
    )
    try:
        assert Browser(running).get("/console/now").status == status
        running.process.send_signal(signal.SIGTERM)
        said = list(running.later)  # `output` ends with the line of the operations
        assert any(line.startswith("console on") for line in said) is (setting == "token")
    finally:
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /console/in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n", b"413"),
        (b"POST /console/in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", b"411"),
        (b"POST /console/in HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n", b"411"),
        (b"GET /console/\xff HTTP/1.1\r\nHost: localhost\r\n", b""),
        (b"GET /console/now HTTP/1.1\r\n", b"403"),
    ],
)
def test_what_is_no_browsers_request_is_refused(server: Running, head: bytes, status: bytes) -> None:
    address = "127.0.0.1", server.operations_port
    with socket.create_connection(address, timeout=100) as connection:
        connection.sendall(head + b"\r\n")
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 " + status) if status else received == b""
