"""Feather's wire shapes. Its semantics are in the definitions.

words     what others have to know of it; settings: its own limits
envelope  headers of every answer, errors
routes    endpoints, credentials
served    what the endpoints keep at hand of one environment
schema    request bodies, and where a refused one is wrong
usage     what was reported of a flag, by day
canonical what its events mean
description what its OpenAPI document says beside them
emit      result fragments at publish time
rendering its part in a publication, by `emit`
"""
