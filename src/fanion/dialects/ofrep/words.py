"""OFREP's words outside its folder."""

from __future__ import annotations

from typing import Final

from fanion.dialects.ofrep.settings import OfrepSettings
from fanion.model.vocabulary import Words

NAME: Final = "ofrep"

WORDS: Final = Words(NAME, ("evaluate",), settings=((NAME, OfrepSettings),), literal_keys=True)
