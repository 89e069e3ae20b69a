"""Fanion: a self-hosted feature-flag evaluation and event-ingest server.

Definitions carry semantics, dialects carry wire shapes, one core decides. In reading order:

    model        the nouns; `model.program` is the decision program that everything meets at
    definitions  reading files, lowering them to the program; `definitions.sources.<name>` is one format each
    bundle       the program as one flat value per environment: format, compiler, reader
    store        LMDB: generations of bundles, keys and lists, read from the memory map
    engine       deciding: the facade over the compiled core, and its plain-Python twin
    auth         API keys, limits
    journal      accepted events on disk: ring, log segments, recovery, reader
    dialects     `dialects.<name>` speaks one public API; `dialects.wire` is what all of them are made from
    http         the ASGI app: routing, bodies, the order of checks; it knows no API's word
    process      supervisor, worker, data directory
    telemetry    metrics and logs
    app          the composition root: what a server is built from, in which order, and how it stops
    cli          one module per verb

Imports run one way, and `tests/meta/test_meta_imports.py` has the arrows: app, cli → process → http →
dialects.wire; dialects.<name> → wire, engine, auth; store → bundle; model and errors sit under all. Only `journal`
and `bundle` know their file formats.
"""

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: that takes longer than everything else of a short command."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fanion")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
