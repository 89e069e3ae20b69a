"""NATS, as blocking calls of one thread.

Modules: `address` (what a NATS address is), `connection` (one connection, and what it raises). What lies there is
others': `places.nats` keeps publications in a key-value bucket.

Decisions
    2026-11  The library's loop runs only while a call waits, in the caller's thread. Rejected: a thread with a
             loop. Callers wait for each answer anyway, threads don't cross a fork, and a loop that stands has
             nothing to do: what comes meanwhile lies in the socket. The price: a server that gets no answer to its
             pings for minutes closes, and the caller connects again.
    2026-11  No reconnecting inside. A lost connection fails what was asked, at once, and whoever asked begins again
             after a while of its own. The library's own reconnecting keeps what was written for later: a manifest
             that was given up could still be moved by it minutes after.
"""
