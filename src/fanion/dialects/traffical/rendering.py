"""Traffical's part in a publication, without its endpoints."""

from __future__ import annotations

from typing import Final

from fanion.dialects.traffical.emit import amend, render
from fanion.dialects.wire.rendering import Rendering

RENDERING: Final = Rendering(render, amend)
