"""Raw path -> route. The path is never decoded or normalised before it is routed.

Exact paths first, by dict; then prefixes, longest first. After a prefix one more `/` is tolerated. Every
dialect's routes stand at the root and again under the dialect's own prefix. A path of nobody that begins with two
slashes, or with a dialect's prefix and two, is looked up with one: a base URL that ends in a slash makes such.

Two dialects may claim one exact path (`/v1/events`): the request's credential header decides, in the order in
which the dialects are listed; without any of them the first listed answers, and a preflight goes to the first
of them that has CORS. Under the dialects' prefixes nothing is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.stream import StreamEndpoint

REMEMBERED_MAX: Final = 1_024
REMEMBERED_BYTES_MAX: Final = 256
"""Of one path. A flood of made-up ones takes half a megabyte and a tenth of what finding one takes."""


class Target(NamedTuple):
    """A route, ready to be asked for a method."""

    dialect: Dialect
    methods: Mapping[str, Endpoint]
    allow: bytes


class Shared(NamedTuple):
    """One exact path that several dialects claim."""

    candidates: tuple[Target, ...]

    def choose(self, method: str, headers: Headers) -> Target:
        if method == "OPTIONS":
            return next((target for target in self.candidates if target.dialect.cors), self.candidates[0])
        for target in self.candidates:
            if target.dialect.credential_header in headers:
                return target
        return self.candidates[0]


class Prefix(NamedTuple):
    """All paths below `path`; `rest` as in `Route`."""

    path: bytes
    rest: bytes | None
    target: Target


class Outlet(NamedTuple):
    """A path whose answers stay open."""

    dialect: Dialect
    endpoint: StreamEndpoint

    @property
    def allow(self) -> bytes:
        return _allow(self.dialect, ["GET"])


class Router:
    """`exact` and `below` are public for the hot path: one dict look-up finds most routes, another what was found
    below a prefix before, which is one of `below_targets`. `streams`: paths that stay open; to `find` they are
    paths of nobody."""

    def __init__(self, routes: Sequence[tuple[Dialect, Sequence[Route]]]) -> None:
        self.exact: dict[bytes, Target | Shared] = {}
        self.below: dict[bytes, tuple[Target, bytes]] = {}
        self.streams: dict[bytes, Outlet] = {}
        self._prefixes: list[Prefix] = []
        self._fallback = routes[0][0]
        self._dialects = [dialect for dialect, _ in routes]
        self._starts = frozenset({b"", *(dialect.prefix for dialect in self._dialects)})
        for dialect, own in routes:
            for route in own:
                if route.stream is not None:
                    outlet = Outlet(dialect, route.stream)
                    self.streams |= dict.fromkeys((route.path, dialect.prefix + route.path), outlet)
                    continue
                target = Target(dialect, route.methods, _allow(dialect, route.methods))
                self._add(route, route.path, target)
                self._add(route, dialect.prefix + route.path, target)
        # Longest prefix first; below one prefix, named rests before the whole tail.
        self._prefixes.sort(
            key=lambda prefix: (-len(prefix.path), prefix.rest is None, -len(prefix.rest or b""))
        )
        self.below_targets = [prefix.target for prefix in self._prefixes]
        self._below: dict[bytes, list[Prefix]] = {}
        for prefix in self._prefixes:
            self._below.setdefault(_head(prefix.path), []).append(prefix)

    def _add(self, route: Route, path: bytes, target: Target) -> None:
        if route.prefix:
            if not _head(path):
                raise ValueError(f"the prefix {path!r} must have two segments")
            if any(known.path == path and known.rest == route.rest for known in self._prefixes):
                raise ValueError(f"two dialects claim the prefix {path!r}")
            self._prefixes.append(Prefix(path, route.rest, target))
            return
        known = self.exact.get(path)
        if known is None:
            self.exact[path] = target
        elif isinstance(known, Shared):
            self.exact[path] = Shared((*known.candidates, target))
        else:
            self.exact[path] = Shared((known, target))

    def find(self, path: bytes, method: str, headers: Headers) -> tuple[Target | None, bytes]:
        """The target and the tail below its prefix (still encoded); None for a path of no dialect."""
        known = self.exact.get(path)
        if known is not None:
            return (known.choose(method, headers) if isinstance(known, Shared) else known), b""
        for prefix in self._below.get(_head(path), ()):
            if not path.startswith(prefix.path):
                continue
            tail = path[len(prefix.path) :]
            if tail.startswith(b"/"):
                tail = tail[1:]
            if prefix.rest is None:
                if tail:
                    return self._remember(path, prefix.target, tail)
            else:
                segment, slash, rest = tail.partition(b"/")
                if segment and slash + rest == prefix.rest:
                    return self._remember(path, prefix.target, segment)
        start, doubled, rest = path.partition(b"//")
        if doubled and not rest.startswith(b"/") and start in self._starts:
            return self.find(start + b"/" + rest, method, headers)
        return None, b""

    def _remember(self, path: bytes, target: Target, tail: bytes) -> tuple[Target, bytes]:
        """What is below a prefix doesn't depend on anything but its path. Keys that are asked for are few."""
        found = target, tail
        if len(path) <= REMEMBERED_BYTES_MAX:
            if len(self.below) >= REMEMBERED_MAX:
                self.below.clear()
            self.below[path] = found
        return found

    def answering(self, path: bytes, headers: Headers) -> Dialect:
        """Whose shape a path of nobody is answered in: its prefix decides, then what the request looks
        like."""
        for dialect in self._dialects:
            if path.startswith(dialect.prefix + b"/"):
                return dialect
        for dialect in self._dialects:
            if dialect.recognises(headers):
                return dialect
        return self._fallback


def _head(path: bytes) -> bytes:
    """A path's first two segments, `/v1/variables/`: few prefixes share them, so few are looked at. Every prefix
    has them; a path without them is below none."""
    return path[: path.find(b"/", path.find(b"/", 1) + 1) + 1]


def _allow(dialect: Dialect, named: Iterable[str]) -> bytes:
    methods = [*named, *(["OPTIONS"] if dialect.cors else [])]
    return ", ".join(methods).encode()
