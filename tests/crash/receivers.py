"""Real receivers on free ports of this machine: an object store, a Kafka broker, librdkafka's mock of one, NATS.

`SEAWEEDFS`, `TANSU` and `NATS_SERVER` name the programs, as `.ci/run` installs them; a test that needs one skips
without.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.serving import free_ports

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0
"""Of one that is there, on a machine that has other things to do: it syncs each write before it answers."""
TOPIC = "fanion-rows"
PARTITIONS = 3
BUCKET = "rows"


def program(variable: str) -> str:
    found = os.environ.get(variable)
    if not found:
        pytest.skip(f"{variable} names no program")
    return found


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert process.poll() is None, log.read_text()[-2_000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, log.read_text()[-2_000:]
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def object_store(directory: Path) -> Iterator[dict[str, str]]:
    """SeaweedFS with a bucket, without its telemetry: the variables of a sink."""
    weed = program("SEAWEEDFS")
    s3, *ports = free_ports(8)
    names = (
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    )
    options = [f"-{name}={port}" for name, port in zip((*names, "s3.port.grpc"), ports, strict=True)]
    fixed = ["-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-debug.port=0"]
    fixed += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else always the same, so that a second one ends
    data = directory / "objects"
    data.mkdir()
    command = [weed, "server", *fixed, f"-dir={data}", f"-s3.port={s3}", *options]
    with running(command, directory / "seaweedfs.log", s3):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _made_bucket(s3):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield {
            "FANION_SINKS_PARQUET_URL": f"s3://{BUCKET}/some/prefix",
            "FANION_SINKS_PARQUET_ENDPOINT": f"http://127.0.0.1:{s3}",
            "FANION_SINKS_PARQUET_ACCESS_KEY": "any",
            "FANION_SINKS_PARQUET_SECRET_KEY": "any-secret",
            "FANION_SINKS_PARQUET_INTERVAL_S": "0.05",
        }


def _made_bucket(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for path in (f"/{BUCKET}", f"/{BUCKET}/first"):  # the first write waits for a volume
            connection.request("PUT", path, b"")
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 409):
                return False
        return True
    except OSError:
        return False
    finally:
        connection.close()


def objects(environment: dict[str, str]) -> dict[str, bytes]:
    """All that the sink put."""
    obstore: Any = pytest.importorskip("obstore")
    store = pytest.importorskip("obstore.store").S3Store(
        BUCKET,
        prefix="some/prefix",
        config={
            "endpoint": environment["FANION_SINKS_PARQUET_ENDPOINT"],
            "region": "us-east-1",
            "access_key_id": "any",
            "secret_access_key": "any-secret",
        },
        client_options={"allow_http": True},
    )
    names = [found["path"] for part in obstore.list(store) for found in part]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


@contextlib.contextmanager
def broker(directory: Path) -> Iterator[dict[str, str]]:
    """Tansu, in memory, with the topic."""
    tansu = program("TANSU")
    admin: Any = pytest.importorskip("confluent_kafka.admin")
    (port,) = free_ports(1)
    at = f"tcp://127.0.0.1:{port}"
    options = ["--listener-url", at, "--advertised-listener-url", at, "--storage-engine", "memory://tansu/"]
    with running([tansu, "broker", *options], directory / "tansu.log", port):
        client = admin.AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        for made in client.create_topics([admin.NewTopic(TOPIC, PARTITIONS, 1)]).values():
            made.result(100)
        yield {"FANION_SINKS_KAFKA_BROKERS": f"127.0.0.1:{port}"}


@contextlib.contextmanager
def mock_brokers() -> Iterator[dict[str, str]]:
    """librdkafka's, in this process."""
    library: Any = pytest.importorskip("confluent_kafka")
    mock = library.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    found = mock.list_topics(timeout=100).brokers.values()
    yield {"FANION_SINKS_KAFKA_BROKERS": ",".join(f"{each.host}:{each.port}" for each in found)}
    del mock


def messages(environment: dict[str, str], wanted: int) -> list[tuple[bytes, bytes]]:
    """Key and value of all that the topic has, once `wanted` keys are among them."""
    library: Any = pytest.importorskip("confluent_kafka")
    consumer = library.Consumer(
        {
            "bootstrap.servers": environment["FANION_SINKS_KAFKA_BROKERS"],
            "group.id": "test",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "log_level": 0,
        }
    )
    partitions = consumer.list_topics(TOPIC, timeout=100).topics[TOPIC].partitions
    consumer.assign([library.TopicPartition(TOPIC, number, 0) for number in partitions])
    found: list[tuple[bytes, bytes]] = []
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        part = consumer.consume(10_000, 1.0)
        for message in part:
            assert message.error() is None, message.error()
            found.append((message.key(), message.value()))
        if not part and len({key for key, _ in found}) >= wanted:
            break
    consumer.close()
    return found


class NatsServers:
    """NATS with JetStream that syncs each write before it is acknowledged; several are one cluster. `more`: of
    their configuration."""

    def __init__(self, directory: Path, count: int = 1, more: str = "") -> None:
        self._program = program("NATS_SERVER")
        self._directory = directory
        ports = free_ports(2 * count)
        self.ports, routes = ports[:count], ports[count:]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        directory.mkdir(parents=True, exist_ok=True)
        for number, (port, route) in enumerate(zip(self.ports, routes, strict=True)):
            lines = [
                f"server_name: server-{number}",
                f"listen: 127.0.0.1:{port}",
                f'jetstream {{ store_dir: "{self.store(number)}", sync_interval: always, max_file_store: 20GB }}',
                "max_payload: 8MB",
                more,
            ]
            if count > 1:
                others = ", ".join(f"nats://127.0.0.1:{other}" for other in routes)
                lines.append(f"cluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{others}] }}")
            self._configuration(number).write_text("\n".join(lines))

    def store(self, number: int) -> Path:
        return self._directory / f"store-{number}"

    def url(self, name: str, scheme: str = "nats") -> str:
        """The address of what lies there under a name."""
        return f"{scheme}://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/{name}"

    def start(self, number: int = 0) -> None:
        with (self._directory / f"server-{number}.log").open("ab") as log:
            command = [self._program, "-c", str(self._configuration(number))]
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def ready(self, number: int = 0) -> None:
        """Waits for it to take connections."""
        process, deadline = self._processes[number], time.monotonic() + START_TIMEOUT_S
        while True:
            assert process is not None
            assert process.poll() is None, self.log(number)[-2_000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[number]), 1):
                return
            assert time.monotonic() < deadline, self.log(number)[-2_000:]
            time.sleep(0.02)

    def stop(self, number: int = 0) -> None:
        """As an operator does: it writes down where it is."""
        self._signal(number, signal.SIGTERM)
        process = self._processes[number]
        assert process is not None
        process.wait(START_TIMEOUT_S)
        self._processes[number] = None

    def kill(self, number: int = 0) -> None:
        process = self._processes[number]
        if process is not None:
            process.kill()
            process.wait()
            self._processes[number] = None

    def pause(self, number: int = 0) -> None:
        """It takes connections and bytes, and answers nothing any more."""
        self._signal(number, signal.SIGSTOP)
        process = self._processes[number]
        assert process is not None
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)  # its threads may answer until then

    def go_on(self, number: int = 0) -> None:
        self._signal(number, signal.SIGCONT)

    def change(self, old: str, new: str, number: int = 0) -> None:
        """Something in the configuration, which it reads again."""
        path = self._configuration(number)
        path.write_text(path.read_text().replace(old, new))
        self._signal(number, signal.SIGHUP)

    def log(self, number: int = 0) -> str:
        return (self._directory / f"server-{number}.log").read_text()

    def close(self) -> None:
        for number in range(len(self.ports)):
            self.kill(number)

    def _signal(self, number: int, which: signal.Signals) -> None:
        process = self._processes[number]
        assert process is not None
        process.send_signal(which)

    def _configuration(self, number: int) -> Path:
        return self._directory / f"server-{number}.conf"


@contextlib.contextmanager
def nats_servers(directory: Path, count: int = 1, more: str = "") -> Iterator[NatsServers]:
    """Running ones."""
    servers = NatsServers(directory, count, more)
    try:
        for number in range(count):
            servers.start(number)
        for number in range(count):
            servers.ready(number)
        yield servers
    finally:
        servers.close()
