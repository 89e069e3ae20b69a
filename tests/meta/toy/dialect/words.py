"""The toy's words outside its folder, with a setting in a group of its own and keys of a shape of their own."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fanion.auth.keys import random_key
from fanion.model.api_key import KeyKind
from fanion.model.vocabulary import Words

NAME: Final = "toy"


class ToySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a toy may be told."""

    greeting: Annotated[str, msgspec.Meta(min_length=1, description="a word that stands in every answer")] = (
        "hello"
    )


def make_key(kind: KeyKind) -> str:
    return "toy_" + random_key(kind)


WORDS: Final = Words(NAME, ("ask", "tell"), settings=((NAME, ToySettings),), make_key=make_key)
