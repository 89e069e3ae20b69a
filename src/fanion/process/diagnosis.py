"""What of this machine and directory is as a server wants it, what isn't, and what to do: `fanion doctor`.

Read-only but for one file of 64 KiB that measures the disk and is removed. It asks no server and needs none; what a
running one says of itself is `/readyz`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

from fanion.clock.keeper import boot_id, describe, look_at, read_belief
from fanion.config import MIB, Config
from fanion.errors import ServeError, StoreError, StoreMissingError
from fanion.process.directory import LOCK_NAME, MEMORY, check_directory, filesystem_of
from fanion.process.machine import connections_within, cores_to_run_on, usable_cores
from fanion.process.runtimes import runtimes_of
from fanion.store.store import Store

Verdict = Literal["ok", "look", "bad"]

SYNCS: Final = 40
SYNC_BYTES: Final = 64 << 10
SYNC_LOOK_MS: Final = 10.0
PROMISE_MS: Final = 50.0
"""From an event's receipt to its being durable."""
LIBRARIES: Final = ("granian", "uvloop", "msgspec", "lmdb", "xxhash")
EXTRAS: Final = {
    "results": ("pyarrow", "duckdb", "scipy"),
    "sinks": ("pyarrow", "obstore", "confluent-kafka"),
    "machines": ("obstore", "cryptography", "nats-py"),
    "openfeature": ("openfeature-sdk",),
    "console": ("jinja2",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
}
UNKNOWN: Final = "not installed"
MEMORY_A_WORKER: Final = 60 * MIB
"""Of its own, beside what workers share: interpreter, modules, one environment of some thousand flags."""


class Finding(NamedTuple):
    """`advice`: what to do, where it isn't well."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


def diagnose(directory: Path, config: Config) -> list[Finding]:
    """In a fixed order. Raises nothing that a finding can say."""
    looks: tuple[Callable[[Path, Config], Iterator[Finding]], ...] = (
        _versions,
        _directory,
        _disk,
        _sync,
        _store,
        _clock,
        _cores,
        _memory,
        _files,
        _ports,
    )
    found: list[Finding] = []
    for look in looks:
        try:
            found += look(directory, config)
        except OSError as error:
            found.append(Finding(look.__name__.strip("_"), "look", f"can't be looked at: {error.strerror}"))
    return found


def _versions(_directory: Path, _config: Config) -> Iterator[Finding]:
    names = [f"{name} {_version(name)}" for name in LIBRARIES]
    python = platform.python_version()
    yield Finding("versions", "ok", f"fanion {_version('fanion')}, Python {python}, {', '.join(names)}")
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if _version(package) == UNKNOWN]
        if missing:
            advice = f"pip install 'fanion[{extra}]', where that is wanted"
            yield Finding(f"extra {extra}", "ok", f"without {', '.join(missing)}", advice)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN


def _directory(directory: Path, config: Config) -> Iterator[Finding]:
    try:
        odd = check_directory(directory, memory_allowed=config.journal.ack == "buffered")
    except ServeError as error:
        yield Finding("directory", "bad", str(error))
        return
    yield Finding("directory", "look" if odd else "ok", odd or "readable and writable")
    kind = filesystem_of(directory) or "a file system that can't be told"
    forgets = kind in MEMORY
    yield Finding(
        "file system", "look" if forgets else "ok", kind, "it forgets at a reboot" if forgets else ""
    )


def _disk(directory: Path, config: Config) -> Iterator[Finding]:
    usage = shutil.disk_usage(directory)
    needed = config.journal.reserve_bytes + 2 * config.journal.segment_bytes
    free = f"{usage.free // MIB:,} MiB of {usage.total // MIB:,} are free"
    if usage.free < needed:
        advice = f"below {needed // MIB:,} MiB no events are taken (journal.reserve_bytes)"
        yield Finding("disk", "bad", free, advice)
    elif usage.free < 4 * needed:
        yield Finding("disk", "look", free, f"no events are taken below {needed // MIB:,} MiB")
    else:
        yield Finding("disk", "ok", free)
    left = os.statvfs(directory)
    if left.f_files and left.f_favail < 1_000:
        yield Finding("inodes", "bad", f"{left.f_favail:,} are free", "segments are files")


def _sync(directory: Path, _config: Config) -> Iterator[Finding]:
    if not os.access(directory, os.W_OK):
        yield Finding("disk's sync", "look", "not measured: nothing can be written here")
        return
    times = sorted(sync_times(directory))
    median, most = times[len(times) // 2], times[-1]
    found = f"{SYNCS} of 64 KiB: median {median:.1f} ms, longest {most:.1f} ms"
    if most > PROMISE_MS:
        advice = f"events are to be durable within {PROMISE_MS:.0f} ms; another disk, or less beside it"
        yield Finding("disk's sync", "bad", found, advice)
    else:
        slow = median > SYNC_LOOK_MS
        advice = "a network disk, or one without a write cache of its own?" if slow else ""
        yield Finding("disk's sync", "look" if slow else "ok", found, advice)


def sync_times(directory: Path) -> Iterator[float]:
    """Milliseconds of one write and fdatasync after the other, over a file that is there already."""
    descriptor, name = tempfile.mkstemp(prefix="doctor-", suffix=".tmp", dir=directory)
    try:
        block = os.urandom(SYNC_BYTES)
        os.pwrite(descriptor, block, 0)
        os.fsync(descriptor)
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(descriptor, block, 0)
            os.fdatasync(descriptor)
            yield (time.perf_counter() - began) * 1e3
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def _store(directory: Path, config: Config) -> Iterator[Finding]:
    try:
        with Store.open(directory, map_bytes=config.store.map_bytes) as store:
            count = len(store.manifest_environments())
            yield Finding("store", "ok", f"generation {store.generation()}, environments: {count:,}")
    except StoreMissingError as error:
        yield Finding("store", "look", "nothing is published here yet", str(error))
    except StoreError as error:
        yield Finding("store", "bad", str(error))


def _clock(directory: Path, _config: Config) -> Iterator[Finding]:
    if read_belief(directory) is None:
        yield Finding("clock", "ok", "no server has followed it yet")
        return
    words = describe(look_at(directory))
    if words:
        advice = "set it right, or say that it is right: `fanion journal trust-clock`"
        yield Finding("clock", "bad", words, advice)
    else:
        yield Finding("clock", "ok", f"as it was followed (boot {boot_id()[:8]})")


def _cores(_directory: Path, config: Config) -> Iterator[Finding]:
    cores = usable_cores()
    workers = config.server.workers or cores
    threads = runtimes_of(config.server, workers, cores_to_run_on()).threads
    found = f"{cores} to be used, {workers} worker{'s' if workers != 1 else ''}"
    found += f", {threads} thread{'s' if threads != 1 else ''} of the HTTP server in each"
    if workers > 2 * cores:
        yield Finding("cores", "look", found, "more workers than cores only take memory (server.workers)")
    else:
        yield Finding("cores", "ok", found)


def _memory(directory: Path, config: Config) -> Iterator[Finding]:
    available = memory_available()
    if available is None:
        yield Finding("memory", "look", "can't be told here")
        return
    workers = config.server.workers or usable_cores()
    shared = sum(path.stat().st_size for path in (directory / "store").glob("*.mdb"))
    wanted = workers * (MEMORY_A_WORKER + config.journal.ring_bytes) + shared
    found = f"{available // MIB:,} MiB are available, about {wanted // MIB:,} are wanted"
    if available < wanted:
        advice = "fewer workers, a smaller journal.ring_bytes, or more memory"
        yield Finding("memory", "bad" if available < wanted // 2 else "look", found, advice)
    else:
        yield Finding("memory", "ok", found)


def memory_available(root: Path = Path("/")) -> int | None:
    """Bytes that may still be taken: by the machine, and by the control group where that is less."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, StopIteration, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024)
    group = root / "sys/fs/cgroup"
    for limit, taken in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            found.append(int((group / limit).read_text()) - int((group / taken).read_text()))
    return max(0, min(found)) if found else None


def _files(_directory: Path, config: Config) -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = None if hard == resource.RLIM_INFINITY else hard
    wanted = config.server.backpressure
    taken = connections_within(allowed, wanted)
    found = f"{'any number' if allowed is None else f'{allowed:,}'} may be open"
    if taken < wanted:
        advice = f"a worker takes {taken:,} connections, not {wanted:,}; raise `ulimit -n`"
        yield Finding("open files", "look", found, advice)
    else:
        yield Finding("open files", "ok", found)


def _ports(directory: Path, config: Config) -> Iterator[Finding]:
    running = _is_served(directory)
    for what, host, port in (
        ("port of the API", config.server.host, config.server.port),
        ("port of the operations", config.server.operations_host, config.server.operations_port),
    ):
        if port == 0:
            yield Finding(what, "ok", "a free one")
        elif _is_free(host, port):
            yield Finding(what, "ok", f"{host}:{port} is free")
        elif running:
            yield Finding(what, "ok", f"{host}:{port} is taken, and a server has this directory")
        else:
            yield Finding(what, "bad", f"{host}:{port} is taken by another program", "end it, or set another")


def _is_served(directory: Path, locks: Path = Path("/proc/locks")) -> bool:
    """Whether a server holds the directory's lock. Taking it, to see, could keep one from starting."""
    try:
        lock = (directory / LOCK_NAME).stat()
        place = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        return any(place in line.split() for line in locks.read_text().splitlines())
    except OSError:
        return False


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True
