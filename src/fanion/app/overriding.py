"""Overrides and applied weights laid over what the store serves (docs/overrides.md, docs/optimise.md).

The store says which overrides and weights are in force, and of each bundle what was laid over it. Where the two
differ, the environment is compiled again from the definitions that the store keeps: after a change, when the time
of one is over (`settle`), after a publish that began before a change, after rolling back, at a start.

Decision, 2026-11. Laid while definitions are lowered, and not in the bundle or the engine: only there is known
which values a flag may have that nobody gets now, what other flags ask of it, and what clients are given to decide
by themselves. So a change takes as long as compiling the environment does, and an answer nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fanion.app.compiling import compile_stored
from fanion.app.weighing import grafted
from fanion.clock.keeper import look_at
from fanion.model.override import Overrides, laid
from fanion.model.weights import Applied, laid_with
from fanion.store.replacement import replace_bundles
from fanion.store.weights import read_weights, seal_weights, weights_key

if TYPE_CHECKING:
    from fanion.definitions.lowering.overriding import Unmet
    from fanion.store.store import Store


class Laid(NamedTuple):
    """`generation`: None where nothing changed. `unmet`: overrides that change nothing, by environment; of those
    environments that were compiled."""

    generation: int | None
    unmet: dict[str, list[Unmet]]


Change = Callable[[Overrides, float], Overrides]
"""What is in force, and the time, to what shall be."""
Check = Callable[[dict[str, "list[Unmet]"]], None]
"""Raises what keeps a change from being stored."""
Weigh = Callable[[str, Applied], Applied]
"""An environment and its applied weights, to what they shall be."""


def _as_it_is(overrides: Overrides, _: float) -> Overrides:
    return overrides


def _unchecked(_: object) -> None:
    return None


def _kept(_: str, applied: Applied) -> Applied:
    return applied


def lay_overrides(
    store: Store, change: Change = _as_it_is, check: Check = _unchecked, weigh: Weigh = _kept
) -> Laid:
    """Makes the changes, and compiles every environment that isn't as its overrides and weights say, but for
    weights that can be put into its bundle; seen at once. Raises StoreError, and what `check` does."""
    with store.transactions.publishing():
        found = lay_locked(store, change, check, weigh)
        if found.generation is not None:
            store.word.raise_to(found.generation)
            store.transactions.sweep()
    return found


def lay_locked(
    store: Store, change: Change = _as_it_is, check: Check = _unchecked, weigh: Weigh = _kept
) -> Laid:
    """The same, for who holds the lock of publishing and raises the word."""
    now = look_at(store.directory).cautious
    with store.pin() as pinned:
        before = pinned.overrides()
        wanted = change(before, now).without_ended(now)
        entries = pinned.manifest.environments
        held = {name: read_weights(pinned, name) for name in entries}
        weights = {name: weigh(name, applied) for name, applied in held.items()}
        lying = {name: laid_with(laid(wanted.of(name, now)), weights[name]) for name in entries}
        grafts = {
            name: bundle
            for name in sorted(entries)
            if weights[name] != held[name]
            and entries[name].overrides == laid_with(laid(wanted.of(name, now)), held[name])
            and (bundle := grafted(bytes(pinned.bundle(name) or b""), held[name], weights[name])) is not None
        }
        stale = [
            name for name in sorted(entries) if entries[name].overrides != lying[name] and name not in grafts
        ]
        groups: dict[int, list[str]] = {}
        for name in stale:
            groups.setdefault(entries[name].publication, []).append(name)
        sources = {publication: pinned.definitions(names[0]) for publication, names in groups.items()}
    if not stale and not grafts and wanted == before:
        return Laid(None, {})
    unmet: dict[str, list[Unmet]] = {}
    made = [(entries[name].publication, {name: bundle}) for name, bundle in grafts.items()]
    for publication, names in groups.items():
        over = {name: wanted.of(name, now) for name in names}
        own = {name: weights[name] for name in names}
        made.append((publication, compile_stored(sources[publication], over, unmet, own, only=names)))
    check(unmet)
    rows = {
        weights_key(name): seal_weights(name, applied)
        for name, applied in weights.items()
        if applied != held[name]
    }
    number = None
    for publication, bundles in made or [(0, {})]:
        digests = {name: lying[name] for name in bundles}
        number = replace_bundles(store.transactions, publication, bundles, wanted, digests, rows)
    return Laid(number, unmet)
