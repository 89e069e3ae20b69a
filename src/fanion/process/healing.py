"""A worker whose store has a fault: the copy is put in the damaged file's place, so that the worker can make room.

A fault is a bundle that was refused, or a store that could not be read for `LASTING_S`. The store is then read
through in a child, which puts the copy in place where the store is damaged and the copy whole. What was served is
served on; workers leave as for any store that was replaced. Where the copy does not help, the worker stays, not
ready. A store that someone is just replacing is left alone.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from typing import Any

from fanion.store.reload import Reloader

log = logging.getLogger("fanion.worker")

LASTING_S = 5.0
AGAIN_S = 60.0
"""Between two attempts while a fault lasts."""
ATTEMPT_MAX_S = 600.0


class Healer:
    """Looked at once a second, on the event loop; never waits for the child.

    `begin`: starts the child (`store.recovery.begin_healing`).
    """

    def __init__(
        self,
        reloader: Reloader[Any],
        begin: Callable[[], subprocess.Popen[bytes]],
    ) -> None:
        self._reloader = reloader
        self._begin = begin
        self._child: subprocess.Popen[bytes] | None = None
        self._due = 0.0
        self._problem_since: float | None = None
        self._bundle_refused = False

    def refused(self) -> None:
        """A bundle was refused; an older one may be served in its place."""
        self._bundle_refused = True

    def look(self) -> None:
        now = time.monotonic()
        if self._child is not None:
            self._follow(self._child, now)
        elif now >= self._due and self._is_faulty(now):
            self._due = now + AGAIN_S
            self._bundle_refused = False
            try:
                self._child = self._begin()
            except OSError as error:
                log.error("the store can't be read through", extra={"reason": str(error)})

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _is_faulty(self, now: float) -> bool:
        if self._reloader.replaced:
            return False
        if not self._reloader.problem:
            self._problem_since = None
        elif self._problem_since is None:
            self._problem_since = now
        lasting = self._problem_since is not None and now - self._problem_since >= LASTING_S
        return self._bundle_refused or bool(self._reloader.refused) or lasting

    def _follow(self, child: subprocess.Popen[bytes], now: float) -> None:
        if child.poll() is None:
            if now - self._due + AGAIN_S > ATTEMPT_MAX_S:
                child.kill()
            return
        said = child.communicate()[0].decode(errors="replace").strip()
        self._child = None
        if child.returncode:
            log.error("the store has a fault and can't be healed", extra={"reason": said})
        elif said:
            log.error("the store was damaged, its copy is in its place", extra={"reason": said})
        else:
            log.error("the store has a fault although its file is whole; publish again")
