"""Publishing: definitions compiled and stored; again those of a store with an older format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fanion.app.compiling import compile_stored, renderers, spend_environment
from fanion.app.overriding import lay_overrides
from fanion.app.reuse import digest_of, served_bundles
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.errors import StoreError, StoreMissingError
from fanion.model.collector import give_back
from fanion.model.override import Override
from fanion.model.program import Lowered
from fanion.model.row_terms import read_row_terms
from fanion.model.weights import Applied
from fanion.store.publication import Publication
from fanion.store.store import Store
from fanion.store.weights import read_weights

if TYPE_CHECKING:
    from fanion.definitions import Loaded

log = logging.getLogger("fanion.store")


def publish(
    directory: Path,
    loaded: Loaded,
    config: Config,
    progress: Callable[[str, int], None] | None = None,
    review: Callable[[Mapping[str, bytes]], None] | None = None,
    *,
    full: bool = False,
    made: dict[str, bytes] | None = None,
    spend: bool = False,
) -> int:
    """Compiles and stores a publication; returns its generation. Raises ProgramError, StoreError, and
    DefinitionError where a file of list members can't be read. `review`: shown the bundles before anything is
    stored; what it raises ends the publication. `full`: every environment is compiled, also where what is served
    was compiled from the same (`app.reuse`); its bytes are the same either way. `made`: bundles that are there
    already (`app.amending`), of the same flags as those that are served; they are taken out of it. `spend`: what
    `loaded` has of an environment's program is let go of once it is compiled, which is most of what it takes."""
    from fanion.app.amending import mark
    from fanion.definitions.reading.members import read_members, source_digest

    made = {} if made is None else made
    digests = {
        one.environment: digest_of(one, one.identifiers)
        for one in loaded.environments
        if one.environment not in made
    }
    known = {} if full or not digests else _served(directory, config, digests)
    compilers = renderers()
    bundles = {}
    for number, name in enumerate([one.environment for one in loaded.environments]):
        given = made.pop(name, None) or known.pop(name, None)
        lowered = [loaded.environments[number]]
        if spend:
            loaded.environments[number] = _spent(lowered[0])
        bundles[name] = given or spend_environment(lowered, compilers)
        lowered.clear()
    large = spend and bool(digests)
    if large:
        give_back()
    if review is not None:
        review({name: bundle for name, bundle in bundles.items() if name in digests})
        if large:
            give_back()
    lists = {entry.name: entry for entry in loaded.lists}
    named = {lowered.environment: lowered.lists for lowered in loaded.environments if lowered.lists}
    publication = Publication(
        bundles=bundles,
        keys={key.hash: key.record for key in loaded.keys},
        definitions=loaded.sources,
        lists={
            environment: {name: read_members(lists[name]) for name in names if name in lists}
            for environment, names in named.items()
        },
        list_sources={
            environment: {name: source_digest(lists[name]) for name in names if name in lists}
            for environment, names in named.items()
        },
        kept_lists={
            environment: tuple(name for name in names if name not in lists)
            for environment, names in named.items()
        },
        overrides=loaded.laid,
        compiled_from=digests,
        amendable=mark(loaded),
        keyed=tuple(
            lowered.environment for lowered in loaded.environments if read_row_terms(lowered.documents).keyed
        ),
    )
    with Store.open(directory, create=True, map_bytes=config.store.map_bytes) as store:
        generation = store.publish(publication, progress)
        bundles.clear()
        if spend:
            give_back()
        generation = lay_overrides(store).generation or generation
        keep_copy(store, generation)
    return generation


def _spent(lowered: Lowered) -> Lowered:
    """What is asked of an environment that is compiled."""
    return Lowered(
        lowered.environment,
        documents=lowered.documents,
        identifiers=lowered.identifiers,
        lists=lowered.lists,
    )


def _served(directory: Path, config: Config, digests: Mapping[str, str]) -> dict[str, bytes]:
    try:
        with Store.open(directory, map_bytes=config.store.map_bytes) as store:
            return served_bundles(store, digests)
    except StoreMissingError:
        return {}


def keep_copy(store: Store, generation: int) -> None:
    """The copy is a second line of defence: failing to make it does not undo a generation that stands."""
    try:
        store.keep_copy()
    except StoreError as error:
        log.warning("generation %d stands, but the store's copy is older: %s", generation, error)


def upgrade_bundles(store: Store) -> int | None:
    """Compiles again what an older Fanion compiled; the new generation, or None. Raises StoreError."""
    from fanion.store.upgrade import upgrade

    generation = upgrade(store, compile_stored, _keep_older)
    if generation is not None:
        keep_copy(store, generation)
    return generation


def _keep_older(store: Store) -> None:
    """Without room for it the upgrade goes on: what is compiled again is in the store, and serving counts more."""
    try:
        store.keep_older()
    except StoreError as error:
        log.warning("the store can't be kept as it was before its upgrade: %s", error)


class Standing(NamedTuple):
    """What a publication has to lay over each environment."""

    overrides: dict[str, tuple[Override, ...]]
    weights: dict[str, Applied]


def standing(directory: Path, config: Config) -> Standing:
    """What lies over the definitions now; nothing where there is no store yet. Raises StoreError."""
    try:
        store = Store.open(directory, map_bytes=config.store.map_bytes)
    except StoreMissingError:
        return Standing({}, {})
    now = look_at(directory).cautious
    with store, store.pin() as pinned:
        overrides = pinned.overrides()
        weights = {name: read_weights(pinned, name) for name in pinned.environments()}
    return Standing({name: overrides.of(name, now) for name in overrides.in_force}, weights)
