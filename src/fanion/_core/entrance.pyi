"""A request's usual way through a worker; see `ext/fanion/_core/entrance.pyx`."""

from collections.abc import Awaitable, Callable, Mapping
from types import CodeType
from typing import Any, final

from fanion._core.lane import Lane

@final
class Door:
    def __init__(
        self,
        dialect: object,
        endpoint: object,
        *,
        dialect_name: str,
        name: str,
        scope: str | None,
        handler: Callable[..., object],
        limited: Callable[..., float] | None,
        own: bytes | None,
        bearer: bool,
        folded: bool,
        scanned: bool,
        query: bool,
        bytes_max: int,
    ) -> None: ...

@final
class Steps:
    def __init__(
        self,
        *,
        current: Callable[[], object],
        answered: Callable[[str, str, int], None],
        current_task: Callable[..., object],
        loop: object,
        watch: object,
        waiting: dict[Any, float],
        turns: tuple[type[BaseException], ...],
        again: Callable[..., object],
        explain: Callable[..., object],
        renew: Callable[..., object],
        check_rate: Callable[[float], None],
        check_body: Callable[..., bytes],
        rest: Callable[..., Awaitable[bytes]],
        large: Callable[..., Awaitable[object]],
        start_of: Callable[..., object],
        text_of: Callable[..., object],
        free_bytes: int,
        piece_bytes: int,
        taskless: CodeType | None = None,
        lane: Lane | None = None,
    ) -> None: ...

@final
class Visit: ...

@final
class Entrance:
    def __init__(
        self,
        steps: Steps,
        exact: Mapping[Any, object],
        below: Mapping[bytes, object],
        targets: Mapping[int, Mapping[str, Door]],
        otherwise: Callable[..., Awaitable[None]],
    ) -> None: ...
    def by_asgi(self, scope: Any, receive: Any, send: Any, /) -> Awaitable[None]: ...
    def by_rsgi(self, scope: Any, proto: Any, /) -> Awaitable[None]: ...
