"""Every bound on definitions, each with its reason. A definition at the bound is accepted, one past it
refused.

The bounds keep publishing in bounded time and memory whatever a file holds; what a request may cost is
bounded by the program's own limits (`model/program.py`).
"""

from __future__ import annotations

from typing import Final

FILES_MAX: Final = 10_000
"""Files in one publication: a directory given by mistake is noticed before its files are read."""

FILE_BYTES_MAX: Final = 256 * 1024 * 1024
"""One definition file. 100,000 large flags are about 100 MB; list members stand in files of their own."""

PATH_BYTES_MAX: Final = 390
"""The path of a definition file, which the store keeps its text under: LMDB keys end at 511 bytes."""

DEPTH_MAX: Final = 64
"""Nesting of a document: deeper than any definition needs, far below the interpreter's recursion limit."""

NODES_MAX: Final = 20_000_000
"""Values in one document, each alias counted with all that it repeats ("billion laughs")."""

REPEATED_FREE: Final = 500_000
REPEATED_SHARE: Final = 20
"""What aliases of YAML and references between rules may repeat of a document in all: so many values, and so many
for each that is written. A few hundred bytes would otherwise have seconds of work."""


def repeated_max(written: int) -> int:
    """Of a document with so many values."""
    return REPEATED_FREE + REPEATED_SHARE * written


CONDITION_DEPTH_MAX: Final = 16
"""Nesting of all, any and not. The program is flat, so this only bounds the lowering's recursion."""

ID_CHARS_MAX: Final = 128
"""Ids of organisations, projects, environments and flags: LMDB keys end at 511 bytes."""

KEY_CHARS_MAX: Final = 128
"""Keys of flags, features, segments and events, and ids of rules."""

NAME_CHARS_MAX: Final = 1_024
"""Names and descriptions, for people only."""

FLAGS_MAX: Final = 200_000
"""Flags and feature variables in one environment: twice what the benches show to be flat."""

RULES_MAX: Final = 1_000
"""Rules of one flag: they are tried in order, so this bounds the time of one evaluation."""

CONDITIONS_MAX: Final = 1_000
"""Conditions of one rule or segment, nested ones included."""

OPERANDS_MAX: Final = 10_000
"""Values of one `in`: longer sets are list segments, which have an index."""

VARIANTS_MAX: Final = 1_000
"""Named values of a flag, variations of a feature, parts of a split."""

VARIABLES_MAX: Final = 1_000
"""Variables of one feature; each is rendered once per outcome."""

TEXT_BYTES_MAX: Final = 65_536
"""A text value or operand: attributes longer than this match nothing (`model/program.py`)."""

VALUE_BYTES_MAX: Final = 1024 * 1024
"""A JSON value as rendered: it is copied into every answer."""

PATTERN_CHARS_MAX: Final = 512
"""A regular expression (docs/apis/feather.md: Operators); the engine's memory grows with the pattern."""

RAW_KEY_CHARS: Final = (8, 512)
"""Raw API keys: shorter ones can be guessed, longer ones don't fit a header comfortably."""

LIST_INLINE_MAX: Final = 100_000
"""Members written out in a definition file; longer lists stand in a file of one key per line."""

MEMBER_BYTES_MAX: Final = 1_024
"""One member of a list segment."""

SOURCES_MAX: Final = 100
"""Files of other formats that one environment refers to."""

EXPOSED_ATTRIBUTES_MAX: Final = 8
"""Attributes that travel along with an exposure: they are written again for each."""

EXPERIMENTS_MAX: Final = 1_000
"""Experiments of one project: each that runs is asked of all rows now and then."""

DERIVED_MAX: Final = 10_000
"""Experiments that features and policies are by themselves: a bundle has a few hundred bytes for each."""

METRICS_MAX: Final = 100
"""Metrics of one experiment: the more there are, the less any of them finds."""

RUNS_MAX: Final = 100
"""Changes of an experiment's planned shares."""
