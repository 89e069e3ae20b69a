"""The sockets of a server, made by the supervisor before it forks.

The API's port is kept by a bound socket that doesn't listen, so a free port that was picked stays picked; each
worker gets a socket of its own beside it (SO_REUSEPORT). Because of that a second server would bind without an
error, so a port in use is looked for first. The operations port has one socket, which listens from here on.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from fanion.errors import ServeError

OPERATIONS_BACKLOG = 64


def pick_port(host: str, port: int) -> tuple[socket.socket, int]:
    """A bound socket that keeps the port, and the port; the socket's own name has the address that `host`, a name
    or an address (IPv6 with or without brackets), stands for. Raises ServeError when it can't be had."""
    try:
        family, address = _resolve(host, port, "--host")
        if port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
        keeper = socket.socket(family, socket.SOCK_STREAM)
        try:
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            keeper.bind(address)
        except OSError:
            keeper.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise _refusal(error, "", host, port, "--host", "--port (FANION_SERVER_PORT)") from None
    return keeper, keeper.getsockname()[1]


def bound_socket(address: str, port: int, write_timeout_s: float) -> socket.socket:
    """A socket that shares the port and doesn't listen yet; its connections inherit the time-out."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(write_timeout_s * 1000))
        made.bind((address, port))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def operations_socket(host: str, port: int) -> socket.socket:
    """The socket that /readyz and /metrics are asked on, listening. Raises ServeError."""
    names = "server.operations_host", "server.operations_port (FANION_SERVER_OPERATIONS_PORT)"
    try:
        family, address = _resolve(host, port, names[0])
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(OPERATIONS_BACKLOG)
        except OSError:
            made.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise _refusal(error, " for operations (/readyz, /metrics)", host, port, *names) from None
    return made


def url_host(host: str) -> str:
    """An address as a URL names it: a browser can't ask one that means every interface."""
    shown = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(host, host)
    return f"[{shown}]" if ":" in shown else shown


def _resolve(host: str, port: int, named: str) -> tuple[socket.AddressFamily, Any]:
    if "/" in host:
        raise ServeError(f"can't listen on {host}: {named} takes a name or an address, not a path")
    bare = host.removeprefix("[").removesuffix("]")
    if host not in (bare, f"[{bare}]"):
        raise ServeError(f"can't listen on {host}: one of its brackets is missing")
    family, _, _, _, address = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
    return family, address


def _refusal(
    error: Exception, what: str, host: str, port: int, host_named: str, port_named: str
) -> ServeError:
    reason = getattr(error, "strerror", None) or str(error)
    used = getattr(error, "errno", None) == errno.EADDRINUSE
    hint = (
        f"another server may be using it; {port_named} chooses another"
        if used
        else f"{host_named} and {port_named} choose others"
    )
    return ServeError(f"can't listen on {host} port {port}{what}: {reason}; {hint}")
