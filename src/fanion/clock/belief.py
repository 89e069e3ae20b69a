"""How far the wall clock is believed: pure functions of what was believed last and what the clocks say now.

The wall clock may be wrong (a battery that is empty, a typing error, a bad time server), and deletion, expiry and
the turn of a month can't be taken back. So the last good time is kept, with CLOCK_BOOTTIME and the boot's id
beside it: within one boot the time since then is known, over a reboot only that it didn't run backward. A wall
clock that is further off than `STEP_MAX_S` has jumped. A jump is believed once it has lasted, or when an operator
says so. Three readings, each on its safe side: `expiry`, the later of wall and believed time; `month`, which never
turns back; `made_at`, by which events are deleted.

`age` counts the seconds that have passed beyond doubt, from wherever it began. No setting of a clock moves it: it
leaps only when a jump is believed that may be the time for which the machine was off. `eras` say which stamps the
wall clock gave out when, so that an event is as old as it is, whatever its stamp says.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

STEP_MAX_S = 5.0
"""Between two looks, at most `LOOK_EVERY_S` apart. What time services correct at once; more is a jump."""
LOOK_EVERY_S = 60.0
DAY_S = 86_400.0
OFF_QUIETLY_S = 7 * DAY_S
"""A machine that was off for longer and a clock that is wrong look alike; up to that nobody need be told."""
BEGAN_S = 1_793_491_200.0
"""2026-11-01 UTC. No Fanion ran before: a clock that says so is wrong."""
ERAS_MAX = 64
ERA_SLACK_S = 2 * LOOK_EVERY_S + STEP_MAX_S
"""A jump is seen up to a look later than it was, and a stamp may be taken before and used after it."""
SWORN_S = 1e12
"""`kept_s` of a clock that an operator vouched for."""


class Moment(NamedTuple):
    """What the clocks say: Unix seconds, CLOCK_BOOTTIME in seconds, and which boot that counts from."""

    wall: float
    boottime: float
    boot: str


class Era(msgspec.Struct, frozen=True):
    """From age `start` on the wall clock was `ahead` seconds ahead of the age."""

    start: float
    ahead: float


class Jump(msgspec.Struct, frozen=True):
    """A wall clock that isn't believed: `ahead` of the believed time (negative: behind) for `lasted_s`.

    `off_s`: how much of it may be time for which the machine was off, since age `since`.
    """

    ahead: float
    lasted_s: float = 0.0
    off_s: float = 0.0
    since: float = 0.0

    @property
    def quiet(self) -> bool:
        """A machine that was off for a while: nothing that anyone need be told."""
        return 0 < self.ahead <= min(self.off_s + STEP_MAX_S, OFF_QUIETLY_S)


class Belief(msgspec.Struct, frozen=True):
    """What was believed at one moment. `kept_s`: for how long the time has been followed. `latest`: of `month`."""

    boot: str
    boottime: float
    age: float
    offset: float
    """Believed Unix time less `age`."""
    latest: float
    kept_s: float
    eras: tuple[Era, ...]
    jump: Jump | None = None

    @property
    def believed(self) -> float:
        """Unix seconds: the last good time and what has passed since."""
        return self.age + self.offset

    @property
    def wall(self) -> float:
        return self.believed + (self.jump.ahead if self.jump else 0.0)

    @property
    def expiry(self) -> float:
        """Unix seconds by which keys and tokens end: the later of wall and believed time, so that neither a clock
        that fell back nor a last good time of long ago lets an old one in."""
        return max(self.wall, self.believed)

    @property
    def cautious(self) -> float:
        """Unix seconds, the earlier of the two: what something that must not last too long is counted from."""
        return self.wall if self.jump is None or self.jump.quiet else min(self.wall, self.believed)

    @property
    def month(self) -> float:
        """Unix seconds that decide the month; never before any that it was, until an operator says so."""
        return max(self.latest, self.wall if self.jump and self.jump.quiet else self.believed)

    def made_at(self, stamp: float) -> float:
        """The age at which the wall clock gave out `stamp`; of several, the last.

        A stamp from before the time was followed is taken by its word; one that was never given out is one of now.
        """
        ends = (*(era.start for era in self.eras[1:]), self.age)
        for era, end in zip(reversed(self.eras), reversed(ends), strict=True):
            made = stamp - era.ahead
            if era.start - ERA_SLACK_S <= made <= end + ERA_SLACK_S:
                return min(made, self.age)
        made = stamp - self.eras[0].ahead
        return made if made < self.eras[0].start else self.age

    def deletable_before(self, kept_s: float, trust_s: float) -> float:
        """The age before which something was made that has been kept for `kept_s`. Nothing has while the time
        itself has not been followed for `trust_s`: a first look at a clock proves nothing."""
        return self.age - kept_s if self.kept_s >= trust_s else -math.inf


def begin(now: Moment, floor: float = 0.0) -> Belief:
    """The first look. The wall clock is believed, unless it is before `floor`, a moment that has certainly been."""
    good = max(now.wall, floor, BEGAN_S)
    ahead = now.wall - good
    jump = Jump(ahead, since=good) if ahead < -STEP_MAX_S else None
    return Belief(now.boot, now.boottime, good, 0.0, good, 0.0, (Era(good, ahead),), jump)


def look(belief: Belief, now: Moment, trust_s: float) -> Belief:
    """What is believed now; a jump that has lasted for `trust_s` is."""
    same_boot = now.boot == belief.boot and now.boottime >= belief.boottime
    passed = now.boottime - belief.boottime if same_boot else 0.0
    age = belief.age + passed
    ahead = now.wall - age - belief.offset
    eras = belief.eras
    if abs(now.wall - age - eras[-1].ahead) > STEP_MAX_S:
        eras = (*eras, Era(belief.age, now.wall - age))
        eras = eras if len(eras) <= ERAS_MAX else (eras[0], *eras[2:])
    seen = msgspec.structs.replace(
        belief,
        boot=now.boot,
        boottime=now.boottime,
        age=age,
        kept_s=min(belief.kept_s + passed, SWORN_S),
        eras=eras,
        jump=None,
    )
    if abs(ahead) <= STEP_MAX_S:
        seen = msgspec.structs.replace(seen, offset=seen.offset + ahead)
    else:
        jump = _jump_again(belief, ahead, passed) if same_boot else _jump_over_reboot(belief, now, ahead)
        seen = msgspec.structs.replace(seen, jump=jump)
        if jump.lasted_s >= trust_s:
            seen = _accept(seen, jump, now)
    return msgspec.structs.replace(seen, latest=seen.month)


def trust(belief: Belief | None, now: Moment) -> Belief:
    """An operator says that the wall clock is right."""
    if belief is None:
        good = Belief(now.boot, now.boottime, now.wall, 0.0, now.wall, SWORN_S, (Era(now.wall, 0.0),))
    else:
        good = look(belief, now, SWORN_S)
        good = good if good.jump is None else _accept(good, good.jump, now)
    return msgspec.structs.replace(good, kept_s=SWORN_S, latest=now.wall)


def _jump_again(belief: Belief, ahead: float, passed: float) -> Jump:
    """Within a boot, all of a new jump was set by someone."""
    before = belief.jump
    if before is None:
        return Jump(ahead, since=belief.age)
    lasted_s = before.lasted_s + passed if abs(ahead - before.ahead) <= STEP_MAX_S else 0.0
    return msgspec.structs.replace(before, ahead=ahead, lasted_s=lasted_s)


def _jump_over_reboot(belief: Belief, now: Moment, ahead: float) -> Jump:
    """By how much the wall clock went on over a reboot may be the time for which the machine was off; not so when
    it was certainly wrong before. A machine that is off every night goes on towards being believed."""
    before = belief.jump or Jump(0.0, since=belief.age)
    moved = now.wall - belief.wall
    off_s = moved if moved > 0 and belief.wall >= BEGAN_S else 0.0
    goes_on = abs(moved) <= STEP_MAX_S or 0 < off_s <= DAY_S
    return Jump(
        ahead,
        lasted_s=before.lasted_s if goes_on else 0.0,
        off_s=before.off_s + off_s if moved >= -STEP_MAX_S else 0.0,
        since=before.since if before.off_s else belief.age,
    )


def _accept(seen: Belief, jump: Jump, now: Moment) -> Belief:
    """The wall clock is right from here on. What may have been time off was time."""
    off_s = max(0.0, min(jump.off_s, jump.ahead))
    eras = tuple(
        Era(era.start + off_s, era.ahead - off_s) if era.start >= jump.since else era for era in seen.eras
    )
    age = seen.age + off_s
    return msgspec.structs.replace(seen, age=age, offset=now.wall - age, eras=eras, jump=None)
