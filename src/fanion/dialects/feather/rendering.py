"""Feather's part in a publication, without its endpoints."""

from __future__ import annotations

from typing import Final

from fanion.dialects.feather.emit import render
from fanion.dialects.wire.rendering import Rendering

RENDERING: Final = Rendering(render)
