"""Who may read the console: by which name it was asked, with which token, and whether a page of its own asks.

On a loopback address nobody needs a token, unless `server.console` says so; elsewhere everybody does. Without a
token only loopback names and those of `server.operations_names` are answered: a page of somebody else's, whose
name was made to resolve here, asks under its own name.

A token is exchanged for a session, whose id only the browser has: a cookie that no script reads and no other
site's page sends along. Sessions are in memory, `SESSIONS_MAX` of them, and end with their token, at a restart
of the operations process, or by time. Tokens have 256 random bits: guessing is not what they are to be guarded
against, and comparing takes as long whatever they are.

A form carries what this process made of the browser's own form cookie; another site has neither."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from fanion.console.exchange import Asked, RefusedError, cookie_of
from fanion.store.console import ConsoleToken, hash_token

SESSION_COOKIE: Final = "fanion_console"
FORM_COOKIE: Final = "fanion_console_form"
FORM_FIELD: Final = "form"
SESSIONS_MAX: Final = 256
TOKENS_KEPT_S: Final = 5.0
"""How long a token that was revoked may still do."""
TOKEN_CHARS_MAX: Final = 200


class Session(NamedTuple):
    token: str
    """The id of the one that it was opened with."""
    ends_at: float
    """By the monotonic clock."""


class Access:
    """`tokens`: those that are kept now, whoever they are for. `known`: whether a host's name is this server's."""

    def __init__(
        self,
        *,
        free: bool,
        known: Callable[[str], bool],
        tokens: Callable[[], Awaitable[Sequence[ConsoleToken]]],
        session_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.free = free
        self._known = known
        self._tokens = tokens
        self._session_s = session_s
        self._now = now
        self._sessions: dict[str, Session] = {}
        self._key = secrets.token_bytes(32)
        self._kept: tuple[float, Sequence[ConsoleToken]] = (-TOKENS_KEPT_S, ())
        self._reading = asyncio.Lock()

    def check_caller(self, asked: Asked) -> None:
        """Raises RefusedError for a name that isn't this server's, and for what another site's page asks."""
        host = asked.headers.get("host", "")
        if not (self._known(host) and (not self.free or not is_address(host) or is_loopback(host))):
            raise RefusedError(
                403,
                "This name isn't known here. Ask by localhost, or name this host in server.operations_names.",
            )
        site = asked.headers.get("sec-fetch-site", "none")
        followed = asked.method == "GET" and asked.headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not followed:
            raise RefusedError(403, "Another site's page asked for this.")
        if asked.method == "POST":
            origin = asked.headers.get("origin")
            if origin is not None and origin.partition("://")[2] != host:
                raise RefusedError(403, "Another site's form was sent here.")
            if not self._is_form(asked.cookie(FORM_COOKIE), asked.form.get(FORM_FIELD, "")):
                raise RefusedError(403, "This form is too old. Open its page again.")

    def may_send_much(self, headers: Mapping[str, str]) -> bool:
        """Told by a request's head: whoever is let in, from a page of this server."""
        own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        return own and (self.free or self._session(cookie_of(headers, SESSION_COOKIE)) is not None)

    async def is_let_in(self, asked: Asked) -> bool:
        """Whether pages may be shown."""
        if self.free:
            return True
        session = self._session(asked.cookie(SESSION_COOKIE))
        if session is None:
            return False
        now = self._now()
        good = any(one.id == session.token and not one.over(now) for one in await self._current())
        if not good:
            self.close_session(asked)
        return good

    async def open_session(self, raw: str) -> str | None:
        """The session's id for a good token, else None."""
        digest, now = hash_token(raw[:TOKEN_CHARS_MAX]), self._now()
        good = [one for one in await self._current() if hmac.compare_digest(one.hash, digest)]
        if not good or good[0].over(now):
            return None
        while len(self._sessions) >= SESSIONS_MAX:
            self._sessions.pop(next(iter(self._sessions)))
        made = secrets.token_urlsafe(32)
        self._sessions[made] = Session(good[0].id, time.monotonic() + self._session_s)
        return made

    def close_session(self, asked: Asked) -> None:
        self._sessions.pop(asked.cookie(SESSION_COOKIE), None)

    def form(self, asked: Asked) -> tuple[str, str | None]:
        """What a form carries, and the cookie that it needs where the browser has none."""
        cookie = asked.cookie(FORM_COOKIE)
        if len(cookie) == 32:
            return self._sign(cookie), None
        made = secrets.token_hex(16)
        return self._sign(made), made

    def _session(self, made: str) -> Session | None:
        """One whose time isn't over; it goes when it is."""
        session = self._sessions.get(made)
        if session is not None and session.ends_at <= time.monotonic():
            del self._sessions[made]
            return None
        return session

    async def _current(self) -> Sequence[ConsoleToken]:
        """Read once for all who ask meanwhile: whoever knocks needs no more of the reader than one does."""
        async with self._reading:
            read_at, found = self._kept
            if time.monotonic() - read_at >= TOKENS_KEPT_S:
                found = await self._tokens()
                self._kept = time.monotonic(), found
            return found

    def _sign(self, cookie: str) -> str:
        return hmac.digest(self._key, cookie.encode(), "sha256").hex()

    def _is_form(self, cookie: str, field: str) -> bool:
        return len(cookie) == 32 and hmac.compare_digest(self._sign(cookie).encode(), field.encode())


def bare(host: str) -> str:
    """Without the port."""
    inside, bracket, _ = host.strip().removeprefix("[").partition("]")
    return inside if bracket else host.strip().partition(":")[0]


def is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ip_address(bare(host)))
    return False


def is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(bare(host)).is_loopback
    return False


def cookie(name: str, value: str, asked: Asked, *, max_age_s: int | None = None) -> tuple[str, str]:
    """A header that sets it. `Secure` where the browser came by TLS, as far as a proxy says so."""
    parts = [f"{name}={value}", "Path=/console", "HttpOnly", "SameSite=Strict"]
    if max_age_s is not None:
        parts.append(f"Max-Age={max_age_s}")
    if asked.headers.get("x-forwarded-proto") == "https":
        parts.append("Secure")
    return "set-cookie", "; ".join(parts)
