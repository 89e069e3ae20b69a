"""A bundle with applied weights laid over it (docs/optimise.md), and its policies as proposals read them.

Weights of entities go where they are drawn from: into the document's `entityState`, by which clients draw, of
policies that are resolved by the bundle; beside it of edge policies. Those of other adaptive policies become
bucket ranges, one behind the other in the place of the old ones. A document that changes has another version, since
clients name it on events.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fanion.definitions.reading.report import Report, shown
from fanion.definitions.sources.traffical.files import (
    GLOBAL,
    Bundle,
    EntityWeights,
    Policy,
    PolicyState,
    Reader,
)
from fanion.definitions.sources.traffical.layers import draw_end
from fanion.definitions.sources.traffical.lowering import CONFIG, RECORD, Record
from fanion.model.choice import KeyedWeights
from fanion.model.weights import Applied, PolicyPlan, PolicyWeights

Keyed = Callable[[int], KeyedWeights | None]
"""The choice by weights in a decision."""
VERSION_DIGITS: Final = 8


def weighed(
    bundle: Bundle,
    states: Mapping[str, PolicyState],
    config: bytes,
    applied: Applied,
    file: str,
    report: Report,
) -> tuple[bytes | None, dict[str, PolicyState]]:
    """The document anew (None where it stays) and all weights of entities. What can't be laid is warned about."""
    document, changed, made = json.loads(config), False, dict(states)
    for layer, rows in zip(bundle.layers, document["layers"], strict=True):
        for policy, row in zip(layer.policies, rows["policies"], strict=True):
            weights = applied.get(policy.head.id)
            if weights is None:
                continue
            names = [one.identity for one in policy.allocations]
            refused = refusal(policy)
            if refused or not weights.fit(names):
                found = f"applied weights of {shown(policy.head.id)}"
                why = refused or f"they are of {', '.join(weights.allocations)}"
                report.warning(file, policy.path, found, f"they don't count: {why}")
            elif policy.mode:
                state = made[policy.head.id] = _state(weights, names, made.get(policy.head.id))
                if policy.mode == "bundle":
                    _write(document, policy.head.id, weights, state)
                    changed = True
            else:
                spans = [one.bucket_range for one in policy.allocations]
                laid = ranges(spans, weights.ordered(weights.everyone, names))
                for allocation, span in zip(row["allocations"], laid, strict=True):
                    allocation["bucketRange"] = list(span)
                changed = True
    if not changed:
        return None, made
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:VERSION_DIGITS]
    document["version"] = f"{document['version']}+{digest}"
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), made


def refusal(policy: Policy) -> str:
    """Why nothing can be proposed for a policy; empty where something can."""
    names = [one.identity for one in policy.allocations]
    config = policy.head.entity_config
    if not policy.running:
        return f"it is {policy.head.state}"
    if policy.head.contextual_model is not None:
        return "it has a contextual model, which is learnt elsewhere"
    if config is not None and config.dynamic_allocations is not None:
        return "its allocations are dynamic: what each shows is another thing for every entity"
    if len(names) < 2 or len(set(names)) < len(names):
        return "it takes two allocations, of different names"
    if not policy.mode and policy.head.kind != "adaptive":
        return f"it is {policy.head.kind}: its shares are the definitions'"
    if not policy.mode and not _close(policy):
        return "its bucket ranges overlap or have gaps between them"
    return ""


def _close(policy: Policy) -> bool:
    spans = sorted(
        one.bucket_range for one in policy.allocations if one.bucket_range[1] >= one.bucket_range[0]
    )
    return all(before[1] + 1 == after[0] for before, after in itertools.pairwise(spans))


def ranges(spans: Sequence[tuple[int, int]], weights: Sequence[float]) -> list[tuple[int, int]]:
    """As many buckets as the spans have, by the weights, in the spans' order; each keeps one at least."""
    order = sorted(range(len(spans)), key=lambda n: spans[n])
    width = sum(high - low + 1 for low, high in spans)
    total = sum(weights)
    free = width - len(spans)
    exact = [weight / total * width for weight in weights]
    own = [max(0, int(one) - 1) for one in exact]
    while sum(own) > free:
        own[max(range(len(own)), key=own.__getitem__)] -= 1
    for n in sorted(order, key=lambda n: int(exact[n]) - exact[n])[: free - sum(own)]:
        own[n] += 1
    own[order[0]] += free - sum(own)
    made: list[tuple[int, int]] = [(0, 0)] * len(spans)
    low = min(span[0] for span in spans)
    for n in order:
        made[n] = (low, low + own[n])
        low += own[n] + 1
    return made


def _state(weights: PolicyWeights, names: list[str], before: PolicyState | None) -> PolicyState:
    """What was applied; entities that nothing was applied to keep what the definitions say."""
    at = weights.noted
    entities = {} if before is None else dict(before.entities)
    for entity, own in weights.entities.items():
        entities[entity] = EntityWeights(weights.ordered(own, names), at)
    return PolicyState(EntityWeights(weights.ordered(weights.everyone, names), at), entities)


def _write(document: dict[str, Any], policy: str, weights: PolicyWeights, state: PolicyState) -> None:
    """The applied ones into the document; what else stands there stays as it is."""

    def written(entity: str, own: EntityWeights) -> dict[str, Any]:
        return {"entityId": entity, "weights": own.weights, "computedAt": own.computed_at}

    known = document.get("entityState") or {}
    before = known.get(policy) or {}
    entities = dict(before.get("entities") or {})
    entities |= {entity: written(entity, state.entities[entity]) for entity in weights.entities}
    everyone = {} if state.fallback is None else {GLOBAL: written(GLOBAL, state.fallback)}
    document["entityState"] = known | {policy: {**before, **everyone, "entities": entities}}


def plans(documents: Mapping[str, bytes], keyed: Keyed) -> dict[str, PolicyPlan]:
    """The policies of a served document. Of several with one id the first counts."""
    config, record = documents.get(CONFIG), documents.get(RECORD)
    if config is None or record is None:
        return {}
    bundle = Reader(CONFIG, Report()).bundle(json.loads(config))
    edges = msgspec.json.decode(record, type=Record).edges
    policies = [one for layer in bundle.layers for one in layer.policies] if bundle else []
    elsewhere = {policy.head.id for policy in policies if policy.mode != "edge"}
    found: dict[str, PolicyPlan] = {}
    for policy in policies:
        id, names = policy.head.id, tuple(one.identity for one in policy.allocations)
        if id in found:
            continue
        entity = policy.head.entity_config
        current: tuple[float, ...] = ()
        own: dict[str, tuple[float, ...]] = {}
        if policy.mode == "bundle" and bundle is not None:
            current, own = _of_state(bundle.states.get(id), len(names))
        elif policy.mode == "edge" and id in edges:
            current, own = _of_choice(keyed(edges[id].decision), len(names))
        elif names:
            widths = [
                max(0, high - low + 1) for low, high in (one.bucket_range for one in policy.allocations)
            ]
            current = tuple(width / (sum(widths) or 1) for width in widths)
        found[id] = PolicyPlan(
            policy=id,
            allocations=names,
            draws="entity weights" if policy.mode else "bucket ranges",
            current=current or tuple(1 / len(names) for _ in names),
            entities=own,
            entity_keys=() if entity is None or not policy.mode else tuple(entity.entity_keys),
            refused=refusal(policy),
            literal=draw_end(id) if id not in elsewhere else "",
        )
    return found


def _of_state(
    state: PolicyState | None, count: int
) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    if state is None:
        return (), {}
    fallback = () if state.fallback is None else tuple(state.fallback.weights)
    own = {entity: tuple(one.weights) for entity, one in state.entities.items() if len(one.weights) == count}
    return fallback if len(fallback) == count else (), own


def _of_choice(
    choice: KeyedWeights | None, count: int
) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    if choice is None:
        return (), {}
    fallback = () if choice.fallback is None else choice.fallback.weights
    own = {one.key: one.weights for one in choice.vectors if len(one.weights) == count}
    return fallback if len(fallback) == count else (), own
