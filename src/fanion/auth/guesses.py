"""Keys that nobody knows: whether the store is asked for one, by where it came from.

A source that has tried too many in a minute (counted over all workers) is answered from what the process knows,
until the rate has room again: its known keys go on working, the store isn't asked for others. A key that is found
costs nothing, so a rate says nothing about how many keys stand behind one address. All IPv6 addresses of a /64 are
one source.

The source is the connection's peer; where the peer is one of `server.trusted_proxies`, the last address of its
`X-Forwarded-For` headers that isn't.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence

from fanion.auth.limiter import scope_hash

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SOURCES_MAX = 65_536
"""Sources held back at a time, by one worker; beyond, all get another try."""
FORWARDED_BYTES_MAX = 4_096


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


class KeyGuesses:
    """`take`: the shared limiter's. `per_minute` 0: every key is looked for."""

    def __init__(
        self, take: Callable[[int, float, int], float], per_minute: int, trusted: Sequence[Network]
    ) -> None:
        self._take = take
        self._per_minute = per_minute
        self._trusted = tuple(trusted)
        self._held: dict[str, float] = {}
        """Source -> when it may try again, on the monotonic clock."""

    def source(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Who is counted for a request."""
        address = _parse(peer)
        if address is not None and self._is_trusted(address):
            address = self._forwarded(headers) or address
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, 64), strict=False))
        return peer if address is None else str(address)

    def may_look(self, source: str) -> bool:
        """Whether the store may be asked for a key of this source."""
        until = self._held.get(source)
        if until is None:
            return True
        if time.monotonic() < until:
            return False
        del self._held[source]
        return True

    def failed(self, source: str) -> None:
        """The store was asked, and knows no such key."""
        if not self._per_minute:
            return
        wait_s = self._take(scope_hash("bad-keys", source), self._per_minute / 60, self._per_minute)
        if wait_s > 0:
            if len(self._held) >= SOURCES_MAX:
                self._held.clear()
            self._held[source] = time.monotonic() + wait_s

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _forwarded(self, headers: Sequence[tuple[bytes, bytes]]) -> Address | None:
        """From the right, as each proxy appends the address that it saw; what no proxy of ours wrote is a claim."""
        listed = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        for part in reversed(listed[-FORWARDED_BYTES_MAX:].split(b",")):
            address = _parse(part.strip().decode("latin-1"))
            if address is None:
                return None
            if not self._is_trusted(address):
                return address
        return None


def _parse(text: str) -> Address | None:
    """With or without a port, as some proxies write it; a mapped IPv4 address is one."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
