"""One connection to NATS, for one thread.

`run` gives the loop to a call until it is answered, the connection is lost or the time is over; each of the last
two is a NatsError, whose words hold no credential. A connection that was lost stays so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Coroutine, Iterable
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeVar

from fanion.errors import NatsError
from fanion.nats.address import Address

CONNECT_TIMEOUT_S: Final = 2.0
"""Of one server, so that another is asked in time."""
PING_EVERY_S: Final = 3.0
PINGS_MAX: Final = 2
"""That go unanswered: a peer that swallows all is given up after `PING_EVERY_S` for each and one more."""
VERSION_MIN: Final = (2, 12)
"""Earlier servers can't sync each write before they acknowledge it."""
CLOSED_AT_ONCE: Final = "the server closed the connection at once; it may want another certificate"
REASON_CHARACTERS_MAX: Final = 300

NEEDS: Final = (("nats", "nats-py"),)

T = TypeVar("T")


class Access(NamedTuple):
    """How one is let in. `password` without a `user` is a token; files are PEM."""

    user: str = ""
    password: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    certificate_key_file: str = ""


class Connection:
    """Raises NatsError where no server of the address can be reached, or none lets us in."""

    def __init__(self, address: Address, access: Access, timeout_s: float, name: str = "fanion") -> None:
        self.timeout_s = timeout_s
        self._errors: Any = import_module("nats.errors")
        self._reason = ""
        self._loop = asyncio.new_event_loop()
        self._lost = asyncio.Event()
        self._client: Any = None
        try:
            self._client = self._wait(self._connect(address, access, name), timeout_s)
            if (version := self._version()) < VERSION_MIN:
                wanted = ".".join(map(str, VERSION_MIN))
                raise NatsError(
                    f"nats-server there is {'.'.join(map(str, version))}; {wanted} or later is needed"
                )
        except BaseException:
            self.close()
            raise
        self.streams: Any = self._client.jetstream(timeout=timeout_s)

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    @property
    def in_cluster(self) -> bool:
        """Whether the server is one of several."""
        return bool(self._client._server_info.get("cluster"))

    @property
    def payload_bytes_max(self) -> int:
        return int(self._client.max_payload)

    def run(self, call: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """The call's answer. Raises NatsError, and what the library raises for an answer that says no
        (`nats.js.errors.APIError`)."""
        return self._wait(call, self.timeout_s if timeout_s is None else timeout_s)

    def together(self, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """The answers of calls that are made at once."""

        async def all_of_them() -> list[T]:
            return await asyncio.gather(*calls)

        return self.run(all_of_them())

    def begin(self, call: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Starts a call, and lets go what it sends at once; its answer comes within whatever is waited for next.
        Raises NatsError where the connection was lost."""
        if self.is_lost:
            call.close()
            raise NatsError(f"the connection was lost{self._because()}")
        begun = self._loop.create_task(call)
        begun.add_done_callback(_heard)
        self._loop.run_until_complete(asyncio.sleep(0))
        return begun

    def until(self, begun: asyncio.Future[T], timeout_s: float) -> T:
        """The answer of what was begun, as `run` gives it; the time counts from now on."""
        if begun.done() and not begun.cancelled() and begun.exception() is None:
            return begun.result()
        return self._wait(begun, timeout_s)

    def check(self) -> None:
        """Raises NatsError where the server doesn't answer, or the connection was lost meanwhile."""
        self.run(self._client.flush(timeout=self.timeout_s))

    def ask(self, subject: str, content: bytes) -> bytes:
        """The answer to one message."""
        return bytes(self.run(self._client.request(subject, content, timeout=self.timeout_s)).data)

    def subscribe(self, subject: str, heard: Callable[[], None]) -> None:
        """`heard` is called within `run` and `listen`, for each message."""

        async def one(_: Any) -> None:
            heard()

        self.run(self._client.subscribe(subject, cb=one))

    def listen(self, timeout_s: float, until: asyncio.Event) -> bool:
        """Whether it was set before the time was over; at once where the connection is lost."""

        async def waiting() -> bool:
            waits = [asyncio.ensure_future(each.wait()) for each in (until, self._lost)]
            try:
                await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end(waits)
            return until.is_set()

        return self._loop.run_until_complete(waiting())

    def close(self) -> None:
        if self._loop.is_closed():
            return
        try:
            if self._client is not None:
                self._loop.run_until_complete(_closed(self._client))
            self._loop.run_until_complete(_end(asyncio.all_tasks(self._loop)))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _wait(self, call: Coroutine[Any, Any, T] | asyncio.Future[T], timeout_s: float) -> T:
        async def bounded() -> T:
            answered, lost = asyncio.ensure_future(call), asyncio.ensure_future(self._lost.wait())
            try:
                done, _ = await asyncio.wait(
                    {answered, lost}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
                )
                if answered in done:
                    return answered.result()
                if lost in done:
                    raise NatsError(f"the connection was lost{self._because()}")
                raise NatsError(f"no answer within {timeout_s:g} s{self._because()}")
            finally:
                await _end([answered, lost])

        try:
            return self._loop.run_until_complete(bounded())
        except (TimeoutError, self._errors.TimeoutError):
            raise NatsError(f"no answer within {timeout_s:g} s{self._because()}") from None
        except (self._errors.ConnectionClosedError, OSError) as error:
            raise NatsError(f"the connection was lost: {short(error)}") from None
        except asyncio.CancelledError:  # by the library, which ends what waits
            raise NatsError(f"the connection was lost{self._because()}") from None

    async def _connect(self, address: Address, access: Access, name: str) -> Any:
        """To one of the servers, in random order."""
        options: dict[str, Any] = {
            "name": name,
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.02,
            "connect_timeout": min(CONNECT_TIMEOUT_S, self.timeout_s),
            "ping_interval": PING_EVERY_S,
            "max_outstanding_pings": PINGS_MAX,
            "error_cb": self._note,
        }
        if address.tls or access.ca_file or access.certificate_file:
            options["tls"] = _tls_context(access)
        if access.user:
            options |= {"user": access.user, "password": access.password}
        elif access.password:
            options["token"] = access.password
        base: Any = import_module("nats.aio.client").Client

        class Client(base):  # type: ignore[misc]
            """That sends no credential where TLS was asked for and the server offers none."""

            def _connect_command(self) -> Any:
                if address.tls and not self._server_info.get("tls_required"):
                    raise NatsError("the server doesn't offer TLS, and the address asks for it")
                return super()._connect_command()

        reasons: dict[str, None] = {}
        for server in random.sample(address.servers, len(address.servers)):
            client, kept = Client(), asyncio.Event()

            async def closed(kept: asyncio.Event = kept) -> None:
                if kept.is_set():  # not one that was only tried
                    self._lost.set()

            try:
                await client.connect(server, closed_cb=closed, **options)
                kept.set()
                if not client.is_connected:
                    kept.clear()
                    raise NatsError(CLOSED_AT_ONCE)
                self._reason = ""
                return client
            except asyncio.CancelledError:
                await _closed(client)
                raise
            except (BrokenPipeError, ConnectionResetError):
                await _closed(client)
                reasons[CLOSED_AT_ONCE] = None
            except Exception as error:
                await _closed(client)
                no_server = isinstance(error, self._errors.NoServersError)
                reasons[self._reason if no_server and self._reason else short(error)] = None
        raise NatsError("; ".join(reasons)[:REASON_CHARACTERS_MAX])

    def _version(self) -> tuple[int, ...]:
        found = self._client.connected_server_version
        return found.major, found.minor

    def _because(self) -> str:
        return f": {self._reason}" if self._reason else ""

    async def _note(self, error: Exception) -> None:
        self._reason = short(error)


def short(error: BaseException) -> str:
    """A library's error in one short line; Python's own says nothing of a time that was over."""
    said = " ".join(str(error).split()).removeprefix("nats: ")[:REASON_CHARACTERS_MAX]
    return said or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _tls_context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.certificate_file:
            context.load_cert_chain(access.certificate_file, access.certificate_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise NatsError(f"the files for TLS can't be used: {short(error)}") from None
    return context


def _heard(begun: asyncio.Future[Any]) -> None:
    """What went wrong with a call that was given up is nobody's."""
    if not begun.cancelled():
        begun.exception()


async def _closed(client: Any) -> None:
    with contextlib.suppress(Exception):  # what can't be closed any more is closed
        await client.close()


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Of tasks that are of no use any more, but for the one that this is."""
    others = [task for task in tasks if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
