"""Workers whose HTTP server has two threads with a runtime each, as it has where no core is to spare: what tests of
ends, heads, slow peers and streams ask of one thread holds over both, by ASGI. CI asks the same by RSGI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanion.process.machine import cores_to_run_on
from tests.e2e import test_e2e_hardening as hardening
from tests.e2e import test_e2e_idle as idle
from tests.e2e import test_e2e_ofrep_streams as streams
from tests.e2e import test_e2e_process as process
from tests.e2e.server import Running

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FANION_SERVER_RUNTIME_THREADS", "2")
        yield


def threads_of(pid: int) -> list[str]:
    return [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]


def has_one_runtime_for_all(running: Running) -> bool:
    """The threads of such a one have a name."""
    return any("tokio-rt-worker" in threads_of(pid) for pid in running.workers())


def test_the_default_follows_workers_and_cores(
    data: Path, serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FANION_SERVER_RUNTIME_THREADS")
    monkeypatch.setenv("FANION_SERVER_INTERFACE", "asgi")
    cores = cores_to_run_on()
    one_a_core = serve("--workers", str(cores), data=data)
    assert len(one_a_core.workers()) == cores
    assert not has_one_runtime_for_all(one_a_core)
    assert one_a_core.stop() == 0
    assert has_one_runtime_for_all(serve("--workers", "1", data=data)) == (cores > 1)


server, direct = idle.server, idle.direct
follow = streams.follow

test_pipelined_requests_are_answered_in_order = hardening.test_pipelined_requests_are_answered_in_order
test_a_storm_of_connections_is_served = (
    hardening.test_a_storm_of_connections_is_served_and_leaves_the_server_as_it_was
)
test_a_head_that_does_not_come_ends_its_connection = idle.test_a_head_that_does_not_come_ends_its_connection
test_a_slow_body_is_read_to_its_end = idle.test_a_slow_body_is_read_to_its_end_however_slow_heads_are_ended
test_slow_heads_are_ended_and_idle_connections_kept = (
    idle.test_a_thousand_trickled_heads_are_ended_and_a_thousand_idle_ones_kept
)
test_sigterm_answers_what_is_in_flight = process.test_sigterm_answers_what_is_in_flight_and_exits_0
test_sigterm_does_not_wait_for_a_body = process.test_sigterm_does_not_wait_for_a_body_that_never_comes
test_a_peer_that_takes_nothing_is_reset = (
    process.test_a_connection_whose_peer_takes_nothing_of_its_answer_is_reset
)
test_a_publish_is_told_once = streams.test_a_publish_is_told_once_by_every_worker_and_to_its_environment_only
test_a_stop_ends_every_stream = streams.test_a_stop_ends_every_stream_as_http_has_it
test_room_again_once_a_stream_is_left = (
    streams.test_no_more_streams_than_the_setting_and_room_again_once_one_is_left
)
test_a_stream_that_is_not_read_is_dropped = streams.test_a_client_that_reads_nothing_is_dropped
