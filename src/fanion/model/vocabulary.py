"""What has to be known of the public APIs where none of their code is: names, scopes, shapes of keys, settings.

Each dialect's `words.WORDS` is one `Words`; `fanion.dialects.vocabulary()` gathers them. Configuration, definitions
and keys are handed the `Vocabulary` by app and command line, so that they import no dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from fanion.model.api_key import KeyKind


class Words(msgspec.Struct, frozen=True):
    """One API's words.

    scopes: what a key of it may be limited to, in its own words; an endpoint that asks for none is open to every
    key. settings: (group, struct) of what it adds to the settings, each field with a default. make_key: a new raw
    key of the shape that its clients expect; None: any will do. named_environment: it knows an environment by its
    name within the project, not by its id, where `identifiers` say nothing else. literal_keys: its published
    clients put a flag's key into a path as it is, whatever stands in it. inner_context: the member of its user that
    is a context of that type of its own. named_members: those of its user that are text: a number is read as its
    text, anything else is refused.
    """

    name: str
    scopes: tuple[str, ...]
    settings: tuple[tuple[str, type[msgspec.Struct]], ...] = ()
    make_key: Callable[[KeyKind], str] | None = None
    named_environment: bool = False
    literal_keys: bool = False
    inner_context: str | None = None
    named_members: tuple[str, ...] = ()


class Vocabulary(msgspec.Struct, frozen=True):
    """The words of every API that a server speaks, in the order that decides shared paths."""

    apis: tuple[Words, ...]

    @property
    def dialects(self) -> tuple[str, ...]:
        return tuple(api.name for api in self.apis)

    @property
    def literal_keys(self) -> frozenset[str]:
        return frozenset(api.name for api in self.apis if api.literal_keys)

    @property
    def settings(self) -> tuple[tuple[str, type[msgspec.Struct]], ...]:
        return tuple(own for api in self.apis for own in api.settings)

    def scopes_of(self, dialects: Iterable[str]) -> list[str]:
        """The scopes of these dialects (none: of all of them), each once."""
        named = set(dialects)
        chosen = [api for api in self.apis if api.name in named] or self.apis
        return list(dict.fromkeys(scope for api in chosen for scope in api.scopes))

    def scopes_in_words(self, joined: str, named: str) -> str:
        """The scopes that most dialects have, then the others' by name: `a JOINED b, NAMED Other c JOINED d`."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for api in self.apis:
            groups.setdefault(api.scopes, []).append(api.name.title())
        first, *others = sorted(groups, key=lambda scopes: -len(groups[scopes]))
        join = f" {joined} ".join
        rest = (f", {named} {' and '.join(groups[scopes])} {join(scopes)}" for scopes in others)
        return join(first) + "".join(rest)

    def key_maker(self, dialects: Iterable[str]) -> Callable[[KeyKind], str] | None:
        """What makes raw keys for these dialects; None where they are not one with a shape of its own."""
        named = tuple(dialects)
        makers = [api.make_key for api in self.apis if (api.name,) == named]
        return makers[0] if makers else None
