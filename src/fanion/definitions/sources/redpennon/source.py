"""Red Pennon's features as a definition source: `features` (what a file says), `checks`, `lowering`,
`experiments`."""

from __future__ import annotations

from typing import Final

from fanion.definitions.sources.format import SourceFormat
from fanion.definitions.sources.redpennon.checks import parse
from fanion.definitions.sources.redpennon.features import NAME, recognises
from fanion.definitions.sources.redpennon.lowering import lower

FORMAT: Final = SourceFormat(NAME, parse, lower, recognises)
