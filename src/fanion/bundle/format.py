"""The bundle's structs as Python writes them: one `struct.Struct` per section, in the order of the C header.

Do not add, drop, retype or reorder a member without a new `VERSION`; see `fanion.bundle` for the layout.
"""

from __future__ import annotations

import enum
from struct import Struct

MAGIC = 0x0A4E4F494E414689
VERSION = 4
NONE = 0xFFFFFFFF

TOTAL_BYTES_MAX = 2**31
"""A worker maps whole bundles; larger environments should be split."""
DECISIONS_MAX = 1_000_000
NODES_PER_DECISION_MAX = 65_535
ROPES_PER_FRAGMENT_MAX = 64
SET_ITEMS_MAX = 100_000
"""Texts in one set; larger lists are list segments."""
SET_LINEAR = 8
"""Sets up to this many items are scanned, larger ones probed."""
HOLES_MAX = 16
ALTERNATIVES_MAX = 10_000
"""Of one model or set of weights: what choosing may cost."""
VECTORS_MAX = 1_000_000
TERMS_MAX = 100_000
"""Of one model: its score is computed anew for every request."""

NEEDS_TEXT = 1
NEEDS_NUMBER = 2
ANY_ELEMENT = 1
FOLD = 2


class Section(enum.IntEnum):
    """The section table's rows, in order."""

    BLOB = 0
    SLOTS = 1
    DECISIONS = 2
    NODES = 3
    PIECES = 4
    RANGES = 5
    WEIGHTS = 6
    SETS = 7
    SET_ITEMS = 8
    VERSIONS = 9
    COMPARATORS = 10
    EXTERNALS = 11
    TABLES = 12
    ENTRIES = 13
    INDEX = 14
    FRAGMENTS = 15
    ROPES = 16
    DOCUMENTS = 17
    META = 18
    NUMBERS = 19
    TARGETS = 20
    VECTORS = 21
    KEYED = 22
    MODELS = 23
    ALTERNATIVES = 24
    TERMS = 25
    VALUES = 26
    OVERLAYS = 27
    ROWS = 28
    ROW_OUTCOMES = 29
    PATCHES = 30
    EXPRESSIONS = 31
    STEPS = 32
    CONSTANTS = 33
    SPLITS = 34
    REACHED = 35


class ConstantKind(enum.IntEnum):
    """What an expression's constant is."""

    NULL = 0
    FALSE = 1
    TRUE = 2
    NUMBER = 3
    TEXT = 4
    LIST = 5


class NodeType(enum.IntEnum):
    TEST = 0
    HASH = 1
    RANGES = 2
    WEIGHTS = 3
    OUTCOME = 4
    SCORES = 5
    KEYED = 6


HEADER = Struct("<QIIQQ")
SECTION = Struct("<QII")
SLOT = Struct("<IIIIBBBBI")
DECISION = Struct("<IIIIIIII")
MEMO_OFFSET = 20
"""Of its memo cell's number within a decision."""
TEST = Struct("<BBBBIIIII8s")
HASH = Struct("<BBBBIIIIIQ")
BRANCH = Struct("<B3xIII16x")
OUTCOME = Struct("<BBBxiiIII8x")
PIECE = Struct("<IIII")
RANGE = Struct("<qqII")
WEIGHT = Struct("<dII")
SET = Struct("<IIII")
SET_ITEM = Struct("<IIII")
VERSION_RECORD = Struct("<QQQIIII")
COMPARATOR = Struct("<IIIIQQQ")
EXTERNAL = Struct("<IIII")
TABLE = Struct("<IIIIIIII")
ENTRY = Struct("<IIIIIIII")
ENTRY_KEY = Struct("<Q24x")
"""Of an entry, where its key stands in the blob: the offset, and the length above it."""
FRAGMENT = Struct("<II")
ROPE = Struct("<II")
DOCUMENT = Struct("<IIII")
NUMBER = Struct("<I")
DOUBLE = Struct("<d")
VECTOR = Struct("<IIIIII")
KEYED = Struct("<IIIIIIII")
MODEL = Struct("<ddII")
ALTERNATIVE = Struct("<dIIII")
TERM = Struct("<ddIIII")
VALUE = Struct("<IId")
OVERLAY = Struct("<IIII")
ROW = Struct("<IIII")
ROW_OUTCOME = Struct("<IIII")
PATCH = Struct("<II")
EXPRESSION = Struct("<IIII")
STEP = Struct("<B3xi")
CONSTANT = Struct("<II8s")
SPLIT = Struct("<IIIIIIII")
REACHED = Struct("<IIII")

TERM_NUMBER = 0
TERM_TEXT = 1

INT64_OPERAND = Struct("<q")
DOUBLE_OPERAND = Struct("<d")
PAIR_OPERAND = Struct("<II")
ASKED_OPERAND = Struct("<Ii")

RECORD_SIZES = {
    Section.BLOB: 1,
    Section.SLOTS: SLOT.size,
    Section.DECISIONS: DECISION.size,
    Section.NODES: TEST.size,
    Section.PIECES: PIECE.size,
    Section.RANGES: RANGE.size,
    Section.WEIGHTS: WEIGHT.size,
    Section.SETS: SET.size,
    Section.SET_ITEMS: SET_ITEM.size,
    Section.VERSIONS: VERSION_RECORD.size,
    Section.COMPARATORS: COMPARATOR.size,
    Section.EXTERNALS: EXTERNAL.size,
    Section.TABLES: TABLE.size,
    Section.ENTRIES: ENTRY.size,
    Section.INDEX: NUMBER.size,
    Section.FRAGMENTS: FRAGMENT.size,
    Section.ROPES: ROPE.size,
    Section.DOCUMENTS: DOCUMENT.size,
    Section.META: 1,
    Section.NUMBERS: DOUBLE.size,
    Section.TARGETS: NUMBER.size,
    Section.VECTORS: VECTOR.size,
    Section.KEYED: KEYED.size,
    Section.MODELS: MODEL.size,
    Section.ALTERNATIVES: ALTERNATIVE.size,
    Section.TERMS: TERM.size,
    Section.VALUES: VALUE.size,
    Section.OVERLAYS: OVERLAY.size,
    Section.ROWS: ROW.size,
    Section.ROW_OUTCOMES: ROW_OUTCOME.size,
    Section.PATCHES: PATCH.size,
    Section.EXPRESSIONS: EXPRESSION.size,
    Section.STEPS: STEP.size,
    Section.CONSTANTS: CONSTANT.size,
    Section.SPLITS: SPLIT.size,
    Section.REACHED: REACHED.size,
}
