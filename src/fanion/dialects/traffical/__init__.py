"""Traffical's wire shapes. Its semantics are in the definitions; the contract's sections are named below.

envelope      headers of every answer, errors, CORS
routes        endpoints, credentials (2, 3)
served        what the endpoints keep at hand of one environment
resolve       config, resolve and decide (3.1 to 3.5)
events        ingest: per-event validity, repeats, warnings (6)
schema        request bodies
event_schema  the properties that event definitions ask for (6.4)
emit          parameters and layer rows at publish time
"""
