"""Bundles of environments, with what each API serves of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fanion.bundle.compiler import compile_spending
from fanion.dialects import renderings, served, vocabulary
from fanion.errors import DefinitionError, StoreError
from fanion.model.override import Override
from fanion.model.program import Lowered, Table
from fanion.model.weights import Applied

if TYPE_CHECKING:
    from fanion.definitions.lowering.overriding import Unmet


def renderers() -> dict[str, Callable[[Lowered], Table]]:
    """For the bundle compiler: dialect -> its rendering of an environment."""
    return {name: rendering.render for name, rendering in renderings().items()}


def shown(dialect: str, fragment: bytes, user: Mapping[str, Any] | None = None) -> str:
    """A fragment of a dialect's table as people see it (`Dialect.whole`)."""
    whole = {known.name: known.whole for known in served()}.get(dialect)
    return (fragment if whole is None else whole(fragment, user)).decode()


def compile_environment(lowered: Lowered, compilers: dict[str, Callable[[Lowered], Table]]) -> bytes:
    """A bundle with a table for each API that the environment is served through, and no other."""
    return compile_spending([lowered], _tables(lowered, compilers))


def spend_environment(given: list[Lowered], compilers: dict[str, Callable[[Lowered], Table]]) -> bytes:
    """The same of the last of `given`, which is taken out of it (`bundle.compiler.compile_spending`)."""
    return compile_spending(given, _tables(given[-1], compilers))


def _tables(
    lowered: Lowered, compilers: dict[str, Callable[[Lowered], Table]]
) -> dict[str, Callable[[Lowered], Table]]:
    return {name: render for name, render in compilers.items() if name in lowered.identifiers}


def compile_stored(
    sources: dict[str, bytes],
    overrides: Mapping[str, Sequence[Override]] | None = None,
    unmet: dict[str, list[Unmet]] | None = None,
    weights: Mapping[str, Applied] | None = None,
    only: Collection[str] | None = None,
) -> dict[str, bytes]:
    """The bundles of every environment in what the store keeps, or of some `only`. `overrides`, `weights`: to lay
    over each; overrides that change nothing are added to `unmet`. Raises StoreError."""
    from fanion.definitions import load_stored  # with all its formats, a third of a start's time

    try:
        loaded = load_stored(sources, vocabulary(), overrides, weights, only)
    except DefinitionError as error:
        raise StoreError(
            f"what the store keeps can't be compiled by this Fanion; publish again:\n{error}"
        ) from error
    if unmet is not None:
        unmet.update(loaded.unmet)
    made = {one.environment for one in loaded.environments}
    if missing := set(only or ()) - made:
        raise StoreError(
            f"environment {min(missing)} can't be compiled from what the store keeps; publish it again"
        )
    compilers = renderers()
    return {one.environment: compile_environment(one, compilers) for one in loaded.environments}
