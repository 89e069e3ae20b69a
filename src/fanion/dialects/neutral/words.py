"""The words of the neutral API outside its folder."""

from __future__ import annotations

from typing import Final

from fanion.model.vocabulary import Words

NAME: Final = "neutral"

WORDS: Final = Words(NAME, ("events", "results:read"))
