"""A request for the console and its answer, and the way from one's bytes to plain values. What isn't as a
browser would send it raises `RefusedError`, which is a page with that status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

TARGET_CHARS_MAX: Final = 4_096
FIELDS_MAX: Final = 32
HTML: Final = "text/html; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"
BODY_BYTES_MAX: Final = 4 << 20
"""Of a form with a file's text in it, written as a form writes it: up to three bytes for one."""


DOOR_BYTES_MAX: Final = 4_096
"""Of the form with a token."""


class RefusedError(Exception):
    """`status`, and what is said to people."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Asked(NamedTuple):
    """`path`: decoded, below /console, without the slash at its beginning. `query`, `form`: the last value of each
    name."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]

    def cookie(self, name: str) -> str:
        """ "" where there is none."""
        return cookie_of(self.headers, name)

    @property
    def fragment(self) -> bool:
        """Whether a script of the page asks, and takes a part of it."""
        return self.headers.get("hx-request") == "true"


class Reply(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def read_request(
    method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, prefix: str
) -> Asked:
    """Raises RefusedError."""
    if method not in ("GET", "HEAD", "POST"):
        raise RefusedError(405, "The console is read with GET; its forms are sent with POST.")
    if len(target) > TARGET_CHARS_MAX:
        raise RefusedError(414, f"The address is longer than {TARGET_CHARS_MAX} characters.")
    path, _, query = target.partition("?")
    found = joined(headers)
    form: dict[str, str] = {}
    if method == "POST":
        if found.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise RefusedError(415, "A form is expected.")
        form = fields(body)
    try:
        inside = unquote(path[len(prefix) :], errors="strict").strip("/")
    except UnicodeDecodeError:
        raise RefusedError(400, "The address isn't UTF-8.") from None
    if "\0" in inside:
        raise RefusedError(400, "The address has a character that no address has.")
    return Asked(method, inside, fields(query.encode()), form, found)


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    """ "" where there is none."""
    for pair in headers.get("cookie", "").split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            return value
    return ""


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value a name; of cookies all, of others the first. Two of what decides are refused."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name == "cookie" and name in found:
            found[name] = f"{found[name]}; {value}"
        elif name in ("host", "origin") and name in found:
            raise RefusedError(400, f"There are two {name} headers.")
        else:
            found.setdefault(name, value)
    return found


def fields(text: bytes) -> dict[str, str]:
    """Raises RefusedError."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX
        )
    except (ValueError, UnicodeDecodeError):
        raise RefusedError(400, "What was sent isn't a form's text.") from None
    return dict(pairs)


def number(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number of a query. Raises RefusedError beyond the bounds."""
    text = values.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most):
        raise RefusedError(400, f"{name} is a whole number from {least:,} to {most:,}.")
    return int(text)


def choice(values: Mapping[str, str], name: str, allowed: Iterable[str]) -> str:
    """One of these, "" where nothing is said. Raises RefusedError."""
    text = values.get(name, "")
    if text and text not in allowed:
        raise RefusedError(400, f"{name} is one of: {', '.join(allowed)}.")
    return text


def text(values: Mapping[str, str], name: str, most: int) -> str:
    """At most so many characters, without those that end lines or files. Raises RefusedError."""
    found = values.get(name, "")
    if len(found) > most:
        raise RefusedError(400, f"{name} has at most {most:,} characters.")
    if "\0" in found:
        raise RefusedError(400, f"{name} has a character that no name has.")
    return found
