"""The journal's events as Parquet: each row once, whatever is killed. This is the format document.

Modules: `service` (the loop, and the process under a server) -> `pipeline` (reads a source on, commits steps)
-> `source` (the journal; a stream is `shipping.downstream`), `parquet` (writes and merges files), `manifest`
(what counts); `pace` (how it gives way); `published` (whose parameter, and what environments want of their
rows); `query` (SQL over the rows); `forgetting` (a unit leaves); `loop` and `said` (of others that read the
journal on: sinks, shipping, the archive).

Files, in DIR/rows (0700, files 0600)
    manifest.json     which files count, and how far the journal has been read; renamed into place
    STEP-N.parquet    rows (docs/rows.md) of one environment and day of receipt; zstd
    lock              its flock is the claim: one pipeline of a data directory at a time
    turn              its flock is held by who wants the rows for a while; the pipeline stands aside meanwhile
    *.tmp             files being made
    query-*           what a query spills, while it runs

A step: the rows of what was read, as files, synced; their directory synced; then the manifest that names them and
says how far they go, synced and renamed. Only then, and not with every step, the journal's reader commits, so that
retention never takes what no manifest covers. Files that the manifest doesn't name don't exist: what a kill left is
removed at the next start, and what a step replaced (by merging, by age) `LEAVING_S` after it, so that a query that
began before can end.

The manifest's place in the journal is the authority, not the registered reader's. A place of another journal
doesn't count (`journal.reader`): a journal that is new is read from its beginning, and its rows have its machine.

Decisions
    2026-11  One manifest with files and place together, and not a place committed beside the files: two commits
             can't be one step, and then a kill between them loses or repeats rows.
    2026-11  Days are those of receipt, not of the event: then a day that is over gets no more rows.
    2026-11  Under a server it is a process that the supervisor forks, and off by default: Arrow takes some 100 MB,
             and who asks for no rows pays nothing. Where it is asked for and the extra is missing, the server
             serves all else and says so.
    2026-11  It holds log segments back as long as the disk has room, and no longer: events that come are worth more
             than rows of those that came. What leaves unread is written down first, by segment (`journal.gaps`).
"""

from importlib.util import find_spec


def missing_library() -> str:
    """What the extra would bring and isn't there, for rows to be made; "" where nothing is missing."""
    return "" if find_spec("pyarrow") else "pyarrow"
