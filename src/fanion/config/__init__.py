"""Every setting and every limit of the server, with its unit and its reason: one frozen `Config`.

A setting `port` of the group `server` is `port` under `[server]` in `fanion.toml`, `FANION_SERVER_PORT` in the
environment and `server.port` in messages; `config.loading` reads them. What a dialect has settings of its own for
stands in its folder and is handed in with the vocabulary; it may add to a group here or bring one of its own.
This module imports nothing of ours but `config.sinks`, `config.pipeline`, `config.places`, `config.shipping` and
`config.archive`, so that every part can be handed its own group."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from fanion.config.archive import Archive
from fanion.config.pipeline import Pipeline
from fanion.config.places import Places
from fanion.config.shipping import Shipping
from fanion.config.sinks import Sinks

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Own = TypeVar("Own", bound=msgspec.Struct)


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sockets, workers and how they start and stop."""

    host: Annotated[str, Meta(min_length=1, description="address of the public API")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port of the public API; 0: a free one")] = 8080
    workers: Annotated[
        int,
        Meta(ge=0, le=256, description="worker processes; 0: one per core that the process may use"),
    ] = 0
    interface: Annotated[
        Literal["asgi", "rsgi"],
        Meta(
            description="asgi or rsgi, between HTTP server and application; how they differ: docs/interfaces.md"
        ),
    ] = "asgi"
    runtime_mode: Annotated[
        Literal["auto", "mt", "st"],
        Meta(description="mt: one for all runtime_threads, st: one for each; auto: mt where asgi has one"),
    ] = "auto"
    runtime_threads: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="of a worker's HTTP server; 0: one, by asgi two where no core is to spare",
        ),
    ] = 0
    operations_host: Annotated[
        str,
        Meta(
            min_length=1,
            description="address of /healthz, /readyz, /metrics, /openapi; whoever reaches it may ask",
        ),
    ] = "127.0.0.1"
    operations_port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="port of these and of /console; 0: a free one"),
    ] = 8081
    operations_names: Annotated[
        str,
        Meta(
            description="names, besides localhost and addresses, by which /metrics may be asked; commas between"
        ),
    ] = ""
    console: Annotated[
        Literal["auto", "token", "off"],
        Meta(
            description="/console beside them; auto: without a token where operations_host is a loopback address, "
            "token: never without (`fanion console token`), off: none; needs fanion[console]"
        ),
    ] = "auto"
    console_session_h: Annotated[
        float,
        Meta(ge=0.1, le=720, description="hours after which the console asks for its token again"),
    ] = 12.0
    trusted_proxies: Annotated[
        str,
        Meta(description="addresses and networks whose X-Forwarded-For names a key's source; empty: none"),
    ] = ""
    backlog: Annotated[
        int,
        Meta(ge=1, le=65_535, description="connections that the kernel queues, at most its somaxconn"),
    ] = 4096
    backpressure: Annotated[
        int,
        Meta(
            ge=1, le=1_000_000, description="connections a worker; counts idle and slow ones too, hence high"
        ),
    ] = 16_000
    header_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1, le=300, description="seconds for a request's head, begun or, on a new connection, awaited"
        ),
    ] = 5.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3_600,
            description="seconds that a connection may be idle; above its proxy's, and header_timeout_s at least",
        ),
    ] = 75.0
    write_timeout_s: Annotated[
        float,
        Meta(
            ge=1, le=3_600, description="seconds that a peer may take nothing of an answer; then it is reset"
        ),
    ] = 10.0
    streams_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="event streams a worker keeps open, at most half of its connections; then 503",
        ),
    ] = 8_000
    stream_heartbeat_s: Annotated[
        float,
        Meta(ge=0.1, le=600, description="seconds between two heartbeats of an event stream"),
    ] = 15.0
    header_buffer_bytes: Annotated[
        int,
        Meta(ge=8 * KIB, le=MIB, description="bytes a connection buffers; a longer head is 431"),
    ] = 64 * KIB
    respawn_interval_s: Annotated[
        float,
        Meta(ge=0.01, le=60, description="seconds before a worker that died is started again"),
    ] = 0.1
    heartbeat_timeout_s: Annotated[
        float,
        Meta(ge=2, le=3_600, description="seconds that a worker may stand still before it is killed"),
    ] = 4.0
    stop_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=300, description="seconds for requests in flight and the journal at SIGTERM"),
    ] = 4.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request may be. Beyond a limit the answer is that API's own 4xx, never a crash."""

    body_bytes_max: Annotated[
        int,
        Meta(ge=KIB, le=64 * MIB, description="bytes of an evaluation request's body, after decoding"),
    ] = MIB
    ingest_body_bytes_max: Annotated[
        int,
        Meta(ge=KIB, le=64 * MIB, description="bytes of an event batch's body, after decoding"),
    ] = 5 * MIB
    bodies_bytes_max: Annotated[
        int,
        Meta(
            ge=MIB,
            le=2**46,
            description="bytes that a worker holds of bodies in pieces or compressed; then 503",
        ),
    ] = 64 * MIB
    answers_bytes_max: Annotated[
        int,
        Meta(
            ge=MIB,
            le=2**46,
            description="bytes of answers above 64 KiB that a worker is sending; beyond, 503",
        ),
    ] = 64 * MIB
    body_chunk_timeout_s: Annotated[
        float,
        Meta(ge=0.05, le=300, description="seconds to wait for the next piece of a body; then 408"),
    ] = 2.0
    body_timeout_s: Annotated[
        float,
        Meta(ge=0.05, le=600, description="seconds for a whole body; then 408"),
    ] = 10.0
    json_depth_max: Annotated[
        int,
        Meta(ge=4, le=512, description="nesting; the decoder itself ends at about 1,000"),
    ] = 64
    json_keys_max: Annotated[
        int,
        Meta(ge=16, le=100_000, description="members of one object; 100,000 take 17 ms to read"),
    ] = 1_000
    json_string_bytes_max: Annotated[
        int,
        Meta(ge=256, le=MIB, description="bytes of one string in a context"),
    ] = 64 * KIB
    json_integer_digits_max: Annotated[
        int,
        Meta(ge=20, le=4_000, description="digits of one number; longer ones cost more than they can mean"),
    ] = 400
    json_tokens_max: Annotated[
        int,
        Meta(
            ge=1_024,
            le=1_000_000,
            description="names, values and brackets of one body; 65,536 take 5 ms. A number with an exponent from "
            "20 on counts as 16, from 100 on as 256",
        ),
    ] = 65_536
    ingest_json_tokens_max: Annotated[
        int,
        Meta(ge=1_024, le=10_000_000, description="the same of a batch of events, contexts or pairs"),
    ] = 400_000
    flags_per_request_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="flags of one bulk evaluation, repetitions counted"),
    ] = 100
    events_per_request_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="events of one telemetry batch"),
    ] = 100


class Limiter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request rates, counted over all workers."""

    machines: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="machines behind one address, of which each lets through an equal share of every rate",
        ),
    ] = 1
    bad_keys_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="unknown keys a minute and source that are looked for by this machine; 0: no limit",
        ),
    ] = 20
    slots: Annotated[
        int,
        Meta(ge=1_024, le=16_777_216, description="scopes counted at a time, 16 bytes each; a power of two"),
    ] = 65_536


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where bundles and keys are kept."""

    map_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=2**46,
            description="bytes the store may grow to; address space, not disk or memory. "
            "Stop every server of the directory before changing it",
        ),
    ] = 64 * GIB
    tick_s: Annotated[
        float,
        Meta(ge=0.05, le=60, description="seconds between looks at the committed generation, also when idle"),
    ] = 1.0
    key_cache_entries: Annotated[
        int,
        Meta(ge=16, le=10_000_000, description="API keys that a worker remembers for one generation"),
    ] = 65_536


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How events are kept; the journal's own figures stand in its settings."""

    ack: Annotated[
        Literal["durable", "buffered", "replicated"],
        Meta(description="answer events once on disk, once no dead process loses them, or once shipped, too"),
    ] = "durable"
    ring_bytes: Annotated[
        int,
        Meta(
            ge=65_536, le=4 * GIB, description="bytes of each worker's ring; a record takes a quarter at most"
        ),
    ] = 32 * MIB
    segment_bytes: Annotated[
        int,
        Meta(ge=65_536, le=4 * GIB, description="bytes of a log segment made ready in advance"),
    ] = 64 * MIB
    sync_interval_ms: Annotated[
        float,
        Meta(ge=0, le=1_000, description="least time between two fdatasyncs; 0: as soon as data waits"),
    ] = 0.0
    reserve_bytes: Annotated[
        int,
        Meta(ge=0, le=2**46, description="bytes left free on the disk; events are refused before that"),
    ] = 256 * MIB
    retention_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="hours that events are kept once every reader is past; 0: for ever",
        ),
    ] = 7 * 24.0
    retention_bytes: Annotated[
        int,
        Meta(ge=0, le=2**60, description="bytes of log segments above which the oldest go; 0: no limit"),
    ] = 64 * GIB
    retention_forced: Annotated[
        bool,
        Meta(description="remove also what a registered reader has not passed yet"),
    ] = False
    clock_trust_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="hours that a wall clock which jumped must stay so before events are deleted by it",
        ),
    ] = 24.0
    compress: Annotated[
        bool,
        Meta(description="compress finished log segments in the background"),
    ] = True
    event_ids: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**32,
            description="event ids remembered of each tenant at least, 64 bytes each once they came",
        ),
    ] = 4_194_304
    used_traces: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**32,
            description="used traces remembered of each tenant at least, 64 bytes each; to cover their lifetime",
        ),
    ] = 1_048_576


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of the rows about experiments."""

    lead_s: Annotated[
        float,
        Meta(ge=0, le=3_600, description="seconds before its exposure that a unit's events count from"),
    ] = 5.0


class Exposures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server's own exposures; which are recorded is the definitions' to say."""

    marks: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**32,
            description="exposures of a day remembered at most, 8 bytes each; a power of two; others are repeated",
        ),
    ] = 2_097_152


class Tracing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spans, of requests that carry a sampled `traceparent`."""

    url: Annotated[
        str, Meta(description="http(s):// address that OTLP spans go to; empty: none. Needs fanion[otel]")
    ] = ""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One JSON line an event, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="the least that is written"),
    ] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; each group goes to the part that it governs. `own`: what dialects add, a struct of each."""

    server: Server = Server()
    limits: Limits = Limits()
    limiter: Limiter = Limiter()
    store: Store = Store()
    journal: Journal = Journal()
    exposures: Exposures = Exposures()
    pipeline: Pipeline = Pipeline()
    sinks: Sinks = Sinks()
    places: Places = Places()
    shipping: Shipping = Shipping()
    archive: Archive = Archive()
    results: Results = Results()
    tracing: Tracing = Tracing()
    log: Log = Log()
    own: tuple[msgspec.Struct, ...] = ()

    def of(self, kind: type[Own]) -> Own:
        """A dialect's own settings, as they were given or by default."""
        return next((one for one in self.own if isinstance(one, kind)), None) or kind()
