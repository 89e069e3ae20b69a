"""From a request to an answer: who asks, which page, and the headers that browsers are bound by."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fanion.console import missing_library
from fanion.console.access import (
    FORM_COOKIE,
    SESSION_COOKIE,
    TOKEN_CHARS_MAX,
    Access,
    cookie,
)
from fanion.console.exchange import (
    BODY_BYTES_MAX,
    DOOR_BYTES_MAX,
    HTML,
    Asked,
    RefusedError,
    Reply,
    read_request,
)
from fanion.console.reader import ReaderError
from fanion.console.rendering import Static, Templates, read_static
from fanion.telemetry.logs import Sparing

log = logging.getLogger("fanion.console")
sparing = Sparing()

PREFIX: Final = "/console"
TIMEOUT_S: Final = 75.0
"""From a request's head to the last byte of its answer; readers have less."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
GUARDS: Final = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
PLAIN: Final = "text/plain; charset=utf-8"
PACKED_FROM: Final = 600
"""Bytes from which a page is compressed."""


class Page(NamedTuple):
    """`template` with `values`."""

    template: str
    values: Mapping[str, Any]
    status: int = 200


Handler = Callable[[Asked, str], Awaitable[Page]]
"""`rest`: of the path, behind the page's own name."""


class Entry(NamedTuple):
    """A page: its name in the path, and in words; those without words aren't in the menu."""

    name: str
    words: str
    answer: Handler


class Console:
    """`pages`: in the order of the menu. Event loop only."""

    prefix = PREFIX
    timeout_s = TIMEOUT_S

    def __init__(self, access: Access, pages: Sequence[Entry], *, session_s: float, version: str) -> None:
        self._access = access
        self._pages = {page.name: page for page in pages}
        self._menu = [(page.name, page.words) for page in pages if page.words]
        self._session_s = session_s
        self._version = version
        self._static: dict[str, Static] = {}
        self._templates: Templates | None = None

    def body_bytes_max(self, headers: Sequence[tuple[str, str]]) -> int:
        """Who hasn't come in yet sends a token and no more."""
        return BODY_BYTES_MAX if self._access.may_send_much(dict(headers)) else DOOR_BYTES_MAX

    async def answer(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Reply:
        """Raises nothing."""
        if missing := missing_library():
            words = f"The console needs {missing}, which isn't installed: pip install 'fanion[console]'\n"
            return self._reply(503, PLAIN, words.encode(), {})
        asked: Asked | None = None
        try:
            asked = read_request(method, target, headers, body, PREFIX)
            return await self._answer(asked)
        except RefusedError as refused:
            return self._said(asked, refused.status, refused.words)
        except ReaderError as error:
            status = 503 if error.busy else 404 if error.unfit else 500
            return self._said(asked, status, str(error))
        except Exception as error:
            log.error("a page of the console can't be made", extra={"reason": type(error).__name__})
            return self._said(asked, 500, "A fault of Fanion itself; please report it.")

    async def _answer(self, asked: Asked) -> Reply:
        name, _, rest = asked.path.partition("/")
        if name == "static":
            return self._file(asked, rest)
        self._access.check_caller(asked)
        if name == "in" and asked.method == "POST":
            return await self._let_in(asked)
        if not await self._access.is_let_in(asked):
            return self._page(asked, Page("in.html", {"title": "Who is there?", "wrong": False}, 401))
        if name == "out" and asked.method == "POST":
            self._access.close_session(asked)
            gone = cookie(SESSION_COOKIE, "", asked, max_age_s=0)
            return self._elsewhere(f"{PREFIX}/now", gone)
        if not name:
            return self._elsewhere(f"{PREFIX}/{self._menu[0][0]}")
        entry = self._pages.get(name)
        if entry is None:
            raise RefusedError(404, "There is no such page.")
        return self._page(asked, await entry.answer(asked, rest), entry.name)

    async def _let_in(self, asked: Asked) -> Reply:
        made = await self._access.open_session(asked.form.get("token", "").strip()[:TOKEN_CHARS_MAX])
        if made is None:
            if count := sparing.due("wrong token"):
                log.warning("a wrong token was given to the console", extra={"count": count})
            return self._page(asked, Page("in.html", {"title": "Who is there?", "wrong": True}, 401))
        header = cookie(SESSION_COOKIE, made, asked, max_age_s=round(self._session_s))
        return self._elsewhere(f"{PREFIX}/now", header)

    def _file(self, asked: Asked, rest: str) -> Reply:
        _, _, name = rest.partition("/")
        file = self._files().get(name)
        if file is None or asked.method == "POST" or f"{PREFIX}/static/{rest}" != file.address:
            raise RefusedError(404, "There is no such file.")
        kept = ("cache-control", "public, max-age=31536000, immutable")
        return self._reply(200, file.type, file.body, asked.headers, kept, packed=file.packed)

    def _page(self, asked: Asked, page: Page, current: str = "") -> Reply:
        form, made = self._access.form(asked)
        text = self._rendered().render(
            page.template,
            **{
                "menu": self._menu,
                "current": current,
                "form": form,
                "free": self._access.free,
                "version": self._version,
                **page.values,
            },
        )
        more = [("cache-control", "no-store"), ("vary", "cookie, hx-request")]
        if made is not None:
            more.append(cookie(FORM_COOKIE, made, asked))
        return self._reply(page.status, HTML, text.encode(), asked.headers, *more)

    def _said(self, asked: Asked | None, status: int, words: str) -> Reply:
        """A page that says what is wrong; it has nothing on it that needs to be let in for."""
        asked = asked or Asked("GET", "", {}, {}, {})
        return self._page(asked, Page("said.html", {"title": "That didn't work", "words": words}, status))

    def _elsewhere(self, address: str, *more: tuple[str, str]) -> Reply:
        return Reply(303, (("location", address), ("cache-control", "no-store"), *more, *GUARDS), b"")

    def _reply(
        self,
        status: int,
        kind: str,
        body: bytes,
        headers: Mapping[str, str],
        *more: tuple[str, str],
        packed: bytes | None = None,
    ) -> Reply:
        found = [("content-type", kind), *more, *GUARDS]
        if len(body) >= PACKED_FROM and "gzip" in headers.get("accept-encoding", ""):
            body = packed or gzip.compress(body, 5, mtime=0)
            found.append(("content-encoding", "gzip"))
        return Reply(status, tuple(found), body)

    def _files(self) -> dict[str, Static]:
        if not self._static:
            self._static = read_static(PREFIX)
        return self._static

    def _rendered(self) -> Templates:
        if self._templates is None:
            self._templates = Templates(PREFIX, self._files())
        return self._templates
