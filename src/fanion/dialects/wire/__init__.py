"""What every public API of ours is made from, in reading order:

services     what the parts of a worker offer to a request: snapshots, journal, limiter, counters
fault        what went wrong, in no API's words
reply        what is answered: heads, made once; headers that a refusal adds
stream       endpoints whose answers stay open
endpoint     paths, methods, handlers
cors         what browsers are told
rendering    what is made of definitions when they are published
dialect      a public API as the server sees it: routes, credentials, faults in its own shape
headers      a request's headers, by either interface
credentials  where a raw key stands
doors        what the native entrance asks of a request, of each method of a path
bound        what a dialect has at hand of an environment, looked up
units        who an API's requests are about
path         names in a path
flat         what a dialect gives to processes that evaluate by themselves
conditional  whether the client has the answer already
bodies       bodies in two shapes, closed and open
json_bounds  nesting, members and number lengths of a body; where a decoder's refusal points
plain_batch  the quick check of a batch of events
judging      a batch's items told apart, right or wrong in themselves
prepared     lists of keys that were asked for before
walk         dotted names
ingest       the end of every ingest
described    what a dialect says of its endpoints for people and other programs
openapi      the document that is made of it
refusals     what is said of items that are wrong, each by itself
"""
