"""OpenFeature's remote evaluation protocol. Semantics are in the definitions; its rules stand in
docs/apis/ofrep.md.

words      what others have to know of it
needs      which flags can't do without a targeting key
values     values as the protocol writes them
emit       what is rendered when definitions are published
amend      its documents after a change of some flags
rendering  its part in a publication, by both
schema     request bodies
served     what is at hand of an environment, the manifest's flags too
pieces     work on many flags, in pieces
evaluate   one flag, all flags
channels   addresses of event streams
governed   governance in the protocol's words
settings   what it adds to the settings
envelope   heads of answers, errors
flat       its answers without a server
routes     endpoints, credentials
canonical  it has no events
description what its OpenAPI document says beside them
"""
