"""The neutral way in for events: no system's API, but Fanion's own. It evaluates nothing. Results are read here.

words      what others have to know of it
envelope   headers of every answer, errors
routes     its endpoints, credentials
served     what the endpoint keeps at hand of one environment
schema     bodies: the quick check, the decoders, where a refused event is wrong
events     taking a batch: each event by itself, each id once
results    what an experiment came to
usage      how often a flag was asked for
canonical  what its events mean
description what its OpenAPI document says beside them
"""
