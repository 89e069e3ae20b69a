"""Fanion: a self-hosted feature-flag evaluation and event-ingest server.

Definitions carry semantics, dialects carry wire shapes, one core decides. In reading order:

    model        the nouns; `model.program` is the decision program that everything meets at
    definitions  one module per source format: parse, validate, lower to the program
    bundle       the program as one flat value per environment, in LMDB, read from the memory map
    engine       deciding: the facade over the compiled core, and its plain-Python twin
    auth         API keys, limits
    journal      accepted events on disk: ring, log segments, recovery, reader
    http         the ASGI app; `http.dialects.<name>` speaks one public API each
    telemetry    metrics and logs
    app          the composition root: what a worker builds, in which order, and how it stops
    cli          one module per verb

Imports run one way: cli → app → http → {engine, auth, journal, bundle} → _core; model, errors and config
sit under all. Only `journal` and `bundle` know their file formats.
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
