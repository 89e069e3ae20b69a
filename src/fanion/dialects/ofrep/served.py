"""What OFREP's endpoints keep at hand of one mapped environment.

The directory of keys, the overlay of layers and the list of flags are made when they are first needed: an
environment that nobody asks through this API costs a worker nothing but the name of its table.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, partial
from typing import NamedTuple

import msgspec

from fanion._core.evaluate import Bundle
from fanion._core.flat import FlatPlan, FlatReader
from fanion._core.overlay import Overlay
from fanion.auth.governance import Terms
from fanion.dialects.ofrep.emit import FLAGS, LAYERED, MANIFEST, Flag, FlagList, ManifestFlag
from fanion.dialects.ofrep.pieces import cut
from fanion.dialects.ofrep.schema import LISTED, OWN_MEMBER, TARGETING_KEY
from fanion.dialects.ofrep.words import NAME
from fanion.dialects.wire.bound import document_of, finder
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.units import ATTRIBUTE, CONTEXT, MEMBER, UnitPlace
from fanion.engine.sources import SourceDirectory, sources_in
from fanion.errors import BundleError
from fanion.model.json_value import JsonObject
from fanion.model.organisation import DOCUMENT, parse_organisation
from fanion.model.shape import Asked, ContextShape

HEADS = (b"{", b"}", b"")
"""Of the overlay's answer: an object of the flags that were asked for, and no rows."""
SOMEBODY = "somebody"
"""A targeting key by which a flag that needs one is found out."""


MEANINGS_MAX = 10_000
"""Keys that were asked for, kept with what they mean; clients choose them, so they are bounded."""


LARGE_BYTES = 16_384
"""Of the list of flags: some 500 of them."""


PLANNED = frozenset({"subject", "unit", "members", "types", "context_type", "keyed", "nested", "keyless"})
"""What a plan can say of a shape; one without a targeting key isn't asked by plans, so `keyless` says nothing."""


class Meant(NamedTuple):
    """What a key asks for: `key` of `sources`. `name`: the flag's entry; None where no source has the key, or
    several."""

    sources: tuple[str, ...]
    key: str
    name: str | None


class Group(NamedTuple):
    """Flags that are asked with one context. `layered`: the source whose layers lay values over each other."""

    shape: ContextShape
    layered: str | None
    names: list[str]


class Served:
    """One environment."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.table = bundle.table(NAME)
        self.terms = Terms(parse_organisation(bundle.document(DOCUMENT)), {}, NAME)
        self.layered: dict[str, dict[str, list[str]]] = _read_layered(document_of(bundle, LAYERED))
        """Source with layers -> flag -> flags whose layers may replace its value."""
        self.lists = LISTED.open(bundle, self.table)
        self._groups: dict[bool, list[Group]] = {}
        self._meant: dict[str, Meant] = {}
        self._readers: list[FlatReader | None] = [None, None]

    @cached_property
    def directory(self) -> SourceDirectory:
        return sources_in(self.bundle)

    @cached_property
    def overlay(self) -> Overlay:
        return Overlay(self.bundle, self.table)

    @cached_property
    def listing(self) -> FlagList:
        return msgspec.json.decode(document_of(self.bundle, FLAGS), type=FlagList)

    @cached_property
    def large(self) -> bool:
        """Whether all flags are so many that they are answered in pieces."""
        return len(document_of(self.bundle, FLAGS)) > LARGE_BYTES

    @cached_property
    def flags(self) -> dict[str, Flag]:
        """Every flag by its name."""
        return {flag.name: flag for flags in self.listing.flags.values() for flag in flags}

    @cached_property
    def timed(self) -> bool:
        """Whether a flag reads the time, so that an answer holds for its second."""
        return any(self.shape(source).clock is not None for source in self.listing.flags)

    def manifest(self) -> list[ManifestFlag]:
        return msgspec.json.decode(document_of(self.bundle, MANIFEST), type=list[ManifestFlag])

    def shape(self, source: str) -> ContextShape:
        """How a source of this environment reads a context."""
        shape = self.directory.shape(source)
        if shape is None:
            raise BundleError(
                f"the bundle of {self.bundle.environment} has flags of {source} but not its shape"
            )
        return shape

    def meant(self, asked: str) -> Meant:
        """What a key asks for, whether or not there is such a flag."""
        known = self._meant.get(asked)
        if known is None:
            sources, key = self.directory.place(asked)
            name = self.directory.name(sources[0], key) if len(sources) == 1 else None
            if len(self._meant) >= MEANINGS_MAX:
                self._meant.clear()
            known = self._meant[asked] = Meant(sources, key, name)
        return known

    def visible(self, name: str, client: bool) -> bool:
        """Whether a key of this kind may see the flag."""
        flag = self.flags.get(name)
        return flag is not None and (flag.client_safe or not client)

    def reader(self, client: bool) -> FlatReader:
        """What asks flags for flat contexts natively, where a flag is as simple; see `plan`."""
        known = self._readers[client]
        if known is None:
            plan = partial(self.plan, client=client)
            known = self._readers[client] = FlatReader(self.bundle, self.table, OWN_MEMBER, plan, bytes, None)
        return known

    def plan(self, key: str, *, client: bool) -> FlatPlan | None:
        """How a key's ready answer is found by the core alone; None where it isn't as simple."""
        sources, _, name = self.meant(key)
        if name is None or name != key or not self.visible(name, client) or sources[0] in self.layered:
            return None
        shape = self.shape(sources[0])
        if not is_planned(shape):
            return None
        members = tuple((one, member, shape.types.get(one)) for one, member in shape.members.items())
        return FlatPlan(
            name, shape.subject, shape.unit, members, shape.context_type, shape.keyed, shape.nested
        )

    def groups(self, client: bool) -> list[Group]:
        """All flags that a key of this kind may see, in pieces."""
        known = self._groups.get(client)
        if known is None:
            groups = self.grouped(
                (source, flag.name)
                for source, flags in self.listing.flags.items()
                for flag in flags
                if flag.client_safe or not client
            )
            known = self._groups[client] = [
                Group(group.shape, group.layered, list(names))
                for group in groups
                for names in cut(group.names)
            ]
        return known

    def grouped(self, named: Iterable[tuple[str, str]]) -> list[Group]:
        """Flags, each as (source, name), by the context that they are asked with."""
        groups: list[Group] = []
        places: dict[str, Group] = {}
        for source, name in named:
            group = places.get(source)
            if group is None:
                shape, layered = self.shape(source), source if source in self.layered else None
                same = (one for one in groups if one.shape == shape and not layered and not one.layered)
                group = next(same, None)
                if group is None:
                    group = Group(shape, layered, [])
                    groups.append(group)
                places[source] = group
            group.names.append(name)
        return groups

    def laid(
        self, source: str, names: list[str], asked: Asked, assigned: bool = False
    ) -> dict[str, msgspec.Raw]:
        """Flags of a source with layers: name -> answer. Each is as if all were asked for. `assigned`: in an answer
        that returns everything."""
        others = self.layered[source]
        companions = [one for name in names if name in others for one in others[name]]
        keys = [*names, *companions] if companions else names
        self.overlay.run(keys, None, *asked, assigned)
        return _read_laid(self.overlay.emit(HEADS, b"", b""))

    def lacking(self, names: Iterable[str], shape: ContextShape, attributes: JsonObject) -> set[str]:
        """Flags that can't be answered without a targeting key: they read what belongs to the key, or their way
        leads to a split by it, which `attributes` have nothing to put in the place of: a bucket is drawn with a
        targeting key, and none without."""
        flags = [self.flags[name] for name in names if name in self.flags]
        question = self.bundle.ask(*shape.asked(None, attributes))
        undrawn = {one for flag in flags for one in flag.splits if question.evaluate(one)[1] < 0}
        question = self.bundle.ask(*shape.asked(SOMEBODY, attributes))
        drawn = {one for one in undrawn if question.evaluate(one)[1] >= 0}
        return {flag.name for flag in flags if flag.keyed or not drawn.isdisjoint(flag.splits)}


def is_planned(shape: ContextShape) -> bool:
    """Whether a plan can say all that the shape does."""
    plain = ContextShape()
    return all(
        field in PLANNED or getattr(shape, field) == getattr(plain, field)
        for field in ContextShape.__struct_fields__
    )


_read_layered = msgspec.json.Decoder(dict[str, dict[str, list[str]]]).decode
_read_laid = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def units(bundle: Bundle) -> tuple[UnitPlace, ...]:
    """The targeting key, wherever the sources' shapes of a context put it."""
    places: dict[UnitPlace, None] = {}
    directory = sources_in(bundle)
    for shape in filter(None, map(directory.shape, directory.sources)):
        if shape.subject is not None:
            places[UnitPlace(MEMBER, shape.subject, TARGETING_KEY)] = None
        if shape.unit is not None:
            places[UnitPlace(ATTRIBUTE, shape.unit, TARGETING_KEY)] = None
        if shape.keyed and shape.context_type is not None:
            places[UnitPlace(CONTEXT, shape.context_type, TARGETING_KEY)] = None
    return tuple(places)


def bind(bundle: Bundle) -> Served | None:
    return Served(bundle) if bundle.table(NAME) >= 0 else None


def _unserved() -> Fault:
    return Fault(FaultKind.OVERLOADED, "The environment is not served now.", retry_after_s=1)


served = finder(NAME, Served, _unserved)
