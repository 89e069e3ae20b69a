"""The HTTP surface, in reading order: what happens to a request from its first byte to its answer.

    asgi        the parts of the server's interface that are used
    router      raw path -> route; shared paths; the dialect that answers for a path of nobody
    request     Host, body (limits, time-outs, how much of them is held)
    encoding    gzip, deflate and zstd bodies
    cors        preflights
    app         the ASGI application: route -> method -> Host -> auth -> limiter -> body -> the dialect's own rules
    steps       what few requests are asked for on that way, and what faults are answered with
    entrance    the usual way natively (`_core.entrance`), before that handler, which is the reference
    answers     large answers, in pieces
    streams     answers that stay open: who is told of a publish, heartbeats, bounds
    health      /healthz
    traced      requests that carry a sampled traceparent, within a span
    rsgi        the HTTP server's own interface before the same handler, and what differs by it

It knows no API's word: what an API is made from stands in `fanion.dialects.wire`, and nothing here opens the store
or a log segment.
"""
