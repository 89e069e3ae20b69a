"""stitchd's wire shapes. Its semantics are in the definitions; its rules stand in docs/apis/stitchd.md.

words      what others have to know of it
envelope   headers of every answer, errors
routes     endpoints, credentials
evaluate   one flag
segments   membership of one context, and of many
events     metric events: who is counted, who is rejected
served     what the endpoints keep at hand of one environment
schema     request bodies, and where a refused one is wrong
canonical  what its events mean
description what its OpenAPI document says beside them
emit       answers at publish time
rendering  its part in a publication, by `emit`
"""
