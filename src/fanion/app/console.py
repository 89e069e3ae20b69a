"""The console of a server, put together in its operations process: pages, who may read, readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fanion import __version__
from fanion.config import Config
from fanion.console.access import Access, is_loopback
from fanion.console.events import EventPages
from fanion.console.experiments import ExperimentPages
from fanion.console.held import HeldPages
from fanion.console.history import History
from fanion.console.now import Now
from fanion.console.pages import FlagPages
from fanion.console.previews import PreviewPages
from fanion.console.questions import Tokens
from fanion.console.reader import Reader
from fanion.console.site import Console, Entry
from fanion.dialects import NAMES
from fanion.pipeline import missing_library
from fanion.store.console import ConsoleToken

if TYPE_CHECKING:
    from fanion.process.operations import Operations
    from fanion.telemetry.exposition import Exposition

QUESTION_S = 25.0
PREVIEW_S = 30.0
PREVIEWS_WAITING_MAX = 3
"""For a page; previews and results have their own times."""

_following: set[asyncio.Task[None]] = set()


def open_console(
    data: Path,
    config: Config,
    address: str,
    known: Callable[[str], bool],
    operations: Operations,
    exposition: Exposition,
) -> Console | None:
    """None where it is switched off. `address`: on which the operations process listens; `known`: whether a host's
    name is this server's. On an event loop."""
    if config.server.console == "off":
        return None
    reader = Reader("fanion.app.answering", str(data), timeout_s=QUESTION_S)

    async def tokens() -> list[ConsoleToken]:
        return msgspec.json.decode(await reader.ask(Tokens()), type=list[ConsoleToken])

    session_s = config.server.console_session_h * 3600
    access = Access(
        free=config.server.console == "auto" and is_loopback(address),
        known=known,
        tokens=tokens,
        session_s=session_s,
    )
    now = Now(History(exposition), operations.readiness, data, config)
    task = asyncio.get_running_loop().create_task(now.follow())
    _following.add(task)
    task.add_done_callback(_following.discard)
    pages = _pages(data, config, reader, now)
    return Console(access, pages, session_s=session_s, version=__version__)


def _pages(data: Path, config: Config, reader: Reader, now: Now) -> list[Entry]:
    """In the order of the menu."""
    from fanion.process.results import Results

    computer = Reader(
        "fanion.app.answering", str(data), timeout_s=PREVIEW_S, waiting_max=PREVIEWS_WAITING_MAX, kept=False
    )
    missing = missing_library()
    lacks = f"results need {missing}: pip install 'fanion[results]'" if missing else ""
    flags, held = FlagPages(reader), HeldPages(reader)
    experiments = ExperimentPages(reader, Results(data, config), lacks)
    return [
        Entry("now", "Now", now.page),
        Entry("flags", "Flags", flags.flags),
        Entry("what-if", "What if", flags.what_if),
        Entry("preview", "Preview", PreviewPages(reader, computer).preview),
        Entry("experiments", "Experiments", experiments.experiments),
        Entry("usage", "", experiments.usage),
        Entry("events", "Events", EventPages(reader, NAMES).events),
        Entry("keys", "Keys", held.keys),
        Entry("lists", "Lists", held.lists),
        Entry("overrides", "Overrides", held.overrides),
        Entry("journal", "Journal", held.journal),
    ]
