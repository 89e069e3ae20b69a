"""The HTTP server's threads in each worker: how many, under how many runtimes, and what each runtime counts.

By ASGI a worker's Python is one thread. Beside it the HTTP server reads and writes sockets, and each request
crosses to that thread and back. Each runtime accepts from the worker's one listening socket, and a connection stays
with the runtime that took it. One that has its share of the connections accepts none until one of them ends, so the
others take what comes, however unevenly they filled up.

Decision (2026-11-29, of ASGI alone since 2026-11-30). Options: one thread; two in every worker; two where workers
have no cores to spare. Choice: the last, with a runtime for each thread. Reason, by requests a second of a bulk of
two flags: one worker on one core 24,806 and 34,885, two workers on two cores, which the generator shared, 34,921
and 39,767; but one worker with a core to spare 44,361 and 38,154. A third and a fourth thread gained nothing, one
runtime for both threads half as much (28,224, 29,682). A cgroup's quota is no lack of cores: threads run beside
each other under it, where two take more CPU a request (34.5 µs for 27.5), and CPU is what a quota gives. On one
core p99 at four fifths of what one thread can do is 1.2 to 2.4 times as long, which was taken for the throughput.
By RSGI requests don't cross since (`process.lane`), and a second thread costs more than it gains, so it is one.
`bench/README.md` has the commands.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from fanion.config import Server

THREADS_WITHOUT_SPARE_CORES: Final = 2


class Runtimes(NamedTuple):
    """`mode`: `mt`, one runtime for all threads, or `st`, one for each. `connections`: each runtime's most."""

    mode: Literal["mt", "st"]
    threads: int
    connections: int


def runtimes_of(settings: Server, workers: int, cores: int) -> Runtimes:
    """For each of `workers`, whose threads may be on `cores`. What is set is taken as it is, but in `st` no more
    threads than connections; all runtimes together take `server.backpressure`, or what of it divides evenly."""
    one = settings.interface == "rsgi" or workers < cores
    threads = settings.runtime_threads or (1 if one else THREADS_WITHOUT_SPARE_CORES)
    mode = settings.runtime_mode
    if mode == "auto":
        mode = "st" if threads > 1 or settings.interface == "rsgi" else "mt"
    if mode == "mt":
        return Runtimes(mode, threads, settings.backpressure)
    threads = min(threads, settings.backpressure)
    return Runtimes(mode, threads, settings.backpressure // threads)
