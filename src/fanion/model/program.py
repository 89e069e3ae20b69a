"""The decision program: what every source's semantics are lowered to. Long: its words are one language.

A `Lowered` environment holds typed slots, decisions (small graphs of nodes) and parameters (named values
read from a decision's outcome). No node knows which system it came from: missing and mistyped values,
combinators and fall-through exist only as jump targets that the lowering chose.

Invariants, checked by the bundle compiler and again when a bundle is mapped:

- A target is the index of a later node of the same decision, so a run always ends.
- A decision asks only decisions of a lower index (no cycles), at most `DECISION_DEPTH_MAX` deep.
- The structs hold each other in a tree, never in a circle, so the collector need not see them (`gc=False`).
- Every path ends in an `Outcome`; outcomes are numbered 0.. in node order, and each parameter of the
  decision has one answer per outcome.
"""

from __future__ import annotations

import msgspec

from fanion.model.choice import KeyedWeights, Scores
from fanion.model.expression import Steps
from fanion.model.layers import Layer, Row
from fanion.model.parts import Fragment, Piece
from fanion.model.shape import ContextShape
from fanion.model.word import Word

DECISION_DEPTH_MAX = 32
"""How deep decisions may ask each other; the kernel's stack has this many frames."""

TEXT_BYTES_MAX = 65_536
"""A value's text longer than this is treated as a value of kind OTHER: present, matching nothing."""


class Kind(Word):
    """What a slot holds once bound. OTHER is an object, an array of anything but text, or too long a text."""

    MISSING = 0
    NULL = 1
    BOOL = 2
    INT64 = 3
    DOUBLE = 4
    STRING = 5
    VERSION = 6
    STRINGS = 7
    OTHER = 8


class Profile(Word):
    """How JSON values become slot values, and how numbers become text.

    PLAIN: integers in int64 are INT64, others DOUBLE; text of numbers as ECMAScript writes them.
    DOUBLES: every number is DOUBLE; text as ECMAScript.
    VERSIONED: as PLAIN, but a string that is a full SemVer 2.0 version is VERSION; doubles in the shortest
    decimal form without exponent and without a trailing `.0`, integers in decimal.
    """

    PLAIN = 0
    DOUBLES = 1
    VERSIONED = 2


class Source(Word):
    """Where a slot's value comes from in an evaluation context.

    ATTRIBUTE: `attributes[name]`. MEMBER: `members[name]`. MEMBER_OR_ATTRIBUTE: the member when present, else
    the attribute. CONTEXT_KEY: the key of the context of type `context_type`. CONTEXT_ATTRIBUTE: an attribute
    of that context. CONTEXT_KEYS: the keys of all contexts, in request order, joined without a separator.
    COMPUTED: what the slot's steps make of lower slots (`fanion.model.expression`).
    """

    ATTRIBUTE = 0
    MEMBER = 1
    MEMBER_OR_ATTRIBUTE = 2
    CONTEXT_KEY = 3
    CONTEXT_ATTRIBUTE = 4
    CONTEXT_KEYS = 5
    COMPUTED = 6


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One value that rules can look at. `dotted`: when the literal key is absent, the name is split on "."
    and walked (objects by key, arrays by canonical index or "length"). `steps`: of COMPUTED, which has no name."""

    source: Source
    name: str
    context_type: str = ""
    dotted: bool = False
    profile: Profile = Profile.PLAIN
    steps: Steps = ()


class Op(Word):
    """Leaf tests. Every leaf has four exits: true, false, missing, mismatch.

    A MISSING slot always takes the missing exit. NULL takes mismatch, except in EQ_NULL. A kind that the
    operator is not made for takes mismatch. "text" below is the text form of a BOOL, INT64, DOUBLE, STRING
    or VERSION; NULL, STRINGS and OTHER have none (mismatch).
    """

    PRESENT = 0  # true for every value but null
    EQ_NULL = 1  # true for null, false for anything else present
    EQ_BOOL = 2  # operand bool
    EQ_INT64 = 3  # operand int
    EQ_DOUBLE = 4  # operand float; NaN equals nothing
    EQ_NUMBER = 5  # operand float, INT64 or DOUBLE compared as double
    EQ_STRING = 6  # operand str, STRING only
    EQ_VERSION = 7  # operand str (a version): equal in every part, build metadata included
    ORDER_INT64 = 8  # operand int, with `relation`
    ORDER_DOUBLE = 9  # operand float; NaN on either side compares as equal
    ORDER_NUMBER = 10  # operand float, INT64 or DOUBLE; NaN makes every relation false
    ORDER_VERSION = 11  # operand str (a version); precedence, then build metadata as Rust's semver orders it
    ORDER_TEXT = (
        12  # operand float; numbers, or text trimmed and read as a decimal; unreadable or BOOL: false
    )
    STRING_IN = 13  # operand tuple of str; STRING only
    STRING_CONTAINS = 14
    STRING_STARTS = 15
    STRING_ENDS = 16
    TEXT_IN = 17  # operand tuple of str, on the text form
    TEXT_CONTAINS = 18
    TEXT_STARTS = 19
    TEXT_ENDS = 20
    VERSION_MATCHES = 21  # operand tuple of Comparator; every one holds
    DECISION_IS = 22  # operand (decision, variant): the outcome's variant; an ERROR outcome takes mismatch
    TEXT_REGEX = 23  # external; operand str (pattern), search anywhere in the text form
    STRING_REGEX = 24  # external; as above, STRING only
    LIST_MEMBER = 25  # external; operand str (list name), the text form is the member


EXTERNAL_OPS = frozenset({Op.TEXT_REGEX, Op.STRING_REGEX, Op.LIST_MEMBER})
"""Answered outside the kernel, under the GIL, once per request and (op, operand, slot)."""


class Relation(Word):
    """For the ORDER operators: slot RELATION operand."""

    LT = 0
    LE = 1
    GT = 2
    GE = 3


class Version(msgspec.Struct, frozen=True, gc=False):
    """A SemVer 2.0 version, numbers within unsigned 64 bits."""

    major: int
    minor: int
    patch: int
    pre: str = ""
    build: str = ""


class Comparator(msgspec.Struct, frozen=True, gc=False):
    """One half-open bound of a version requirement.

    True when the version's precedence is >= `low` (inclusive) and, where `high` is set, < `high`. A version
    with a pre-release matches only if `pre_of` is set and names the same (major, minor, patch).
    """

    low: Version
    high: Version | None = None
    pre_of: tuple[int, int, int] | None = None


class DecisionVariant(msgspec.Struct, frozen=True, gc=False):
    """Operand of DECISION_IS: the index of the asked decision, and the variant number it must resolve to."""

    decision: int
    variant: int


Operand = bool | int | float | str | tuple[str, ...] | tuple[Comparator, ...] | DecisionVariant | None


class Test(msgspec.Struct, frozen=True, gc=False, tag="test"):
    """A leaf test on one slot (-1 for DECISION_IS) with its four exits.

    `any_element`: a STRINGS slot is tested element by element, true when any passes (an empty list: false);
    `fold`: both sides in ASCII upper case (TEXT_IN only).
    """

    op: Op
    slot: int
    operand: Operand
    on_true: int
    on_false: int
    on_missing: int
    on_mismatch: int
    relation: Relation = Relation.LT
    any_element: bool = False
    fold: bool = False


class HashKind(Word):
    """SHA256 and MURMUR3_128: see `Reduction` for how many of their bits count. All seeds are 0."""

    XXH64 = 0
    SHA256 = 1
    MURMUR3_128 = 2
    MURMUR3_32 = 3


class Reduction(Word):
    """From hash to bucket. h is 64 bits wide (SHA256: the first 8 bytes, big-endian), 128 for MURMUR3_128
    ((h2 << 64) | h1), 32 for MURMUR3_32.

    MODULO: h mod `modulus`. BASIS_POINTS: (h mod 100000) div 10. SCALE32: (h * modulus) >> 32, 32-bit h only.
    UNIT53: the register u = (h mod 2**53) / 2**53; no bucket.
    """

    MODULO = 0
    BASIS_POINTS = 1
    SCALE32 = 2
    UNIT53 = 3


class Hash(msgspec.Struct, frozen=True, gc=False, tag="hash"):
    """Sets the bucket register (or u) from the joined pieces, then goes to `on_done`.

    A slot without a text form goes to `on_missing`; where that is -1 it counts as empty text.
    """

    hash: HashKind
    pieces: tuple[Piece, ...]
    reduction: Reduction
    modulus: int
    on_done: int
    on_missing: int = -1


class Range(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Inclusive at both ends; in a `Ranges` node the first that holds the bucket wins."""

    low: int
    high: int
    target: int


class Ranges(msgspec.Struct, frozen=True, gc=False, tag="ranges"):
    """Branches on the bucket register."""

    ranges: tuple[Range, ...]
    on_none: int


class Weights(msgspec.Struct, frozen=True, gc=False, tag="weights"):
    """Branches on u: the first target whose running sum of weights (added in order, as doubles) exceeds u,
    else the last."""

    weights: tuple[float, ...]
    targets: tuple[int, ...]


class Resolution(Word):
    """What an answer is. Each dialect has one table from these to its own words."""

    MATCHED = 0
    SPLIT = 1
    DEFAULT = 2
    OFF = 3
    MISSING = 4
    RESTRICTED = 5
    ERROR = 6
    NO_VALUE = 7


class Cause(Word):
    """Why a run ended where it did, more finely than its resolution. Each dialect that tells these apart has one
    table from them to its own words."""

    NONE = 0
    """Nothing is to be said: an error, or a decision that only others ask."""
    RULE = 1
    """A rule matched, and names the answer."""
    ROLLOUT = 2
    """A rule or policy matched, and the draw chose the answer."""
    PINNED = 3
    """The answer is stated for this very subject."""
    UNMATCHED = 4
    """There are rules, and none took the subject."""
    DEFAULT = 5
    """There is nothing to match: everyone has this answer."""
    OFF = 6
    COMPLETE = 7
    """It has come to its end: everyone has the final answer."""
    ARCHIVED = 8
    DELETED = 9
    PREREQUISITE = 10
    """Another flag that it depends on doesn't have the variant that it asks for."""
    UNREADABLE = 11
    """An error: its rules can't be read."""


class Reached(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Every way to an outcome leads through this split of `Lowered.splits`; `inside`: the draw put it into one of
    the split's shares, not beside them."""

    split: int
    inside: bool


class Outcome(msgspec.Struct, frozen=True, gc=False, tag="outcome"):
    """The end of a run. `variant`: a number that DECISION_IS compares. `rule`: index of the rule in the
    source, for people (-1: none). `reached`: the splits that a run that ends here drew lots at, by their number."""

    resolution: Resolution
    variant: int = -1
    rule: int = -1
    cause: Cause = Cause.NONE
    reached: tuple[Reached, ...] = ()


Node = Test | Hash | Ranges | Weights | Scores | KeyedWeights | Outcome


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One flag, feature, layer or rule segment. `key` is for people (inspect, errors)."""

    key: str
    nodes: tuple[Node, ...]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a parameter says at one outcome of its decision, whose `cause` it has. `value` is JSON text, None: none
    is served."""

    resolution: Resolution
    value: str | None
    variant: str | None = None
    rule_id: str | None = None
    cause: Cause = Cause.NONE


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """A named value: `answers[n]` belongs to outcome n of `decision`.

    `group` is the flag or feature that owns it, `client_safe` whether publishable keys may see it, `source`
    the definition format it came from (a renderer may refuse to show a foreign one), `variants` every variant
    name that the flag or feature has, served in this environment or not.
    """

    key: str
    group: str
    decision: int
    answers: tuple[Answer, ...]
    client_safe: bool = False
    group_id: str | None = None
    source: str = "native"
    variants: tuple[str, ...] = ()


class Split(msgspec.Struct, frozen=True, gc=False):
    """Where lots are drawn whose outcome is to be recorded. `flag`: the flag, feature or policy. `run`: a digest of
    what decides the draw; another one is another run. `unit`, `slot`: what kind of unit draws and where its text
    stands, where that isn't the unit that the request is about ("", -1)."""

    flag: str
    run: str
    unit: str = ""
    slot: int = -1


class Lowered(msgspec.Struct, frozen=True):
    """Everything the bundle of one environment is compiled from.

    `documents`: answers stored whole, and records that are needed at request time (JSON), by name. Sources and
    dialects share `organisation`, `events` (metrics by name), `segments` (names of rule segments), `descriptions`
    and `metadata` (of flags, by `source:key`; the latter scalars by name); the bundle's own is
    `model.shape.DOCUMENT`; `model.experiment.DOCUMENT` is for whoever computes results, `model.exposure.DOCUMENT`
    for whoever records exposures, `model.row_terms.DOCUMENT` for whoever makes rows; others begin with their
    source's name.
    `identifiers`: the environment's ids, one set per dialect, e.g. {"feather": {"environment": "env_01hx",
    "organisation": "org_01hx"}}. `lists`: names of list segments that LIST_MEMBER operands may use. `layers`:
    in the order in which they lay their values over the parameters. `shapes`: how each source reads a flat context.
    `source_order`: which source counts where several have a key. `splits`: those whose exposures are recorded.
    """

    environment: str
    slots: tuple[Slot, ...] = ()
    decisions: tuple[Decision, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    documents: dict[str, bytes] = {}
    identifiers: dict[str, dict[str, str]] = {}
    lists: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    shapes: dict[str, ContextShape] = {}
    source_order: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """A key that a dialect serves, and a fragment per outcome of its decision.

    Only with rows: `row` is the row that the entry belongs to (-1: none); `guest` marks a key that the table
    has no value for, served where the caller brings one.
    """

    key: str
    decision: int
    fragments: tuple[Fragment, ...]
    client_safe: bool = False
    row: int = -1
    guest: bool = False


class Table(msgspec.Struct, frozen=True):
    """What one dialect serves. `absent` answers unknown keys and, so that nothing leaks, restricted ones.

    `documents`: records that the dialect needs at request time (JSON), by names that begin with its own.
    `rows`, and how many `views` each has (0: the table has no rows): see `fanion.model.layers`.
    """

    entries: tuple[Entry, ...]
    absent: Fragment
    documents: dict[str, bytes] = {}
    rows: tuple[Row, ...] = ()
    views: int = 0
