"""The ground a server stands on: its directory, its port, its share of the machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fanion import app
from fanion.config import KIB, MIB, Config
from fanion.config.loading import load_config
from fanion.dialects import vocabulary
from fanion.errors import ServeError
from fanion.process import directory, machine
from fanion.process.directory import DirectoryLock, check_directory, filesystem_of
from fanion.process.sockets import operations_socket, pick_port
from fanion.process.supervisor import Wake


def test_a_locked_directory_is_refused_until_it_is_let_go(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with pytest.raises(ServeError, match=f"supervisor pid {os.getpid()}"):
        DirectoryLock(tmp_path)
    lock.close()
    DirectoryLock(tmp_path).close()


def test_a_lock_lives_as_long_as_any_process_that_inherited_it(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # holds it until the test lets it go
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    lock.close()
    with pytest.raises(ServeError, match="another server"):
        DirectoryLock(tmp_path)
    for end in (reader, writer):
        os.close(end)
    os.waitpid(child, 0)
    DirectoryLock(tmp_path).close()


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    DirectoryLock(tmp_path).close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("given", ["data", "./data", "{top}/data", "data/../data"])
def test_a_directory_put_in_place_of_a_locked_one_lets_no_second_server_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lock = DirectoryLock(Path("data"))
    data.rename(tmp_path / "old")
    data.mkdir()
    for place, said in (
        (given, "a server that was started for this place is running"),
        ("old", "another server uses"),
    ):
        with pytest.raises(ServeError, match=said):
            DirectoryLock(Path(place.replace("{top}", str(tmp_path))))
    lock.close()
    DirectoryLock(data).close()


def test_workers_hold_the_directory_that_was_put_in_place_together(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lock = DirectoryLock(data)
    assert not lock.follow()
    data.rename(tmp_path / "old")
    with pytest.raises(ServeError, match="can't be opened"):
        lock.follow()
    data.mkdir()
    assert lock.follow()
    assert not lock.follow()  # held already
    with pytest.raises(ServeError, match="another server uses"):
        DirectoryLock(data)
    lock.close()
    DirectoryLock(data).close()


def test_worker_does_not_follow_into_a_directory_that_another_server_has(tmp_path: Path) -> None:
    for name in ("data", "other"):
        (tmp_path / name).mkdir()
    lock, other = DirectoryLock(tmp_path / "data"), DirectoryLock(tmp_path / "other")
    (tmp_path / "data").rename(tmp_path / "old")
    (tmp_path / "other").rename(tmp_path / "data")
    with pytest.raises(ServeError, match="another server uses it now"):
        lock.follow()
    lock.close()
    other.close()


@pytest.mark.parametrize(
    ("filesystem", "memory_allowed", "text"),
    [
        ("ext4", False, ""),
        ("tmpfs", True, ""),
        ("tmpfs", False, "forgets at a reboot"),
        ("nfs4", True, "a local file system is needed"),
        ("fuse.sshfs", True, "a local file system is needed"),
        ("", False, ""),
    ],
)
def test_a_file_system_is_judged_by_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filesystem: str, memory_allowed: bool, text: str
) -> None:
    monkeypatch.setattr(directory, "filesystem_of", lambda _: filesystem)
    if text:
        with pytest.raises(ServeError, match=text):
            check_directory(tmp_path, memory_allowed=memory_allowed)
    else:
        check_directory(tmp_path, memory_allowed=memory_allowed)


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServeError, match="not a directory"):
        check_directory(tmp_path / "file", memory_allowed=True)
    with pytest.raises(ServeError, match="there is no such data directory"):
        check_directory(tmp_path / "nothing", memory_allowed=True)


def test_the_file_system_of_a_directory_is_found_in_the_mounts(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 999:1 / / rw shared:1 - xfs /dev/a rw\n"
        f"2 1 {os.major(device)}:{os.minor(device)} / {tmp_path} rw shared:2 master:1 - btrfs /dev/b rw\n"
    )
    assert filesystem_of(tmp_path, mounts) == "btrfs"
    assert filesystem_of(tmp_path, tmp_path / "nothing") == ""


def test_a_free_port_is_picked_and_shared_with_workers() -> None:
    keeper, port = pick_port("127.0.0.1", 0)
    with keeper, socket.create_server(("127.0.0.1", port), reuse_port=True) as worker:
        assert worker.getsockname()[1] == port


def test_a_port_in_use_is_refused_even_if_it_is_shared() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"port {port}: .*; --port \(FANION_SERVER_PORT\) chooses another"
        ):
            pick_port("127.0.0.1", port)


def test_an_operations_port_in_use_is_named_with_its_setting() -> None:
    with operations_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        text = (
            rf"port {port} for operations .*another server may be using it; server\.operations_port "
            r"\(FANION_SERVER_OPERATIONS_PORT\) chooses another"
        )
        with pytest.raises(ServeError, match=text):
            operations_socket("127.0.0.1", port)
    for host in ("192.0.2.1", "no such host", "/run/socket"):
        with pytest.raises(ServeError, match=r"server\.operations_host"):
            operations_socket(host, 0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ServeError, match=r"192\.0\.2\.1"):
        pick_port("192.0.2.1", 0)


def test_a_host_may_be_a_name_or_an_address_in_brackets() -> None:
    for host, address in (("localhost", {"127.0.0.1", "::1"}), ("[127.0.0.1]", {"127.0.0.1"})):
        keeper, _ = pick_port(host, 0)
        with keeper:
            assert keeper.getsockname()[0] in address


@pytest.mark.parametrize(
    "host",
    [
        "/run/fanion.sock",
        "unix:/run/fanion.sock",
        "no such host",
        "a" * 300,
        "x..y",
        "[::1",
        "::1]",
        "[127.0.0.1",
    ],
)
def test_what_is_no_host_is_refused_in_one_line(host: str) -> None:
    with pytest.raises(ServeError, match="can't listen on") as refused:
        pick_port(host, 0)
    assert "\n" not in str(refused.value)


def test_waking_the_supervisor_takes_no_lock_and_never_blocks() -> None:
    wake = Wake()
    assert not wake.wait(0)
    for _ in range(100_000):  # more than a pipe holds
        wake.set()
    assert wake.wait(0)
    wake.clear()
    while wake.wait(0):
        wake.clear()
    assert not wake.wait(0.001)


HANGS = """
import signal, threading
from types import SimpleNamespace
from fanion.process import supervisor
supervisor.STOP_WATCHDOG_S = 1
settings = SimpleNamespace(stop_timeout_s=0.1)
held = SimpleNamespace(interrupt_signal=False, main_loop_interrupt=threading.Event(), _settings=settings)
signal.signal(signal.SIGTERM, lambda *given: supervisor.Supervisor.signal_handler_interrupt(held, *given))
print("up", flush=True)
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""


def test_a_stop_that_hangs_is_ended_by_the_watchdog() -> None:
    """Whatever it waits for: here for a lock that nobody gives back."""
    with subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"up\n"
        for _ in range(3):
            hanging.send_signal(signal.SIGTERM)
        assert hanging.wait(60) == -signal.SIGALRM


def test_cores_are_bounded_by_the_cgroup_s_quota(tmp_path: Path) -> None:
    assert 1 <= machine.usable_cores() <= machine.cores_to_run_on() <= (os.cpu_count() or 1)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine.quota_v2(tmp_path / "cpu.max") == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.quota_v2(tmp_path / "cpu.max") is None


def test_not_every_open_file_may_be_a_connection() -> None:
    assert machine.connections_within(None, 16_000) == 16_000
    assert machine.connections_within(1_048_576, 16_000) == 16_000
    assert machine.connections_within(1_024, 16_000) == 1_024 - machine.FILES_OF_ITS_OWN
    assert machine.connections_within(200, 16_000) == 100
    assert machine.connections_within(1_024, 50) == 50


def test_the_demo_takes_little_of_what_was_not_set() -> None:
    small = app.demo_settings(Config())
    journal = small.journal
    per_worker = journal.ring_bytes + journal.segment_bytes
    windows = 2 * 64 * (journal.event_ids + journal.used_traces)
    assert small.server.workers <= 2
    assert (
        small.server.workers * per_worker + windows < 56 * MIB
    )  # the metrics and the store are the rest of 64
    given = {
        "FANION_JOURNAL_SEGMENT_BYTES": str(64 * KIB),
        "FANION_LIMITS_INGEST_BODY_BYTES_MAX": str(2 * MIB),
    }
    config = load_config(vocabulary(), environ=given)
    kept = app.demo_settings(config)
    assert (kept.journal.segment_bytes, kept.limits.ingest_body_bytes_max) == (64 * KIB, 2 * MIB)
    assert kept.journal.ring_bytes == config.journal.ring_bytes
