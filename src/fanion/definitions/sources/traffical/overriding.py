"""A Traffical bundle with overrides laid over it (docs/overrides.md): changed as a document, before it is lowered,
since clients read the document and decide by themselves.

Of a parameter, its default is the answer and no allocation changes it. Of a policy, by its id, one allocation has
every bucket and nothing else decides; whom the policy takes, by conditions and eligible buckets, stays.
"""

from __future__ import annotations

import json
from typing import Any, Final

from fanion.definitions.lowering.overriding import Overriding
from fanion.definitions.sources.traffical.files import NAME, Bundle

DRAWS: Final = ("entityConfig", "contextualModel")
"""Members of a policy that decide in the place of its buckets."""


def overridden(bundle: Bundle, config: bytes, overriding: Overriding) -> bytes | None:
    """The document anew; None where no override is of anything in it."""
    values: dict[str, Any] = {}
    for parameter in bundle.parameters:
        chosen = overriding.choose(NAME, parameter.key, {}, like=parameter.default)
        if chosen is not None:
            values[parameter.key] = chosen.value
    fixed: dict[str, str] = {}
    for policy in (one for layer in bundle.layers for one in layer.policies):
        if policy.running and policy.allocations:
            names = {one.identity: one.identity for one in policy.allocations}
            chosen = overriding.choose(NAME, policy.head.id, names)
            if chosen is not None:
                fixed[policy.head.id] = chosen.value
    if not values and not fixed:
        return None
    document = json.loads(config)
    for parameter in document["parameters"]:
        if parameter["key"] in values:
            parameter["default"] = values[parameter["key"]]
    last = document["hashing"]["bucketCount"] - 1
    for policy in (one for layer in document["layers"] for one in layer["policies"]):
        if policy["id"] in fixed:
            _fix(policy, fixed[policy["id"]], last)
        for allocation in policy["allocations"]:
            for key in values.keys() & allocation.get("overrides", {}).keys():
                del allocation["overrides"][key]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _fix(policy: dict[str, Any], identity: str, last: int) -> None:
    for member in DRAWS:
        policy.pop(member, None)
    one = next(one for one in policy["allocations"] if identity == (one.get("key") or one["name"]))
    policy["allocations"] = [one | {"bucketRange": [0, last]}]
