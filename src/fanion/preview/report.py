"""What a publication would change, as one object and as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from fanion.errors import ConfigError
from fanion.model.experiment import Plan
from fanion.model.text import counted
from fanion.preview.changes import Change
from fanion.preview.moves import Moved
from fanion.preview.shares import Share

MOVES_MAX: Final = 20
"""Of one flag, the most frequent ones."""


class Move(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    before: str
    after: str
    units: int


class FlagReport(msgspec.Struct, frozen=True):
    """`units`: who was asked for; `moved`: who would get another answer. `redrawn`: lots are drawn from something
    else, so that everyone is drawn anew. `experiments`: running ones whose units it would move.
    `shares`: those of its draws that don't come out as they are written."""

    source: str
    key: str
    change: Literal["new", "lost", "changed"]
    difference: list[str]
    units: int = 0
    moved: int = 0
    moves: list[Move] = []
    redrawn: bool = False
    experiments: list[str] = []
    by: dict[str, dict[str, tuple[int, int]]] = {}
    shares: list[Share] = []

    @property
    def share(self) -> float:
        return self.moved / self.units if self.units else 0.0


class Preview(msgspec.Struct, frozen=True):
    """Of one environment. `unchanged`: how many flags and variables stay as they are. `asked`: who was asked
    for, in words. `keys_lost`: keys of the definitions that would open nothing."""

    environment: str
    unchanged: int
    asked: str
    flags: list[FlagReport]
    keys_lost: list[str] = []

    @property
    def empty(self) -> bool:
        return not self.flags and not self.keys_lost


def report_flag(
    change: Change,
    difference: list[str],
    moved: Moved | None,
    plans: Iterable[Plan],
    shares: Sequence[Share] = (),
) -> FlagReport:
    """`plans`: of experiments that run now."""
    kind: Literal["new", "lost", "changed"] = (
        "new" if change.before is None else "lost" if change.after is None else "changed"
    )
    found = moved or Moved()
    most = sorted(found.moves.items(), key=lambda item: (-item[1], item[0]))[:MOVES_MAX]
    hit = [plan.key for plan in plans if plan.flag in (change.group, change.key)]
    return FlagReport(
        change.source,
        change.key,
        kind,
        difference,
        found.units,
        found.moved,
        [Move(*pair, units) for pair, units in most],
        change.redrawn,
        hit if kind == "lost" or found.moved else [],
        found.by,
        list(shares),
    )


class Line(msgspec.Struct, frozen=True):
    """`alarm`: to be seen first."""

    text: str
    alarm: bool = False


def lines_of(preview: Preview) -> list[Line]:
    """For people."""
    found = [
        Line(
            f"environment {preview.environment}: {counted(len(preview.flags), 'flag')} changed or new or lost, "
            f"{preview.unchanged:,} as they are"
        )
    ]
    if any(one.change == "changed" for one in preview.flags):
        found.append(Line(f"asked for {preview.asked}"))
    for flag in preview.flags:
        found += _flag_lines(flag)
    found += [Line(f"key {name} stops working", alarm=True) for name in preview.keys_lost]
    return found


def _flag_lines(flag: FlagReport) -> list[Line]:
    name = f"{flag.source}:{flag.key}"
    if flag.change != "changed":
        what = "new" if flag.change == "new" else "lost: whoever asks gets the caller's default"
        found = [Line(f"  {name} is {what}", alarm=flag.change == "lost")]
    else:
        found = [Line(f"  {name}: {flag.moved:,} of {flag.units:,} units move ({100 * flag.share:.2f} %)")]
        found += [Line(f"      {move.before} -> {move.after}: {move.units:,}") for move in flag.moves]
        if flag.redrawn:
            text = "      everybody is drawn anew: lots are drawn from another seed, or by something else"
            found.append(Line(text, alarm=True))
    for key in flag.experiments:
        found.append(
            Line(f"      the experiment {key} runs, and this moves people who are in it", alarm=True)
        )
    found += [Line(_share_text(one), alarm=True) for one in flag.shares]
    for attribute, values in flag.by.items():
        for value, (units, moved) in values.items():
            share = 100 * moved / units if units else 0.0
            found.append(Line(f"      {attribute} = {value}: {moved:,} of {units:,} ({share:.2f} %)"))
    found += [Line(f"    {line}") for line in flag.difference]
    return found


def _share_text(share: Share) -> str:
    whose = f"the experiment {share.experiment} has" if share.experiment else "a share isn't what is written:"
    return (
        f"      {whose} {share.gets}: {100 * share.found:.2f} % of {share.units:,} units that drew, "
        f"{100 * share.written:.6g} % is written"
    )


class Limit(msgspec.Struct, frozen=True):
    """What a pipeline doesn't let pass: more of `what` than `most` (a share for `unit-changes`)."""

    what: str
    most: float
    text: str


LIMITS: Final = (
    "unit-changes",
    "flags-lost",
    "flags-redrawn",
    "experiments-moved",
    "keys-lost",
    "shares-off",
)


def read_limit(text: str) -> Limit:
    """`unit-changes>1%`, or one of the others with a number: `flags-lost>0`. Raises ConfigError."""
    found = re.fullmatch(r"([a-z-]+)\s*>\s*(\d{1,9}(?:\.\d{1,9})?)(%?)", text.strip(), re.ASCII)
    if found is None or found[1] not in LIMITS or (found[3] == "%") is not (found[1] == "unit-changes"):
        others = ", ".join(f"{name}>0" for name in LIMITS[1:])
        raise ConfigError(f"--fail-on: {text!r}; allowed: unit-changes>1%, {others}")
    return Limit(found[1], float(found[2]) / (100 if found[3] else 1), text.strip())


def beyond(previews: Sequence[Preview], limit: Limit) -> str:
    """Why the limit doesn't hold; "" where it does. Shares are of each flag by itself."""
    flags = [flag for preview in previews for flag in preview.flags]
    counts: dict[str, list[Any]] = {
        "flags-lost": [flag.key for flag in flags if flag.change == "lost"],
        "flags-redrawn": [flag.key for flag in flags if flag.redrawn],
        "experiments-moved": [key for flag in flags for key in flag.experiments],
        "keys-lost": [key for preview in previews for key in preview.keys_lost],
        "shares-off": [flag.key for flag in flags if flag.shares],
    }
    if limit.what in counts:
        many = counts[limit.what]
        return f"{limit.text}: {', '.join(many)}" if len(many) > limit.most else ""
    worst = max(flags, key=lambda flag: flag.share, default=None)
    if worst is None or worst.share <= limit.most:
        return ""
    return f"{limit.text}: {worst.source}:{worst.key} moves {100 * worst.share:.2f} %"
