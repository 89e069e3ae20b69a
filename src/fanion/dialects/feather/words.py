"""Feather's words outside its folder."""

from __future__ import annotations

from typing import Final

from fanion.dialects.feather.settings import FeatherSettings
from fanion.model.vocabulary import Words

NAME: Final = "feather"

WORDS: Final = Words(NAME, ("evaluate", "events", "results:read"), settings=(("limiter", FeatherSettings),))
