"""Sinks over stand-in receivers: each row taken, whatever ended when; what is refused, held, left and said."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from fanion.cli import group
from fanion.config.loading import load_config
from fanion.config.sinks import Sinks
from fanion.dialects import canonical_forms, vocabulary
from fanion.errors import ConfigError, SinkError
from fanion.journal.gaps import Gap, Gaps, keep_gaps
from fanion.journal.reader import Checkpoint
from fanion.journal.storage import Storage
from fanion.sinks import KINDS, command, file, kind_of, parquet, wanted
from fanion.sinks import service as service_module
from fanion.sinks import sink as module
from fanion.sinks.receiver import Line
from fanion.sinks.service import Service
from fanion.sinks.sink import Sink, reader_name
from fanion.sinks.state import State, keep_state, load_state
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics
from tests.unit.test_pipeline import Dying, Journal, Killed
from tests.unit.test_pipeline_service import Asked

pyarrow = pytest.importorskip("pyarrow")

Id = tuple[Any, ...]
IDENTITY = ("machine", "writer", "sequence", "index", "part")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def identities(journal: Journal) -> list[Id]:
    return sorted((row[0], row[1], row[3], row[4], row[5]) for row in journal.rows())


def ids_of(lines: Iterator[bytes] | list[bytes]) -> list[Id]:
    rows = [json.loads(line) for line in lines]
    for row in rows:
        assert row["id"] == "-".join(str(row[name]) for name in IDENTITY)
    return [tuple(row[name] for name in IDENTITY) for row in rows]


class Store:
    """An object store, or what takes lines: it dies or refuses when it is told to."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Id]] = {}
        self.lines: list[bytes] = []
        self.refuses: Callable[[], str] = lambda: ""
        self.dies = lambda: False
        self.left_out = 0

    def open(self, settings: Sinks, turn: Callable[[], None]) -> Store:
        return self

    def take(self, rows: Any, name: str) -> None:
        if isinstance(rows, list):
            for line in rows:
                self._answer()
                self.lines.append(line.text)
            return
        for environment, day, part in parquet.parts_of(rows):
            self._answer()
            found = [tuple(row[name] for name in IDENTITY) for row in part.to_pylist()]
            self.objects.setdefault(parquet.object_path(environment, day, name), found)

    def _answer(self) -> None:
        if reason := self.refuses():
            raise SinkError(reason)
        if self.dies():
            raise Killed

    def close(self) -> None:
        pass

    def ids(self) -> list[Id]:
        return sorted([*ids_of(self.lines), *itertools.chain(*self.objects.values())])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Behind every kind."""
    made = Store()
    whole = kind_of

    def stand_in(name: str) -> Any:
        return whole(name)._replace(open=made.open, needs=())

    monkeypatch.setattr(module, "kind_of", stand_in)
    monkeypatch.setattr(module, "missing_libraries", lambda name: [])
    return made


def sink(journal: Journal, name: str = "parquet", settings: Sinks | None = None, **members: Any) -> Sink:
    given: dict[str, Any] = {"map_bytes": 1 << 20, "step_rows": 10, **members}
    return Sink(journal.directory, name, settings or Sinks(), canonical_forms(), **given)


def fill(journal: Journal, count: int = 24) -> None:
    for n in range(count):
        journal.append(["prod", "test/ö"][n % 2], day=n // 15)


@pytest.mark.parametrize("name", ["parquet", "file"])
def test_rows_are_taken_in_steps_and_new_ones_after(journal: Journal, store: Store, name: str) -> None:
    fill(journal)
    with sink(journal, name) as made:
        assert made.run_once() == 48
        assert store.ids() == identities(journal)
        assert made.run_once() == 0
        journal.append()
        assert made.run_once() == 2
        assert made.state.rows == 50
        assert made.stands().lag_records == 0
    with sink(journal, name) as made:
        assert made.run_once() == 0
        assert made.state.steps > 0
    assert store.ids() == identities(journal)


def attempt(journal: Journal, name: str, storage: Storage) -> bool:
    """False: it was killed."""
    made = None
    try:
        made = sink(journal, name, storage=storage)
        made.run_once()
        return True
    except Killed:
        return False
    finally:
        if made is not None:
            made.close()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["parquet", "kafka"])
def test_a_kill_at_any_call_leaves_each_object_once_and_lines_once_by_identity(
    tmp_path: Path, store: Store, name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
    calls, done = 0, False
    while not done:
        calls += 1
        journal = Journal(tmp_path / str(calls))
        fill(journal, 8)
        store.objects, store.lines = {}, []
        done = attempt(journal, name, Dying(calls, after))
        journal.append()
        assert attempt(journal, name, Storage())
        assert (store.ids() if name == "parquet" else sorted(set(store.ids()))) == identities(journal)
    assert calls > 12


@pytest.mark.parametrize("name", ["parquet", "file"])
def test_a_kill_within_a_step_leaves_each_object_once_and_lines_once_by_identity(
    tmp_path: Path, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
    for point in range(1, 40):
        journal = Journal(tmp_path / str(point))
        fill(journal, 8)
        store.objects, store.lines = {}, []
        counted = itertools.count(1)
        store.dies = lambda counted=counted, point=point: next(counted) == point
        done = attempt(journal, name, Storage())
        journal.append()  # what came meanwhile is no part of the step that is made again
        while not attempt(journal, name, Storage()):
            pass
        assert (store.ids() if name == "parquet" else sorted(set(store.ids()))) == identities(journal)
        if done:
            break


def test_a_state_that_was_lost_names_no_other_step_the_same(journal: Journal, store: Store) -> None:
    fill(journal, 3)
    with sink(journal) as made:
        made.run_once()
    (journal.directory / "sinks" / "parquet.json").unlink()
    fill(journal, 3)
    with sink(journal) as made:
        made.run_once()
    assert sorted(set(store.ids())) == identities(journal)


def test_a_first_step_in_a_new_journal_that_was_killed_is_made_again_from_its_beginning(
    journal: Journal, store: Store
) -> None:
    fill(journal, 8)
    (journal.directory / "sinks").mkdir()
    old = State(place=Checkpoint("ff" * 16, {0: 500, 3: 7}), steps=9)
    keep_state(Storage(), journal.directory, "parquet", old)
    store.dies = lambda: bool(store.objects)
    assert not attempt(journal, "parquet", Storage())
    store.dies = lambda: False
    assert attempt(journal, "parquet", Storage())
    assert store.ids() == identities(journal)
    state = load_state(Storage(), journal.directory, "parquet")
    assert (state.place.next_sequence, state.planned) == ({0: 9}, None)


def test_one_process_has_a_sink_at_a_time_and_another_sink_goes_on(journal: Journal, store: Store) -> None:
    fill(journal, 2)
    with sink(journal, "file"):
        with pytest.raises(SinkError, match="another process has the sink file"):
            sink(journal, "file")
        with sink(journal, "command") as other:
            assert other.run_once() == 4


def test_a_row_of_the_twin_and_of_columns_has_the_same_identity(journal: Journal, store: Store) -> None:
    fill(journal)
    for name in ("parquet", "kafka"):
        with sink(journal, name) as made:
            made.run_once()
    assert sorted(ids_of(store.lines)) == sorted(itertools.chain(*store.objects.values()))


class Hours:
    """A monotonic clock that waits move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Waits(Asked):
    def __init__(self, waits: int, clock: Hours, at: Callable[[float], None] = lambda _: None) -> None:
        super().__init__(waits)
        self._clock, self._at = clock, at

    def wait(self, timeout_s: float) -> bool:
        self._clock.now += max(timeout_s, 0.001)
        self._at(self._clock.now)
        return super().wait(timeout_s)


def serve(
    journal: Journal, name: str, monkeypatch: pytest.MonkeyPatch, waits: int, at: Callable[[float], None]
) -> tuple[Waits, dict[str, float], list[tuple[str, ...]]]:
    monkeypatch.setattr(service_module, "give_way", lambda: None)
    clock = Hours()
    ending = Waits(waits, clock, at)
    metrics = Metrics.open(journal.directory, worker=False)
    row = Heartbeats(1).rows[0]
    said: list[tuple[str, ...]] = []
    say = row.say
    row.say = lambda standing: (said.append((*standing.reasons, *standing.notes)), say(standing))[1]  # type: ignore[assignment,method-assign,return-value]
    settings = Sinks()
    service = Service(name, settings, lambda turn: sink(journal, name, turn=turn), row, metrics, now=clock)
    service.run(ending)  # type: ignore[arg-type]
    text = Exposition(journal.directory).text().decode()
    numbers = {
        line.split("{")[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("fanion_sink") and f'sink="{name}"' in line
    }
    metrics.close()
    return ending, numbers, said


@pytest.mark.parametrize("name", ["parquet", "kafka", "file", "command"])
def test_a_receiver_that_is_down_for_an_hour_has_everything_soon_after(
    journal: Journal, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    up: list[float] = []

    def at(now: float) -> None:
        if now < 3_600:
            journal.append()
        store.refuses = lambda: "connection refused" if now < 3_600 else ""
        if not up and len(set(store.ids())) == len(identities(journal)):
            up.append(now)

    store.refuses = lambda: "connection refused"
    ending, numbers, said = serve(journal, name, monkeypatch, 75, at)
    assert store.ids() == identities(journal)
    assert 3_600 < up[0] < 3_600 + 2 * Sinks().again_s_max
    assert ending.waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(ending.waits) == Sinks().again_s_max
    assert any(line[:1] == ("connection refused",) for line in said)
    assert said[-1] == ()
    assert numbers["fanion_sink_failing"] == 0
    assert numbers["fanion_sink_faults_total"] > 60
    assert numbers["fanion_sink_rows_total"] == len(identities(journal))
    assert numbers["fanion_sink_lag_records"] == 0


def test_a_receiver_that_refuses_for_ever_is_said_and_delays_no_other(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    store.refuses = lambda: "never"
    _, numbers, said = serve(journal, "kafka", monkeypatch, 30, lambda _: None)
    assert said[-1][0] == "never"
    assert said[-1][1].endswith("requests behind")
    assert numbers["fanion_sink_failing"] == 1
    state = load_state(Storage(), journal.directory, "kafka")
    assert (state.failing, state.rows, state.steps) == ("never", 0, 0)
    store.refuses = lambda: ""
    with sink(journal, "file") as other:
        assert other.run_once() == 48


def test_what_left_before_it_was_taken_is_said(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal, 2)
    (journal.directory / "journal" / "readers").mkdir()
    gaps = Gaps()
    gaps.add(Gap("000-7.log", 0, 11, 31, service_module.time.time()))
    keep_gaps(Storage(), journal.directory / "journal", reader_name("file"), gaps)
    _, numbers, said = serve(journal, "file", monkeypatch, 3, lambda _: None)
    assert said[-1] == (
        "20 requests in 1 segments left the journal before they were taken, 000-7.log the last",
    )
    assert numbers["fanion_sink_gap_records"] == 20
    monkeypatch.setenv("FANION_SINKS_FILE_PATH", "/nowhere")
    told = CliRunner().invoke(group, ["sinks", "status", "--data", str(journal.directory)])
    assert "20 requests, 000-7.log the last" in told.output, told.output
    told = CliRunner().invoke(
        group, ["sinks", "status", "--data", str(journal.directory), "--format", "json"]
    )
    (one,) = json.loads(told.output)
    assert (one["sink"], one["rows"], one["behind_records"], one["gaps"]["records"]) == ("file", 4, 0, 20)


def test_half_a_line_of_ours_is_cut_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for before, left in (
        (b"", b""),
        (b'{"id":"a"}\n', b'{"id":"a"}\n'),
        (b'{"id":"a"}\n{"id":"b', b'{"id":"a"}\n'),
        (b'{"id":"a"}\n{"', b'{"id":"a"}\n'),
        (b'{"id":"' + b"x" * 200_000, b""),
        (b"not ours", b"not ours\n"),
        (b"not ours\nneither", b"not ours\nneither\n"),
    ):
        path.write_bytes(before)
        receiver = file.Appended(Sinks(file_path=str(path)), lambda: None)
        receiver.take([Line(b"k", b'{"id":"k"}')], "")
        receiver.close()
        assert path.read_bytes() == left + b'{"id":"k"}\n', before


def test_a_file_that_was_moved_away_is_made_anew_and_only_a_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    receiver = file.Appended(Sinks(file_path=str(path)), lambda: None)
    lines = [Line(b"k", b'{"id":"k"}')]
    receiver.take(lines, "")
    path.rename(tmp_path / "older")
    receiver.take(lines, "")
    receiver.close()
    assert path.read_bytes() == (tmp_path / "older").read_bytes() == b'{"id":"k"}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    for strange in (tmp_path / "pipe", tmp_path, tmp_path / "no" / "where", Path("/dev/full")):
        receiver = file.Appended(Sinks(file_path=str(strange)), lambda: None)
        with pytest.raises(SinkError):
            receiver.take(lines, "")
        receiver.close()


LINES = [Line(b"k", b'{"id":"%d"}' % n + b" " * 1_000) for n in range(2_000)]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("sh -c 'cat > {out}'", None),
        ("sh -c 'cat > {out}; echo no >&2; exit 3'", "ended with status 3: no"),
        ("sh -c 'head -c 10 > {out}'", "ended before it had read all"),
        ("sh -c 'exec <&-; exit 4'", "ended with status 4: it said nothing"),
        ("sleep 60", "was not done within 0.3 s"),
        ("sh -c 'cat > {out}; sleep 60'", "was not done within 0.3 s"),
        ("/no/such/program", "can't be run"),
    ],
)
def test_a_commands_exit_status_is_the_answer(tmp_path: Path, program: str, said: str | None) -> None:
    out = tmp_path / "out"
    timeout_s = 0.3 if said and "within" in said else 20.0
    settings = Sinks(command=program.replace("{out}", str(out)), timeout_s=timeout_s)
    receiver = command.Fed(settings, lambda: None)
    if said is None:
        receiver.take(LINES, "")
        assert out.read_bytes() == b"".join(line.text + b"\n" for line in LINES)
    else:
        with pytest.raises(SinkError, match=said):
            receiver.take(LINES, "")


def test_a_command_sees_none_of_fanions_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANION_SINKS_KAFKA_PASSWORD", "hidden")
    out = tmp_path / "out"
    receiver = command.Fed(Sinks(command=f"sh -c 'cat >/dev/null; env > {out}'"), lambda: None)
    receiver.take(LINES[:1], "")
    assert "hidden" not in out.read_text()
    assert "PATH=" in out.read_text()


def test_two_environments_never_share_a_path() -> None:
    names = ["a/b", "a!2Fb", "a_b", "a=b", "ä", "..", "a b", "A", "a"]
    paths = {parquet.object_path(name, 20_000, "n") for name in names}
    assert len(paths) == len(names)
    assert parquet.object_path("env_prod", 20_000, "n") == "environment=env_prod/day=2024-10-04/n.parquet"


def config(**variables: str) -> Sinks:
    return load_config(
        vocabulary(), environ={f"FANION_SINKS_{k.upper()}": v for k, v in variables.items()}
    ).sinks


def test_no_sink_is_on_by_default_and_each_by_its_own_setting() -> None:
    assert wanted(Sinks()) == []
    given = {"parquet_url": "s3://bucket/p", "kafka_brokers": "a:1, b:2", "file_path": "x", "command": "cat"}
    assert wanted(config(**given)) == list(KINDS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("parquet_url", "http://bucket", "allowed: s3://BUCKET"),
        ("parquet_endpoint", "http://user:pass@host", "without a path or a user"),
        ("parquet_access_key", "a", "together"),
        ("kafka_brokers", "host", "HOST:PORT"),
        ("kafka_topic", "a b", "letters, digits"),
        ("kafka_topic", "..", "letters, digits"),
        ("kafka_security", "sasl_ssl", "needs kafka_user"),
        ("command", "a 'b", "can't be read"),
        ("hold_hours", "0.009", ">= 0.01"),
        ("hold_share", "0.91", "<= 0.9"),
        ("interval_s", "0.04", ">= 0.05"),
        ("parquet_interval_s", "3601", "<= 3600"),
        ("timeout_s", "301", "<= 300"),
        ("again_s_max", "0.04", ">= 0.05"),
        ("kafka_row_bytes_max", "1023", ">= 1024"),
    ],
)
def test_a_setting_beyond_its_bounds_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**{name: value})


def test_a_setting_at_its_bounds_is_taken() -> None:
    low = config(hold_hours="0.01", hold_share="0.001", interval_s="0.05", kafka_row_bytes_max="1024")
    high = config(
        hold_hours="1000000", hold_share="0.9", interval_s="3600", kafka_row_bytes_max=str(64 << 20)
    )
    assert (low.hold_hours, high.hold_share) == (0.01, 0.9)


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "fanion.toml"
    for name in ("parquet_secret_key", "kafka_password"):
        path.write_text(f"[sinks]\n{name} = 12345678\n")
        with pytest.raises(ConfigError, match="a secret, which is not shown") as caught:
            load_config(vocabulary(), file=path, environ={})
        assert "12345678" not in str(caught.value)
        with pytest.raises(ConfigError, match="UTF-8") as caught:
            config(**{name: "abc\udc80def"})
        assert "abc" not in str(caught.value)


def test_a_library_that_is_missing_is_named(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missing_libraries", lambda name: ["obstore"])
    with pytest.raises(SinkError, match=r"obstore not installed; pip install 'fanion\[sinks\]'"):
        sink(journal)


def test_a_place_that_can_not_be_read_is_refused_by_name(journal: Journal, store: Store) -> None:
    (journal.directory / "sinks").mkdir()
    path = journal.directory / "sinks" / "file.json"
    path.write_bytes(b"{")
    with pytest.raises(SinkError, match="not a sink's place"):
        sink(journal, "file")
    path.write_bytes(msgspec.json.encode({"version": 2}))
    with pytest.raises(SinkError, match="format version 2"):
        sink(journal, "file")
