"""OFREP's part in a publication, without its endpoints."""

from __future__ import annotations

from typing import Final

from fanion.dialects.ofrep.amend import amend
from fanion.dialects.ofrep.emit import render
from fanion.dialects.wire.rendering import Rendering

RENDERING: Final = Rendering(render, amend)
