"""What the console asks a reader, and what it answers. A text is as it was found: pages escape it.

Lists are bounded where they are made: `total` says how many there are of which some are shown.
Those of previews are in `preview_questions`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.console.preview_questions import Files, PreviewOf

ROWS_MAX: Final = 50
"""Of a page with pages."""
WORDS_MAX: Final = 400
"""Characters of a value that are shown in a line."""


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """The console's tokens, a list of `store.console.ConsoleToken`."""


class FindFlags(msgspec.Struct, frozen=True, tag=True):
    """Flags whose key, group or description has `text`; "" of a filter: any. `page`: from 0. Answer: `FlagList`."""

    text: str = ""
    environment: str = ""
    source: str = ""
    page: int = 0


class OneFlag(msgspec.Struct, frozen=True, tag=True):
    """Answer: `FlagFacts`."""

    environment: str
    source: str
    key: str


class WhatIf(msgspec.Struct, frozen=True, tag=True):
    """`context`: JSON. Answer: `Explained`."""

    environment: str
    source: str
    key: str
    context: str


class Experiments(msgspec.Struct, frozen=True, tag=True):
    """Answer: a list of `ExperimentRow`."""


class Keys(msgspec.Struct, frozen=True, tag=True):
    """Answer: `KeyList`."""

    environment: str = ""
    text: str = ""
    page: int = 0


class Lists(msgspec.Struct, frozen=True, tag=True):
    """Answer: a list of `ListRow`. `member`: looked for in each."""

    member: str = ""


class JournalState(msgspec.Struct, frozen=True, tag=True):
    """Answer: `JournalFacts`. `verify`: read it through, for so many seconds at most."""

    verify_s: float = 0.0


class OverridesInForce(msgspec.Struct, frozen=True, tag=True):
    """Answer: `OverrideList`."""


class Tail(msgspec.Struct, frozen=True, tag=True):
    """The newest events that fit the filters; "" of one: any. Answer: `EventList`."""

    environment: str = ""
    dialect: str = ""
    kind: str = ""
    flag: str = ""
    unit: str = ""
    most: int = 50


class OneEvent(msgspec.Struct, frozen=True, tag=True):
    """By its identity; `received_ns`: where to begin. Answer: `EventFacts`."""

    writer: int
    epoch: int
    sequence: int
    index: int
    received_ns: int


Question = (
    Tokens
    | FindFlags
    | OneFlag
    | WhatIf
    | Experiments
    | Keys
    | Lists
    | JournalState
    | OverridesInForce
    | Tail
    | OneEvent
    | Files
    | PreviewOf
)


class FlagRow(msgspec.Struct, frozen=True):
    """`answers`: what it can answer, in words. `override`: the answer that lies over it; "": none."""

    environment: str
    source: str
    key: str
    group: str
    description: str
    answers: list[str]
    override: str


class FlagList(msgspec.Struct, frozen=True):
    """`environments`, `sources`: all there are, for filters."""

    generation: int
    environments: list[str]
    sources: list[str]
    total: int
    rows: list[FlagRow]


class AnswerWords(msgspec.Struct, frozen=True):
    """At one outcome."""

    variant: str
    value: str


class Told(msgspec.Struct, frozen=True):
    """A sentence: any of the `ways`, each all of its conditions; then `answer`, or a draw by `by` into `shares`. An
    answer None of a share: the next sentences go on."""

    ways: list[list[str]]
    more: int
    answer: AnswerWords | None
    by: str
    shares: list[tuple[float | None, AnswerWords | None]]


class Linked(msgspec.Struct, frozen=True):
    """Another flag of the environment."""

    source: str
    key: str


class OverrideWords(msgspec.Struct, frozen=True):
    """Times are Unix seconds; `until` None: until it is cleared."""

    environment: str
    flag: str
    source: str
    answer: str
    since: float
    until: float | None
    by: str
    why: str


class FlagFacts(msgspec.Struct, frozen=True):
    """`siblings`: of the same group. `asks`, `asked_by`: flags that depend on each other; `audiences`: segments."""

    generation: int
    environment: str
    source: str
    key: str
    group: str
    description: str
    client_safe: bool
    apis: list[str]
    answers: list[AnswerWords]
    told: list[Told]
    program: list[str]
    siblings: list[Linked]
    asks: list[Linked]
    asked_by: list[Linked]
    audiences: list[str]
    lists: list[str]
    experiments: list[tuple[str, str]]
    override: OverrideWords | None


class Draw(msgspec.Struct, frozen=True):
    """Where a unit fell. `low`, `high`: of the part that it fell into, as shares of all; `at`: the middle of its
    bucket. `edge`: how far to the nearest edge that leads elsewhere, a share; None: there is none."""

    bucket: int
    buckets: int
    at: float
    parts: list[tuple[float, float, str, bool]]
    edge: float | None


class Step(msgspec.Struct, frozen=True):
    """`words`: what was found; `value`: of what it looked at, as JSON, None: nothing was there or looked at."""

    decision: str
    words: str
    looked_at: str
    value: str | None
    draw: Draw | None = None


class Explained(msgspec.Struct, frozen=True):
    """`apis`: (name, answer as that API gives it, indented)."""

    generation: int
    environment: str
    source: str
    key: str
    answer: AnswerWords | None
    resolution: str
    apis: list[tuple[str, str]]
    steps: list[Step]
    override: OverrideWords | None


class ExperimentRow(msgspec.Struct, frozen=True):
    """Times are Unix seconds; `ends` None: not planned. `derived_from`: the format that has it; "": written out."""

    environment: str
    key: str
    name: str
    flag: str
    variants: list[str]
    metrics: list[str]
    begins: float | None
    ends: float | None
    derived_from: str
    state: str


class KeyRow(msgspec.Struct, frozen=True):
    """`begins`: the raw key's known prefix and what may be shown behind it. `used`: the hour of the last use, Unix
    seconds."""

    id: str
    environment: str
    kind: str
    begins: str
    opens: list[str]
    state: str
    expires: float | None
    used: float | None
    name: str
    origin: str


class KeyList(msgspec.Struct, frozen=True):
    environments: list[str]
    total: int
    rows: list[KeyRow]


class ListRow(msgspec.Struct, frozen=True):
    """`held`: whether the member that was looked for is in it; None where none was."""

    environment: str
    name: str
    members: int
    held: bool | None


class WriterRow(msgspec.Struct, frozen=True):
    """As `fanion journal stats` has it; times are Unix seconds, 0: none."""

    writer: int
    epoch: int
    segments: int
    compressed: int
    records: int
    disk_bytes: int
    first: float
    last: float
    ring_bytes: int


class ReaderRow(msgspec.Struct, frozen=True):
    """`lost`: records that left before it read them."""

    name: str
    records: int
    held_bytes: int
    lost: int


class Verified(msgspec.Struct, frozen=True):
    """`seen` of `segments` were read; `defects` in words."""

    segments: int
    seen: int
    records: int
    defects: list[str]


class JournalFacts(msgspec.Struct, frozen=True):
    writers: list[WriterRow]
    readers: list[ReaderRow]
    disk_bytes: int
    retention: str
    verified: Verified | None
    missing: str


class LoggedOverride(msgspec.Struct, frozen=True):
    """One change of overrides."""

    at: float
    environment: str
    change: str
    flag: str
    answer: str
    by: str
    why: str


class OverrideList(msgspec.Struct, frozen=True):
    in_force: list[OverrideWords]
    log: list[LoggedOverride]


class EventRow(msgspec.Struct, frozen=True):
    """`value`: as JSON."""

    writer: int
    epoch: int
    sequence: int
    index: int
    received_ns: int
    received_at: str
    kind: str
    environment: str
    dialect: str
    unit: str
    flag: str
    variant: str
    metric: str
    value: str
    disposition: str


class EventList(msgspec.Struct, frozen=True):
    """`since_s`: how far back was looked; `whole`: all of that was read, in the time that there is."""

    rows: list[EventRow]
    since_s: float
    whole: bool
    read: int
    missing: str


class EventFacts(msgspec.Struct, frozen=True):
    """`canonical`, `source`: JSON, indented; `record`: what the record says, in words."""

    row: EventRow
    canonical: str
    source: str
    record: list[tuple[str, str]]
