"""What every public API of ours is made from, in reading order:

services     what the parts of a worker offer to a request: snapshots, journal, limiter, counters
fault        what went wrong, in no API's words
reply        what is answered; a request's headers
endpoint     paths, methods, handlers
dialect      a public API as the server sees it: routes, credentials, faults in its own shape
path         names in a path
json_bounds  nesting, members and number lengths of a body; where a decoder's refusal points
plain_batch  the quick check of a batch of events
ingest       the end of every ingest
stamps       request ids and times of day, made ahead of need
"""
