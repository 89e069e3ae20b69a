"""The server as processes: the supervisor, its workers, the data directory that they share.

machine     cores and descriptors that are granted
directory   the data directory: checked, locked, its place watched
diagnosis   what of machine and directory is as it should be
footprint   what it takes on the disk, and can grow to
sockets     the API's port, each worker's own listening socket, the operations' socket
runtimes    the HTTP server's threads in a worker
supervisor  starts workers and the operations process, replaces those that end or stand still
aside       a process beside the workers, kept alive
worker      one worker: what it is built from, in which order it starts and stops
lane        requests without a turn of the event loop, by RSGI
turns       workers that make room for new ones, one after the other
exposures   what its answers leave of recorded splits, in the journal
heads       its connections: those whose head doesn't come are ended
pulse       its heartbeat, and why it should get no requests
contact     when the place that is followed was last heard; staleness: what answers and keys make of it
healing     a damaged store put right in a child, beside its readers
overrides   those whose time is over, taken out by a process of its own
child       a program beside the event loop, bounded in what it may say
results     results of experiments for requests, each computed in a process of its own
operations  /healthz, /readyz, /metrics, the APIs' documents on an address of their own
"""
