"""Evaluating in process: one flag, all flags, and a store that is published, replaced, forked with and shared."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion import Evaluator, app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.errors import (
    BundleError,
    ContextError,
    EnvironmentMissingError,
    EvaluationError,
    FlagNotFoundError,
    StoreError,
    StoreMissingError,
    TargetingKeyError,
)
from fanion.inprocess import evaluator as module
from fanion.store.list_writer import ListWriter
from fanion.store.pins import Pinned
from fanion.store.store import Store
from tests.unit.ofrep_world import FOLDER

WORLD = FOLDER / "world.yaml"
USER = {"targetingKey": "user-1"}


def publish(data: Path, definitions: Path | str) -> int:
    path = definitions
    if isinstance(definitions, str):
        path = data.with_name("small.json")
        Path(path).write_text(definitions)
    return app.publish(data, load([Path(path)], vocabulary()), Config())


def small(value: str, environment: str = "env", **more: Any) -> str:
    """Definitions of one environment with one flag."""
    project = {
        "environments": {"p": {"id": environment, **more}},
        "flags": {"a": {"type": "string", "default_value": value}},
    }
    organisation = {"projects": {"p": project}}
    return json.dumps({"fanion": 1, "organisations": {f"org_{environment}": organisation}})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("inprocess") / "data"
    publish(data, WORLD)
    return data


@pytest.fixture
def flags(world: Path) -> Iterator[Evaluator]:
    with Evaluator.open(world, "env_ofrep") as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    publish(tmp_path / "data", small("first"))
    return tmp_path / "data"


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


# -- answers


def test_five_types_are_answered_with_variant_reason_and_metadata(flags: Evaluator) -> None:
    found = {key: flags.evaluate(key, USER) for key in ("plain", "country", "count", "price", "settings")}
    assert {key: (one.value, one.type) for key, one in found.items()} == {
        "plain": (True, "boolean"),
        "country": ("rest", "string"),
        "count": (1, "integer"),
        "price": (1.0, "float"),
        "settings": ({"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}, "object"),
    }
    assert (found["plain"].variant, found["plain"].reason) == ("on", "STATIC")
    assert found["plain"].metadata == {"source": "native"}
    assert isinstance(found["price"].value, float)


def test_an_object_is_the_asker_s_own(flags: Evaluator) -> None:
    flags.evaluate("settings", USER).value["colour"] = "spoiled"
    assert flags.evaluate("settings", USER).value["colour"] == "red"


def test_metadata_that_is_shared_cannot_be_changed(flags: Evaluator) -> None:
    metadata: Any = flags.evaluate("plain", USER).metadata
    with pytest.raises(TypeError):
        metadata["source"] = "spoiled"


def test_a_flag_without_a_value_leaves_it_to_the_caller_s_default(flags: Evaluator) -> None:
    found = flags.evaluate("r-gone", USER)
    assert (found.value, found.variant, found.reason, found.type) == (None, None, "DISABLED", "")


@pytest.mark.parametrize(
    ("key", "context", "kind", "code"),
    [
        ("half", {}, TargetingKeyError, "TARGETING_KEY_MISSING"),
        ("s-paid", {"plan": "pro"}, TargetingKeyError, "TARGETING_KEY_MISSING"),
        ("plain", {"targetingKey": 1}, ContextError, "INVALID_CONTEXT"),
        ("plain", {**USER, "fanion": 1}, ContextError, "INVALID_CONTEXT"),
        ("plain", 1, ContextError, "INVALID_CONTEXT"),
        ("shared", USER, EvaluationError, "GENERAL"),
        ("f-broken", USER, EvaluationError, "GENERAL"),
        ("nothing", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
        ("feather:plain", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
        ("half-\ud83d", USER, FlagNotFoundError, "FLAG_NOT_FOUND"),
    ],
)
def test_an_error_has_its_own_type_and_the_protocol_s_code(
    flags: Evaluator, key: str, context: Any, kind: type[EvaluationError], code: str
) -> None:
    for _ in range(2):
        with pytest.raises(kind) as caught:
            flags.evaluate(key, context)
        assert (type(caught.value), caught.value.code) == (kind, code)


def test_all_flags_are_answered_at_once_with_errors_among_them(flags: Evaluator) -> None:
    found = flags.evaluate_all({"country": "DE"})
    country, half = found["country"], found["half"]
    assert not isinstance(country, EvaluationError)
    assert country.value == "home"
    assert isinstance(half, TargetingKeyError)
    assert list(flags.evaluate_all({**USER, "fanion": {"flags": ["plain"]}})) == ["plain"]
    with pytest.raises(ContextError, match="targetingKey"):
        flags.evaluate_all({"targetingKey": 1})


def test_text_that_is_cut_inside_a_character_reads_as_over_http(flags: Evaluator) -> None:
    assert flags.evaluate("country", {**USER, "country": "\ud83d"}).value == "rest"
    assert flags.evaluate("half", {"targetingKey": "\ud83d\ude00"}) == flags.evaluate(
        "half", {"targetingKey": "\U0001f600"}
    )
    assert flags.evaluate("half", {"targetingKey": "a\ud83d"}) == flags.evaluate(
        "half", {"targetingKey": "a\ufffd"}
    )


def test_a_context_is_left_as_it_was(flags: Evaluator) -> None:
    context = {"targetingKey": "user-1", "email": "e@a.example", "plan": "pro", "nested": {"a": [1]}}
    before = repr(context)
    for key in flags.evaluate_all(context):
        try:
            flags.evaluate(key, context)
        except EvaluationError:
            continue
    assert repr(context) == before


# -- opening


def test_a_store_or_environment_that_is_not_there_has_its_own_error(data: Path) -> None:
    with pytest.raises(StoreMissingError):
        Evaluator.open(data / "nowhere", "env")
    with pytest.raises(EnvironmentMissingError, match="there is no environment other; there are: env"):
        Evaluator.open(data, "other")


def test_an_environment_that_has_no_such_answers_says_so(tmp_path: Path) -> None:
    publish(tmp_path / "data", small("a", dialects=["feather"]))
    with pytest.raises(StoreError, match="isn't served through"):
        Evaluator.open(tmp_path / "data", "env")


def test_a_closed_evaluator_raises_and_may_be_closed_again(data: Path) -> None:
    flags = Evaluator.open(data, "env")
    flags.close()
    flags.close()
    with pytest.raises(StoreError, match="closed"):
        flags.evaluate("a", USER)
    with pytest.raises(StoreError, match="closed"):
        flags.refresh()


def test_importing_and_evaluating_load_nothing_of_the_server(world: Path) -> None:
    script = (
        "import sys, fanion; first = set(sys.modules)\n"
        f"fanion.Evaluator.open({str(world)!r}, 'env_ofrep').evaluate('plain', {{}})\n"
        "heavy = {'granian', 'uvloop', 'click', 'rich', 'yaml', 'openfeature', 'zstandard'}\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "rooms = {'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('fanion.')}\n"
        "print(sorted(name for name in first if name.startswith('fanion.')), sorted(heavy & names),\n"
        "      sorted(rooms & {'fanion.http', 'fanion.process', 'fanion.app', 'fanion.cli', 'fanion.definitions',\n"
        "      'fanion.journal'}))\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["[]", "[]", "[]"]


# -- publishes


def test_a_publish_counts_from_the_next_evaluation_and_an_unrelated_one_changes_nothing(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        assert flags.evaluate("a", USER).value == "first"
        publish(data, small("second"))
        assert flags.evaluate("a", USER).value == "second"
        assert flags.changes == 1
        generation = publish(data, small("x", "other"))
        assert flags.evaluate("a", USER).value == "second"
        assert (flags.changes, flags.generation) == (1, generation)


def test_members_of_a_list_that_come_and_go_count_from_the_next_evaluation(tmp_path: Path) -> None:
    data = tmp_path / "data"
    publish(data, WORLD)
    person = {"targetingKey": "user-beta"}
    with Evaluator.open(data, "env_ofrep") as flags:
        assert flags.evaluate("in-beta", person).value is True
        with Store.open(data, write=True) as store:
            ListWriter(store.transactions).remove("env_ofrep", "org_ofrep/shop/beta/include", [b"user-beta"])
        assert flags.evaluate("in-beta", person).value is False


def test_a_removed_environment_is_not_answered_until_it_comes_back(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        with Store.open(data, write=True) as store:
            store.publish(module_publication(removed=("env",)))
        for _ in range(2):
            with pytest.raises(EnvironmentMissingError):
                flags.evaluate("a", USER)
        publish(data, small("back"))
        assert flags.evaluate("a", USER).value == "back"


def module_publication(**given: Any) -> Any:
    from fanion.store.publication import Publication

    return Publication(**{"bundles": {}, "keys": {}, **given})


def test_what_an_evaluator_reads_is_kept_by_publishes_until_it_moves_on(data: Path) -> None:
    first = 1
    flags = Evaluator.open(data, "env")
    bundle = flags._sight.bundle
    before = bytes(bundle)
    for number in range(6):
        publish(data, small(f"value {number}"))
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert pinned.holds(first)
        assert not pinned.holds(first + 1)
    assert bytes(bundle) == before, "its pages were used again"
    assert flags.evaluate("a", USER).value == "value 5"
    del bundle
    gc.collect()
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert not pinned.holds(first)
        assert pinned.holds(flags._sight.entry.publication)
    publish(data, small("last"))
    with Store.open(data) as store, store.transactions.reading():
        transaction = store.transactions.database.begin()
        rows = transaction.stat(store.transactions.databases["bundles"])["entries"]
        transaction.abort()
    assert rows == 2, "only the current and the previous publication's bundles are left"
    flags.close()


def test_a_bundle_that_does_not_verify_leaves_the_last_good_one(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        with Store.open(data, write=True) as store:
            store.publish(module_publication(bundles={"env": os.urandom(10_000)}))
        assert flags.evaluate("a", USER).value == "first"
        assert "env" in flags.problem
        publish(data, small("mended"))
        assert flags.evaluate("a", USER).value == "mended"
        assert flags.problem == ""
    with Store.open(data, write=True) as store:
        store.publish(module_publication(bundles={"env": os.urandom(10_000)}))
    with pytest.raises(BundleError):
        Evaluator.open(data, "env")


@pytest.mark.parametrize("what", ["store", "shared", "shared/generation", ""])
def test_a_store_that_was_replaced_is_followed_at_the_next_look(
    data: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    with Evaluator.open(data, "env") as flags:
        path = data / what
        old = path.with_name(f"{path.name}.old")
        path.rename(old)
        flags.refresh()
        assert flags.problem
        assert flags.evaluate("a", USER).value == "first"
        (shutil.copytree if old.is_dir() else shutil.copy)(old, path)
        publish(data, small("second"))
        flags.refresh()
        assert (flags.evaluate("a", USER).value, flags.problem) == ("second", "")


def test_a_publisher_that_died_before_it_raised_the_word_is_made_up_for(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    with Evaluator.open(data, "env") as flags:
        monkeypatch.setattr("fanion.store.store.Store.word", None, raising=False)
        word = (data / "shared" / "generation").read_bytes()
        publish(data, small("second"))
        with (data / "shared" / "generation").open("r+b") as file:
            file.write(word)
        flags.refresh()
        assert flags.evaluate("a", USER).value == "second"


# -- processes and threads


def test_a_child_of_fork_goes_on_and_its_parent_keeps_what_it_holds(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        publications = [flags._sight.entry.publication]

        def act() -> None:
            assert flags.evaluate("a", USER).value == "first"
            child = (
                "import sys; from tests.unit.test_evaluator import publish, small; from pathlib import Path; "
            )
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
            process.communicate("", timeout=30)
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
        holder.communicate("", timeout=30)


def test_an_evaluator_that_is_forgotten_in_a_circle_is_collected_quietly(data: Path) -> None:
    """The collector once took the word's map away from under the buffer that the core has of it."""
    flags: Any = Evaluator.open(data, "env")
    publication = flags._sight.entry.publication
    flags.circle = flags
    del flags
    gc.collect()  # what can't be raised would be a warning, and so an error
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert not pinned.holds(publication)
