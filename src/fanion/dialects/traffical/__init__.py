"""Traffical's wire shapes. Its semantics are in the definitions; its rules stand in docs/apis/traffical.md.

words         what others have to know of it
envelope      headers of every answer, errors, CORS
routes        endpoints, credentials (Keys and scopes, Routes)
served        what the endpoints keep at hand of one environment
resolve       config, resolve and decide (Config to Decide many)
events        ingest: per-event validity, repeats, warnings (Events)
decision_ids  ids of decisions, made for answers
schema        request bodies
event_structs events as they are sent
event_schema  the properties that event definitions ask for (Event answers)
canonical     what its events mean
emit          parameters and layer rows at publish time
"""
