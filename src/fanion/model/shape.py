"""How a source reads a flat evaluation context, so that an API with such contexts can ask for any source's flags.

A flat context is a targeting key (who is asked for) and free attributes. Each source has a shape for it, made when
it is lowered; a bundle keeps them in one document beside which keys the sources have.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from fanion.model.context import EvaluationContext, TypedContext

DOCUMENT: Final = "sources"
"""The name of the bundle's document, a `SourceRecord`."""

NATIVE: Final = "native"
"""The source that a publication is written in."""

AttributeType = Literal["text", "texts"]

Asked: TypeAlias = tuple[dict[str, Any], dict[str, Any], tuple[tuple[str, str, dict[str, Any]], ...]]


class ContextShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """`subject`: the member that the targeting key becomes. `unit`: the attribute that it becomes, where the
    context does not bring it itself. `members`: attribute -> the member that it becomes; it is no free attribute
    then. `types`: what such an attribute has to be, else it counts as left out. `context_type`: the free
    attributes make a context of this type instead of staying attributes; with `keyed` the targeting key is its key,
    and without a targeting key there is none. `nested`: further types of contexts; an attribute of that name that
    is an object is one, its member `key` the key. `keyless`: a flag that splits by the targeting key has an answer
    of its own where there is none. `clock`: "member.name", where flags read the time: the member is an object that
    has the whole Unix seconds under that name, whatever the context says.
    """

    subject: str | None = None
    unit: str | None = None
    members: dict[str, str] = {}
    types: dict[str, AttributeType] = {}
    context_type: str | None = None
    keyed: bool = False
    nested: tuple[str, ...] = ()
    keyless: bool = False
    clock: str | None = None

    def context(self, targeting_key: str | None, attributes: Mapping[str, Any]) -> EvaluationContext:
        """A flat context as the source reads it."""
        members: dict[str, Any] = {}
        free: dict[str, Any] = {}
        typed: list[TypedContext] = []
        for name, value in attributes.items():
            member = self.members.get(name)
            if member is not None:
                if self._fits(name, value):
                    members[member] = value
            elif name in self.nested and isinstance(value, dict):
                inner = {key: one for key, one in value.items() if key != "key"}
                if isinstance(value.get("key"), str):
                    typed.append(TypedContext(name, value["key"], inner))
            else:
                free[name] = value
        if targeting_key is not None:
            if self.subject is not None:
                members[self.subject] = targeting_key
            if self.unit is not None:
                free.setdefault(self.unit, targeting_key)
        members |= self.time()
        if self.context_type is None:
            return EvaluationContext(members, free, tuple(typed))
        if targeting_key is not None or not self.keyed:
            key = targeting_key if self.keyed and targeting_key is not None else ""
            typed.insert(0, TypedContext(self.context_type, key, free))
        return EvaluationContext(members, {}, tuple(typed))

    def time(self) -> dict[str, Any]:
        """The member that is the time, where flags read it."""
        if self.clock is None:
            return {}
        member, _, name = self.clock.partition(".")
        return {member: {name: seconds_now()}}

    def asked(self, targeting_key: str | None, attributes: dict[str, Any]) -> Asked:
        """The same as (members, attributes, contexts), which is how a bundle is asked."""
        plain = self.context_type is None and self.unit is None and self.clock is None
        if plain and not self.members and not self.nested:
            subject = {} if targeting_key is None or self.subject is None else {self.subject: targeting_key}
            return subject, attributes, ()
        found = self.context(targeting_key, attributes)
        return (
            found.members,
            found.attributes,
            tuple((one.type, one.key, one.attributes) for one in found.contexts),
        )

    def _fits(self, name: str, value: Any) -> bool:
        kind = self.types.get(name)
        if kind == "texts":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        return kind is None or isinstance(value, str)


def seconds_now() -> int:
    """What flags that read the time see."""
    return int(time.time())


class SourceRecord(msgspec.Struct, frozen=True):
    """What a bundle keeps of its sources. `keys`: the parameters of each source but the native one, whose keys
    are no other's. `order`: which source counts where several have a key."""

    shapes: dict[str, ContextShape] = {}
    order: tuple[str, ...] = ()
    keys: dict[str, list[str]] = {}

    @classmethod
    def of(
        cls, shapes: dict[str, ContextShape], order: tuple[str, ...], flags: Iterable[tuple[str, str]]
    ) -> SourceRecord:
        """`flags`: source and key of every parameter."""
        keys: dict[str, list[str]] = {}
        for source, key in flags:
            if source != NATIVE:
                keys.setdefault(source, []).append(key)
        return cls(shapes, order, keys)
