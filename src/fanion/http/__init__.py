"""The HTTP surface, in reading order: what happens to a request from its first byte to its answer.

    services    what the parts of a worker offer to a request: snapshots, journal, limiter, counters
    dialect     what a public API is to the server: routes, credentials, faults in its own shape
    router      raw path -> route; shared paths; the dialect that answers for a path of nobody
    request     Host, body (limits, time-outs, encodings)
    json_bounds nesting, members and number lengths of a body; where a decoder's refusal points
    stamps      request ids and times of day, made ahead of need
    app         the ASGI application: route -> method -> auth -> limiter -> body -> the dialect's own rules
    health      /healthz, /readyz, /metrics
    server      Granian as we run it: settings, workers that follow their supervisor
    dialects/   one folder per API: routes (endpoints), schema (request bodies), emit (fragments, envelopes)

Dialects don't import each other, and nothing here opens the store or a log segment.
"""
