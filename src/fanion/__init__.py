"""Fanion: a self-hosted feature-flag evaluation and event-ingest server.

Definitions carry semantics, dialects carry wire shapes, one core decides. In reading order:

    model        the nouns; `model.program` is the decision program that everything meets at
    definitions  reading files, lowering them to the program; `definitions.sources.<name>` is one format each
    bundle       the program as one flat value per environment: format, compiler, reader
    store        LMDB: generations of bundles, keys and lists, read from the memory map
    engine       deciding: the facade over the compiled core, and its plain-Python twin
    auth         API keys, limits
    journal      accepted events on disk: ring, log segments, recovery, reader, the window of event ids
    pipeline     rows of the journal's events as Parquet files, each once, and SQL over them
    preview      what a publication would change, and for whom
    sinks        rows for others: objects, Kafka, a file, a command; each with a checkpoint of its own
    nats         a connection to NATS, as blocking calls
    places       what machines publish to and follow: signed manifests, encrypted objects; a folder, a bucket, NATS
    shipping     the journal's records to a stream of NATS JetStream, until it was seen to have them; and from there
                 into another machine's rows
    archive      the journal's finished log segments as objects in a folder or a bucket, and back
    results      what the rows say of experiments: differences, and how sure they are
    dialects     `dialects.<name>` speaks one public API; `dialects.wire` is what all of them are made from
    http         ASGI or RSGI: routing, bodies, the order of checks; it knows no API's word
    process      supervisor, worker, what operators ask, data directory
    telemetry    metrics and logs
    console      the web pages beside the probes, in the operations process
    config       every setting with its bounds; `config.loading` reads them
    plain_files  opening what others name: never a pipe, a device or what has no end
    small_files  replacing what we keep: the old file or the new one, whatever ends when; damage is told
    clock        how far the wall clock is believed where something can't be taken back
    inprocess    evaluating in a process of one's own, without a server; `openfeature` is a provider on top of it,
                 and `tracking` sends its events to a server
    app          the composition root: what a server is built from, in which order, and how it stops; what a worker
                 is built from stands in `process.worker`. Definitions are compiled and stored here, too
    cli          one module per verb

Imports run one way, and `tests/meta/test_meta_imports.py` has the arrows: app, cli → process → http →
dialects.wire; dialects.<name> → wire, engine, auth; store → bundle; model and errors sit under all. Only `journal`
and `bundle` know their file formats.

One evaluation. Before it, once per publication:

    `cli.publish.command`                    `fanion publish`; what it does with a publication stands in
                                             `app.publish`
    `definitions.load`                       files to checked documents, and each source lowered into an
                                             environment
    `definitions.lowering.builder.Builder`   collects slots, decisions and parameters: a `model.program.Lowered`
    `app.reuse.served_bundles`               what was compiled from the same before, and stays
    `bundle.compiler.compile_bundle`         program and tables as one flat value; it asks each dialect that serves
                                             the environment (`app.compiling` knows which) for its table:
    `dialects.feather.emit.render`           answers as fragments of JSON, ready to be copied
    `store.store.Store.publish`              one transaction, a new generation; every worker sees its number

and then per request, here Feather's for many flags. Its handlers stand in its `routes`; larger dialects have
theirs in `evaluate`, `resolve`, `events`:

    `process.supervisor.Supervisor`          Granian: a socket for each worker, HTTP/1, ASGI; it calls
                                             `process.worker.Worker.application`, at first for the lifespan
    `_core.entrance`                         made once a worker (`process.worker.Worker`, `http.entrance`): takes
                                             a usual request through all checks without a step of Python between
    `http.app.make_handler`                  every other one, in the same order: the reference
    `http.router.Router`                     `exact`: its path to a `dialects.wire.dialect.Dialect` and its methods;
                                             `find` for shared paths, prefixes and paths of nobody
    `dialects.wire.dialect.Dialect.credentials`
                                             the raw key out of the headers (`dialects.wire.credentials.bearer`)
    `store.reload.Reloader.current`          the generation in force; its `store.reload.Snapshot.known_key` has the
                                             key, `store.reload.Snapshot.view` has what each dialect bound of the
                                             bundle
    `process.worker.Worker`                  made that view (`_make_view`), at the environment's first use in this
                                             worker and after each publish that changed it: a slice of the map
                                             (`store.generation.PinnedGeneration.bundle`), verified whole
                                             (`engine.evaluator.open_environment`), bound by each dialect
    `dialects.feather.routes.evaluate_bulk`  its handler: `dialects.feather.schema` reads the body, the bundle
                                             answers
    `_core.evaluate.Bundle`                  `ext/fanion/_core/evaluate.pyx`: finds each key in the table, runs its
                                             decision over the map (`kernel.pxd` is the loop), binds an attribute
                                             when a node first reads it (`binding.pyx`; `expression.pyx` computes
                                             those that expressions give; `match.pxd` tests them, `choice.pxd`
                                             draws), and copies the fragment (`emit_json.pxd`);
                                             `engine.reference` says the same in plain Python

One event, from a request to whoever reads it:

    `dialects.feather.routes.take_events`    checks the batch; what is kept are its events' own bytes, the whole
                                             body or an array of those that were taken
    `journal.window.EventWindow.reserve`     of APIs with event ids (`dialects.traffical.events`): repeats are
                                             marked; then append, then commit, nothing awaited between
    `dialects.wire.ingest`                   into the journal, and the answer when the record is safe
    `journal.writer.JournalWriter.append`    one record into the worker's mapped ring, `_core.ring.Ring.append`
    `_core.journal_writer.NativeWriter`      the writer thread, `ext/include/fanion_writer.h`: ring to log segment,
                                             one sync for all that wait; `journal.steward.Steward` makes and seals
                                             segments
    `journal.writer.JournalWriter.durable`   what the answer waits for: resolved by the writer's signal
    `journal.recovery.recover`               what a dead worker's ring still holds: at a start by
                                             `journal.session.open_session`, soon after a death by another worker's
                                             steward
    `journal.reader.JournalReader.read`      records, each once; `journal.event.expand` makes canonical events of
                                             them by `dialects.feather.canonical`, and `cli.journal.cat` prints
                                             those
    `journal.columns.Expander`               or columns of whole batches, by
                                             `_core.rows`; `journal.rows` says the same row by row
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanion.inprocess.answers import Evaluation
    from fanion.inprocess.evaluator import Evaluator

__all__ = ["Evaluation", "Evaluator", "__version__"]

__version__: str


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: the version takes longer than everything else of a short command."""
    if name == "Evaluator":
        from fanion.inprocess.evaluator import Evaluator

        return Evaluator
    if name == "Evaluation":
        from fanion.inprocess.answers import Evaluation

        return Evaluation
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fanion")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
