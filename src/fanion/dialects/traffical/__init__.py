"""Traffical's wire shapes. Its semantics are in the definitions; its rules stand in docs/apis/traffical.md.

words         what others have to know of it
envelope      headers of every answer, errors, CORS
routes        endpoints, credentials (Keys and scopes, Routes)
served        what the endpoints keep at hand of one environment
resolve       config and resolve (Config, Resolve)
decide        decisions, one and many (Decide, Decide many)
events        ingest: per-event validity, repeats, warnings (Events)
decision_ids  ids of decisions, made for answers
schema        request bodies
decide_schema those of decisions
event_structs events as they are sent
event_schema  the properties that event definitions ask for (Event answers)
canonical     what its events mean
description   what its OpenAPI document says beside them
emit          parameters and layer rows at publish time
rendering     its part in a publication, by `emit`
"""
