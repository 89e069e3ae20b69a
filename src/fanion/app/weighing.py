"""Applied weights put into a bundle without compiling its flags (docs/optimise.md: What applying does).

Only where nothing but weights changes, all of them drawn by the server alone, and no entity goes back to what the
definitions say: otherwise the environment is compiled (`overriding`). Both give the same answers.
"""

from __future__ import annotations

from fanion.bundle.grafting import Graft, graft
from fanion.bundle.nodes import read_decision
from fanion.bundle.reader import BundleReader
from fanion.model.choice import KeyedWeights
from fanion.model.weights import Applied, PolicyPlan


def policy_plans(bundle: bytes) -> dict[str, PolicyPlan]:
    """The policies in a bundle, of every format."""
    from fanion.definitions import formats

    reader = BundleReader(bundle)

    def keyed(decision: int) -> KeyedWeights | None:
        nodes = read_decision(reader, decision).nodes
        return next((node for node in nodes if isinstance(node, KeyedWeights)), None)

    documents = dict(reader.documents())
    return {id: plan for one in formats().values() for id, plan in one.policies(documents, keyed).items()}


def grafted(bundle: bytes, before: Applied, after: Applied) -> bytes | None:
    """The bundle with the weights of `after`, which has those of `before`; None: it is to be compiled."""
    if before.keys() - after.keys():
        return None
    plans = policy_plans(bundle)
    grafts: dict[str, Graft] = {}
    for policy, weights in after.items():
        plan, old = plans.get(policy), before.get(policy)
        if old == weights:
            continue
        if plan is None or plan.refused or not plan.literal or not weights.fit(plan.allocations):
            return None
        if old is not None and old.entities.keys() - weights.entities.keys():
            return None
        names = plan.allocations
        grafts[plan.literal] = Graft(
            tuple(weights.ordered(weights.everyone, names)),
            {entity: tuple(weights.ordered(own, names)) for entity, own in weights.entities.items()},
            weights.noted,
        )
    return graft(bundle, grafts) if grafts else None
