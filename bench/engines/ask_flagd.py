"""flagd's provider in process, through the OpenFeature client."""

import json
import tempfile
from pathlib import Path

import timing
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

matches = {"and": [{"in": [{"var": "country"}, timing.COUNTRIES]}, {"==": [{"var": "plan"}, "pro"]}]}
targeting = {"if": [matches, {"fractional": [["on", 50], ["off", 50]]}, "off"]}
flag = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": targeting,
}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "flags.json"
    path.write_text(json.dumps({"flags": dict.fromkeys(timing.FLAGS, flag)}))
    api.set_provider_and_wait(
        FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    )
    client = api.get_client()
    timing.check(
        lambda who, person: client.get_boolean_value(timing.KEY, False, EvaluationContext(who, person))
    )
    user = EvaluationContext(timing.USER, timing.PERSON)
    timing.measure(lambda: client.get_boolean_value(timing.KEY, False, user))
    api.shutdown()
