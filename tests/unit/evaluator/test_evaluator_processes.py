"""Evaluating in process beside others: forks, threads, groups, mounts, containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion import Evaluator
from fanion.errors import StoreError
from fanion.store.pins import Pinned
from fanion.store.store import Store
from tests.unit.evaluator.stores import USER, WORLD, publish, small


def in_child(act: Callable[[], None]) -> int:
    """The exit code of a child of this process that did it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException as error:
            sys.stderr.write(repr(error))
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# -- processes and threads


def test_a_child_of_fork_goes_on_and_its_parent_keeps_what_it_holds(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        publications = [flags._sight.entry.publication]

        def act() -> None:
            assert flags.evaluate("a", USER).value == "first"
            child = "import sys; from tests.unit.evaluator.stores import publish, small; from pathlib import Path; "
            subprocess.run(
                [sys.executable, "-c", child + "publish(Path(sys.argv[1]), small('second'))", str(data)],
                check=True,
            )
            assert flags.evaluate("a", USER).value == "second"
            flags.close()

        assert in_child(act) == 0
        with Pinned(data / "store" / "data.mdb") as pinned:
            assert pinned.holds(publications[0])
        assert flags.evaluate("a", USER).value == "second"


def test_a_child_of_a_process_that_is_looking_is_not_stuck(data: Path) -> None:
    stop = threading.Event()
    with Evaluator.open(data, "env") as flags:

        def look() -> None:
            while not stop.is_set():
                flags._onlooker.look({})

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for _ in range(20):
                assert in_child(lambda: flags._onlooker.look({}) and None) == 0
        finally:
            stop.set()
            thread.join()


@pytest.mark.heavy
def test_threads_evaluate_while_publishes_come(tmp_path: Path) -> None:
    """Every answer is a whole generation's, and none is older than what its thread has seen."""
    data = tmp_path / "data"
    publish(data, WORLD)
    problems: list[str] = []
    stop = threading.Event()
    with Evaluator.open(data, "env_ofrep") as flags:

        def ask(number: int) -> None:
            person = {"targetingKey": f"user-{number}"}
            expected = {
                k: flags.evaluate(k, person) for k in ("half", "country", "in-beta", "t.colour", "r-flow")
            }
            while not stop.is_set():
                for key, answer in expected.items():
                    if flags.evaluate(key, person) != answer:
                        problems.append(f"{key} {person}")
                flags.evaluate_all(person)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                publish(data, WORLD)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert flags.problem == ""
    assert problems == []


# -- rights, mounts, namespaces


SHOW = (
    "import sys; from fanion import Evaluator; "
    "print(Evaluator.open(sys.argv[1], 'env').evaluate('a', {'targetingKey': 'u'}).value)"
)


def root_or_skip() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")


def shown(data: Path, *around: str, **given: Any) -> subprocess.CompletedProcess[str]:
    command = [*around, sys.executable, "-c", SHOW, str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **given)


def test_a_group_that_may_read_two_files_may_evaluate(tmp_path_factory: pytest.TempPathFactory) -> None:
    root_or_skip()
    outside = Path("/var/tmp") / f"fanion-{os.getpid()}"
    outside.mkdir(mode=0o755)
    try:
        data = outside / "data"
        publish(data, small("first"))
        for path, mode in {
            data: 0o750,
            data / "store": 0o750,
            data / "shared": 0o750,
            data / "store" / "data.mdb": 0o640,
            data / "shared" / "generation": 0o640,
        }.items():
            os.chown(path, 0, 12_345)
            path.chmod(mode)
        assert rights(data, 54_321) == "StoreError"
        assert rights(data, 12_345) == "first"
        (data / "shared" / "generation").chmod(0o600)
        assert rights(data, 12_345) == "StoreError"
    finally:
        shutil.rmtree(outside)


def rights(data: Path, group: int) -> str:
    """What a process of that group sees, which has imported all that it needs as root."""
    read, write = os.pipe()

    def act() -> None:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(12_345, 12_345, 12_345)
        try:
            told = Evaluator.open(data, "env").evaluate("a", USER).value
        except StoreError as error:
            told = type(error).__name__
        os.write(write, told.encode())

    assert in_child(act) == 0
    os.close(write)
    with os.fdopen(read) as file:
        return file.read()


def test_a_read_only_mount_is_enough(data: Path) -> None:
    root_or_skip()
    script = f'mount --bind "{data}" "{data}" && mount -o remount,ro,bind "{data}" && exec "$@"'
    told = shown(data, "unshare", "-m", "sh", "-c", script, "sh")
    assert (told.stdout, told.stderr) == ("first\n", "")
    script += f' && ! touch "{data}/x"'
    assert subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], check=False).returncode == 0


def test_processes_of_other_containers_with_one_process_id_all_evaluate(data: Path) -> None:
    """Each is process 1 of its own namespace, as a container's only program is."""
    root_or_skip()
    wait = SHOW.replace("print(", "flags = ").replace(".evaluate('a', {'targetingKey': 'u'}).value)", "")
    wait += "; print(flags.evaluate('a', {'targetingKey': 'u'}).value, flush=True); sys.stdin.read()"
    around = ["unshare", "-p", "-f", "--kill-child", sys.executable, "-c", wait, str(data)]
    first, second = (
        subprocess.Popen(around, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "first\n"
        for number in range(4):
            publish(data, small(f"value {number}"))
        with Pinned(data / "store" / "data.mdb") as pinned:
            assert pinned.holds(1), "readers of other namespaces hold what they read"
        with Store.open(data) as store:
            assert store.check_readers() == 0
    finally:
        for process in (first, second):
            process.communicate("", timeout=120)
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert not pinned.holds(1)


def test_a_server_with_this_process_id_in_another_container_is_no_hindrance(data: Path) -> None:
    """LMDB tells readers apart by process ids, and the one that comes second isn't let in."""
    root_or_skip()
    hold = (
        "import sys; from pathlib import Path; from fanion.store.store import Store; "
        "store = Store.open(Path(sys.argv[1])); pinned = store.pin(); print('held', flush=True); sys.stdin.read()"
    )
    around = ["unshare", "-p", "-f", "--kill-child"]
    holder = subprocess.Popen(
        [*around, sys.executable, "-c", hold, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told = shown(data, *around)
        assert (told.stdout, told.stderr) == ("first\n", "")
    finally:
        holder.communicate("", timeout=120)
