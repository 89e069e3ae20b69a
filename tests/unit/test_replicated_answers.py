"""Answers to events under `ack = "replicated"`: they wait, not for ever, and are overload then, as each API has
it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanion.config import Config, Journal
from fanion.dialects.wire import ingest
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Ingest, Overloaded
from fanion.dialects.wire.reply import Head, Reply
from fanion.errors import JournalError, JournalFullError, JournalOpeningError
from tests.unit import neutral_standins as neutral
from tests.unit import traffical_standins as traffical
from tests.unit.http_standins import Caller, FakeJournal, make_services
from tests.unit.test_http_feather import EVENTS, batch
from tests.unit.test_http_feather import event as feather_event
from tests.unit.test_traffical_events import TRACK

pytestmark = pytest.mark.anyio

WAITING = Config(journal=Journal(ack="replicated"))
REPLY: Reply = (Head(202, []), b"")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "REPLICATED_WAIT_S", 0.01)


class Silent(FakeJournal):
    """The stream's word doesn't come."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[asyncio.Future[None]] = []

    def durable(self, sequence: int) -> asyncio.Future[None]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


class Window:
    """`never`: what a repeat repeats isn't safe for as long as anybody waits."""

    def __init__(self, *, never: bool) -> None:
        self.never = never

    async def settle(self, reservation: Any) -> None:
        if self.never:
            await asyncio.get_running_loop().create_future()


def make(journal: Any, config: Config = WAITING, window: Any = None) -> Ingest:
    services: Any = make_services(config)
    services.journal, services.event_ids = journal, window
    return Ingest(services, "any", Overloaded("full", "failed", "opening"))


async def test_an_answer_waits_and_is_overload_when_its_time_is_over_and_the_record_stays() -> None:
    journal = Silent()
    waiting = make(journal).keep("e", 1, b"{}", REPLY, whole=True)
    with pytest.raises(Fault) as caught:
        await waiting  # type: ignore[misc]
    assert (caught.value.kind, caught.value.retry_after_s) == (FaultKind.OVERLOADED, 1.0)
    assert len(journal.records) == 1
    assert journal.futures[0].cancelled()


async def test_an_answer_goes_out_when_the_word_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "REPLICATED_WAIT_S", 60.0)
    journal = Silent()
    waiting = asyncio.ensure_future(make(journal).keep("e", 1, b"{}", REPLY, whole=True))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not waiting.done()
    journal.futures[0].set_result(None)
    assert await waiting is REPLY


@pytest.mark.parametrize("sequence", [0, 7])
async def test_record_and_what_it_repeats_have_one_time_together(sequence: int) -> None:
    reservation: Any = object()
    asked = make(FakeJournal(), window=Window(never=True))
    with pytest.raises(Fault) as caught:
        await asked.answer(REPLY, sequence, reservation)  # type: ignore[misc]
    assert caught.value.kind is FaultKind.OVERLOADED
    asked = make(FakeJournal(), window=Window(never=False))
    assert await asked.answer(REPLY, sequence, reservation) is REPLY  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (JournalFullError("away"), "full"),
        (JournalOpeningError("not reached"), "opening"),
        (JournalError("x"), "failed"),
    ],
)
async def test_what_is_refused_at_once_is_overload_too(error: JournalError, said: str) -> None:
    journal = FakeJournal()
    journal.full = error
    with pytest.raises(Fault, match=said):
        make(journal).keep("e", 1, b"{}", REPLY, whole=True)


@pytest.mark.parametrize("ack", ["durable", "buffered"])
async def test_the_other_modes_wait_as_they_did(ack: Any) -> None:
    kept = make(FakeJournal(), Config(journal=Journal(ack=ack))).keep("e", 1, b"{}", REPLY, whole=True)
    assert kept is REPLY if ack == "buffered" else await kept is REPLY  # type: ignore[misc]


def test_each_api_says_it_in_its_own_shape() -> None:
    def silent(caller: Caller) -> Caller:
        caller.parts.journal = Silent()
        return caller

    answers = [
        silent(Caller(make_services(WAITING))).call("POST", EVENTS, batch(feather_event())),
        neutral.send(silent(neutral.make_caller(WAITING)), neutral.METRIC),
        traffical.post(silent(traffical.make_caller(WAITING)), "/v1/events/batch", {"events": [TRACK]}),
    ]
    assert [answer.status for answer in answers] == [503] * 3
    assert [answer.headers["retry-after"] for answer in answers] == ["1"] * 3
    feathers, neutrals, trafficals = (answer.json() for answer in answers)
    assert feathers["error"]["code"] == "BUFFER_FULL"
    assert neutrals["error"]["code"] == "overloaded"
    assert set(trafficals) == {"error", "message"}
