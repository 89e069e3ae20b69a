"""Unleash's client with flags from memory; its engine is in Rust."""

import tempfile

import timing
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

constraints = [
    {"contextName": "country", "operator": "IN", "values": timing.COUNTRIES},
    {"contextName": "plan", "operator": "IN", "values": ["pro"]},
]
half = {"rollout": "50", "stickiness": "default", "groupId": "half"}
strategy = {"name": "flexibleRollout", "parameters": half, "constraints": constraints}
features = [
    {"name": key, "type": "release", "enabled": True, "strategies": [strategy]} for key in timing.FLAGS
]
with tempfile.TemporaryDirectory() as folder:
    cache = FileCache("bench", directory=folder)
    cache.bootstrap_from_dict({"version": 2, "features": features})
    client = UnleashClient(
        "http://127.0.0.1:9",
        "bench",
        disable_metrics=True,
        disable_registration=True,
        cache=cache,
        verbose_log_level=50,
    )
    client.initialize_client(fetch_toggles=False)
    timing.check(lambda who, person: client.is_enabled(timing.KEY, {"userId": who, "properties": person}))
    context = {"userId": timing.USER, "properties": timing.PERSON}
    timing.measure(lambda: client.is_enabled(timing.KEY, context))
    client.destroy()
