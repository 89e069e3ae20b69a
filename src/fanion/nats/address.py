"""Addresses of NATS: nats://HOST:PORT,HOST:PORT/NAME, or tls:// in its place, which then has to be TLS."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SCHEMES: Final = ("nats", "tls")
PORT: Final = 4222
ALLOWED: Final = (
    "nats://HOST:PORT,HOST:PORT/NAME, or tls://; NAME: letters, digits, '-' and '_'. Users and passwords are "
    "settings"
)

_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_ADDRESS: Final = re.compile(
    rf"(?P<scheme>nats|tls)://(?P<hosts>{_HOST}(?:,{_HOST})*)/(?P<name>[A-Za-z0-9_-]{{1,64}})"
)


class Address(NamedTuple):
    """`servers`: each nats://HOST:PORT or tls://HOST:PORT. `name`: of what lies there."""

    tls: bool
    servers: tuple[str, ...]
    name: str


def parse_address(url: str) -> Address | None:
    """None where it is none."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return None
    scheme, hosts = found["scheme"], found["hosts"].split(",")
    ports = [host.rpartition(":")[2] if _has_port(host) else str(PORT) for host in hosts]
    if any(not 0 < int(port) < 65_536 for port in ports):
        return None
    servers = (f"{scheme}://{host}" if _has_port(host) else f"{scheme}://{host}:{PORT}" for host in hosts)
    return Address(scheme == "tls", tuple(servers), found["name"])


def _has_port(host: str) -> bool:
    return re.search(r":[0-9]{1,5}$", host) is not None and (host[0] != "[" or "]:" in host)
