"""The journal's events as Parquet: each row once, whatever is killed. This is the format document.

Modules: `pipeline` (reads the journal on, commits steps) -> `parquet` (writes and merges files), `manifest` (what
counts); `flags` (whose parameter); `query` (SQL over the rows).

Files, in DIR/rows (0700, files 0600)
    manifest.json     which files count, and how far the journal has been read; renamed into place
    STEP-N.parquet    rows (docs/rows.md) of one environment and day of receipt; zstd
    lock              its flock is the claim: one pipeline of a data directory at a time
    *.tmp             files being made
    query-*           what a query spills, while it runs

A step: the rows of what was read, as files, synced; their directory synced; then the manifest that names them and
says how far they go, synced and renamed. Only then the journal's reader commits, so that retention never takes what
no manifest covers. Files that the manifest doesn't name don't exist: what a kill left is removed at the next start,
and what a step replaced (by merging, by age) `LEAVING_S` after it, so that a query that began before can end.

The manifest's place in the journal is the authority, not the registered reader's. A place of another journal
doesn't count (`journal.reader`): a journal that is new is read from its beginning, and its rows have its machine.

Decisions
    2026-11  One manifest with files and place together, and not a place committed beside the files: two commits
             can't be one step, and then a kill between them loses or repeats rows.
    2026-11  Days are those of receipt, not of the event: then a day that is over gets no more rows.
"""
