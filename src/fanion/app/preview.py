"""A publication beside what is served, before it is made (`fanion.preview`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from fanion.app.compiling import compile_environment, renderers
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.dialects import vocabulary
from fanion.engine.externals import Membership
from fanion.errors import RowsError, StoreMissingError
from fanion.model.experiment import DOCUMENT, Plan, decode_plans
from fanion.model.program import Lowered
from fanion.preview.changes import Change, compare, difference
from fanion.preview.contents import Contents
from fanion.preview.contexts import TARGETING_KEY, MadeUp
from fanion.preview.moves import Comparison, Moved, count_moves
from fanion.preview.report import Preview, report_flag
from fanion.preview.shares import FLAGS_MAX, Share, draws_of, shares_off, units_for
from fanion.process.machine import usable_cores
from fanion.store.layout import Origin
from fanion.store.store import Store
from fanion.store.weights import read_weights

if TYPE_CHECKING:
    from fanion.definitions import Loaded


RECENT: Final = """
WITH newest AS (
    SELECT unit, max(received_at) AS last FROM rows
    WHERE environment = $1 AND unit IS NOT NULL AND NOT unit_hashed
    GROUP BY unit ORDER BY last DESC, unit LIMIT $2
)
SELECT unit, arg_max(attributes, received_at) FROM rows JOIN newest USING (unit)
WHERE environment = $1 AND NOT unit_hashed
GROUP BY unit ORDER BY any_value(last) DESC, unit
"""
"""First who, so that attributes are held of those alone."""


class Who(NamedTuple):
    """Who is asked for: `contexts` of them, None: made up. `described`: in words; `units`: at most so many."""

    contexts: Callable[[str], Iterable[dict[str, Any]]] | None
    described: str
    units: int
    seed: int = 0


class Served(NamedTuple):
    """An environment as it is served, lowered again."""

    lowered: Lowered
    keys_lost: list[str]


def preview(
    data: Path,
    loaded: Loaded,
    config: Config,
    who: Who,
    attributes: tuple[str, ...] = (),
    progress: Callable[[int], None] = lambda _: None,
    processes: int | None = None,
) -> list[Preview]:
    """One for each environment of `loaded`, which was read without overrides: what they hide comes out
    when they end. `processes`: that ask; left out, one for each core; of one, this itself. Raises StoreError."""
    before = _served(data, loaded, config)
    membership = _membership(data, config)
    found = []
    for lowered in loaded.environments:
        served = before.get(lowered.environment, Served(Lowered(lowered.environment), []))
        asking = membership(lowered.environment), progress, processes or usable_cores()
        found.append(_preview(served, lowered, who, attributes, *asking))
    return found


def _preview(
    served: Served,
    lowered: Lowered,
    who: Who,
    attributes: tuple[str, ...],
    membership: Callable[[], Membership | None],
    progress: Callable[[int], None],
    processes: int,
) -> Preview:
    sides = Contents(served.lowered), Contents(lowered)
    changes = compare(*sides)
    both = tuple(one for one in changes if one.before is not None and one.after is not None)
    compilers = renderers()
    counted: dict[Change, Moved] = {}
    asked = who.described
    if both:
        comparison = Comparison(
            lowered.environment,
            compile_environment(served.lowered, compilers),
            compile_environment(lowered, compilers),
            both,
            membership if served.lowered.lists or lowered.lists else lambda: None,
            attributes,
        )
        people = MadeUp.of(_looked_at(both, *sides), who.seed)
        if who.contexts is None:
            names = ", ".join(".".join(path) for path in people.values) or "nothing but an id"
            asked = f"{who.units:,} made-up units, each with {names}"
        seen = _Seen(() if who.contexts is None else who.contexts(lowered.environment))
        given = people if who.contexts is None else seen
        moved = count_moves(comparison, given, who.units, processes, progress)
        counted = dict(zip(both, moved, strict=True))
        if who.contexts is not None:
            lacks = ", ".join(".".join(path) for path in people.values if not seen.has(path))
            asked = f"{moved[0].units:,} {who.described}" + (f"; none has {lacks}" if lacks else "")
    elif who.contexts is not None:
        # Nobody has to be asked, and who can't be read is told all the same.
        deque(islice(who.contexts(lowered.environment), who.units), maxlen=0)
    plans = _running(served.lowered)
    off = _shares(lowered, changes, sides, who)
    flags = [
        report_flag(change, difference(change, *sides), counted.get(change), plans, off.get(change, ()))
        for change in changes
    ]
    unchanged = len(lowered.parameters) - sum(one.after is not None for one in changes)
    return Preview(lowered.environment, unchanged, asked, flags, served.keys_lost)


def _shares(
    lowered: Lowered, changes: Iterable[Change], sides: tuple[Contents, Contents], who: Who
) -> dict[Change, list[Share]]:
    """Of flags that are new or changed and draw lots, the first `FLAGS_MAX` of them."""
    drawing = [one for one in changes if one.after is not None and draws_of(lowered, one.after.decision)]
    drawing = drawing[:FLAGS_MAX]
    units = min(who.units, units_for(len(drawing)))
    plans = decode_plans(lowered.documents.get(DOCUMENT)).values()
    found: dict[Change, list[Share]] = {}
    given = None
    if drawing and who.contexts is not None:
        given = list(islice(who.contexts(lowered.environment), units))
    for one in drawing:
        assert one.after is not None
        people = given
        if people is None:
            made = MadeUp.of(_looked_at([msgspec.structs.replace(one, before=None)], *sides), who.seed)
            people = list(made.contexts(0, units))
        mine = [plan for plan in plans if plan.flag in (one.group, one.key)]
        found[one] = shares_off(lowered, one.after, people, mine, made_up=given is None)
    return found


class _Seen:
    """Contexts, and which attributes they had."""

    def __init__(self, contexts: Iterable[dict[str, Any]]) -> None:
        self._contexts = contexts
        self._names: set[str] = set()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for context in self._contexts:
            self._names |= context.keys()
            yield context

    def has(self, path: tuple[str, ...]) -> bool:
        return path[0] in self._names


def recent_units(data: Path, units: int, *, small: bool = False) -> Who:
    """As `recent_contexts` has them, at most so many."""

    def contexts(environment: str) -> list[dict[str, Any]]:
        return recent_contexts(data, environment, units, small=small)

    return Who(contexts, "units that events named last", units)


def recent_contexts(data: Path, environment: str, most: int, *, small: bool = False) -> list[dict[str, Any]]:
    """The units that events of an environment named last, by their ids, with the attributes that travelled with
    them. `small`: in a process that has little memory. Raises RowsError, also where there are none."""
    from fanion.pipeline.query import open_rows

    with open_rows(data, lambda file: file.environment == environment, small=small) as connection:
        found = connection.execute(RECENT, [environment, most]).fetchall()
    if not found:
        raise RowsError(
            f"environment {environment}: no row names a unit by its id; of digests, which the server records, "
            f"nobody can be asked for again (give contexts instead)"
        )
    return [{**msgspec.json.decode(attributes or "{}"), TARGETING_KEY: unit} for unit, attributes in found]


def _looked_at(
    changes: Iterable[Change], before: Contents, after: Contents
) -> Iterator[tuple[Contents, int, Any]]:
    for change in changes:
        for contents, parameter in ((before, change.before), (after, change.after)):
            if parameter is not None:
                yield contents, parameter.decision, contents.lowered.shapes.get(change.source)


def _running(lowered: Lowered) -> list[Plan]:
    """Experiments that have begun and aren't over."""
    now_us = time.time() * 1e6
    plans = decode_plans(lowered.documents.get(DOCUMENT)).values()
    return [one for one in plans if one.start_us <= now_us and (one.end_us is None or now_us < one.end_us)]


def _served(data: Path, loaded: Loaded, config: Config) -> dict[str, Served]:
    """Those of the environments that are served, lowered from what the store keeps, with applied weights."""
    from fanion.definitions import load_stored

    try:
        store = Store.open(data, map_bytes=config.store.map_bytes)
    except StoreMissingError:
        return {}
    wanted = {lowered.environment for lowered in loaded.environments}
    now = look_at(data)
    with store, store.pin() as pinned:
        weights = {name: read_weights(pinned, name) for name in pinned.environments()}
        groups: dict[int, list[str]] = {}
        for name, entry in pinned.manifest.environments.items():
            if name in wanted:
                groups.setdefault(entry.publication, []).append(name)
        named = {key.hash for key in loaded.keys}
        lost: dict[str, list[str]] = {name: [] for name in wanted}
        for key in pinned.stored_keys():
            ends, name = key.record.expires_at, key.record.environment
            alive = key.origin == Origin.DEFINED and (ends is None or ends > now.expiry)
            if name in wanted and alive and key.hash not in named:
                lost[name].append(f"{key.record.id} {key.record.name}".strip())
        found: dict[str, Served] = {}
        for names in groups.values():
            sources = pinned.definitions(names[0])
            for lowered in load_stored(sources, vocabulary(), weights=weights, only=names).environments:
                found[lowered.environment] = Served(lowered, lost[lowered.environment])
    return found


def _membership(data: Path, config: Config) -> Callable[[str], Callable[[], Membership | None]]:
    """Lists as the store has them, opened in the process that asks: nothing that LMDB opens crosses a fork."""

    def of(environment: str) -> Callable[[], Membership | None]:
        def open_lists() -> Membership | None:
            try:
                store = Store.open(data, map_bytes=config.store.map_bytes)
            except StoreMissingError:
                return None
            pinned = store.pin()
            return lambda name, member: pinned.member(environment, name, member.encode())

        return open_lists

    return of
