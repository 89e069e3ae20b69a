"""A console over stand-ins, asked without a socket, and a reader of its answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fanion.console.access import Access
from fanion.console.exchange import Asked
from fanion.console.site import Console, Entry, Page
from fanion.store.console import ConsoleToken, hash_token

RAW = "fanion_console_" + "a" * 43
FORM_VALUE = re.compile(r'name="form" value="([0-9a-f]{64})"')


class Found(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    text: str

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")

    def cookies(self) -> dict[str, str]:
        """Set by it, as a browser sends them."""
        pairs = [
            value.partition(";")[0].partition("=") for name, value in self.headers if name == "set-cookie"
        ]
        return {name: value for name, _, value in pairs}


def token(raw: str = RAW, id: str = "t1", expires_at: float | None = None) -> ConsoleToken:
    return ConsoleToken(id, hash_token(raw), 0.0, expires_at)


class World:
    """`tokens`: those of the store; they may be changed. `told`: what pages saw of requests."""

    def __init__(self, *, free: bool = True, tokens: Sequence[ConsoleToken] = (), now: float = 100.0) -> None:
        self.tokens = list(tokens)
        self.now = now
        self.told: list[Asked] = []
        self.fault: Exception | None = None

        async def current() -> list[ConsoleToken]:
            return self.tokens

        async def page(asked: Asked, rest: str) -> Page:
            self.told.append(asked)
            if self.fault is not None:
                raise self.fault
            return Page("said.html", {"title": f"<b>{rest}</b>", "words": "the page"})

        self.access = Access(
            free=free,
            known=lambda host: (
                host.partition(":")[0] in ("localhost", "ops.example", "127.0.0.1", "10.0.0.1")
            ),
            tokens=current,
            session_s=3_600.0,
            now=lambda: self.now,
        )
        pages = [Entry("now", "Now", page), Entry("hidden", "", page)]
        self.console = Console(self.access, pages, session_s=3_600.0, version="1")

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        host: str = "localhost:8081",
        cookies: dict[str, str] | None = None,
        form: dict[str, str] | None = None,
        body: bytes = b"",
        **headers: str,
    ) -> Found:
        sent = [("host", host), *((name.replace("_", "-"), value) for name, value in headers.items())]
        if cookies:
            sent.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        if form is not None:
            body = urlencode(form).encode()
            sent.append(("content-type", "application/x-www-form-urlencoded"))
        answer: Any = asyncio.run(self.console.answer(method, path, sent, body))
        status, found, text = answer
        return Found(status, list(found), text.decode(errors="replace"))

    def sign_in(self, raw: str = RAW, **more: Any) -> Found:
        """With the form that the door shows."""
        door = self.ask("/console/now", **more)
        field = FORM_VALUE.search(door.text)
        assert field is not None
        form = {"token": raw, "form": field[1]}
        return self.ask("/console/in", method="POST", form=form, cookies=door.cookies(), **more)
