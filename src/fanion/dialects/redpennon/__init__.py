"""Red Pennon's wire shapes. Its semantics are in the definitions; its rules stand in docs/apis/redpennon.md.

words      what others have to know of it; settings: its own limits
envelope   headers of every answer, errors
routes     endpoints, credentials
served     what the endpoints keep at hand of one environment
listed     the keys of a batch, and lists of them that were asked for before
schema     request bodies, the ten rules of events
judged     batches that are told without being read
evaluate   one variable, many variables
events     de-duplication, traces, the journal
trace      the tokens that tie an event to its evaluation
governed   governance in the API's own words
canonical  what its events mean
description what its OpenAPI document says beside them
emit       result fragments and the catalogue, at publish time
rendering  its part in a publication, by `emit`
"""
