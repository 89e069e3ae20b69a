"""What operators see.

metrics     one catalogue, counted over all workers in shared memory; exposition writes it for a scraper
heartbeats  each worker's pulse, readiness and reasons in shared memory
journal     the journal's figures as metrics; windows, exposures, pipeline, places, prepared, replicated, shipping,
            archive, sinks: those of event ids and so on
logs        one JSON line an event
spans       of requests whose caller samples them, to an OpenTelemetry collector
"""
