"""The journal's own limits: one frozen struct, each field with its unit and its reason.

`check` refuses combinations that can't work; every other module takes the values as given.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fanion.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB


class JournalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How events are kept. The defaults fit one worker of a server with a 5 MiB body limit."""

    ack: Literal["durable", "buffered", "replicated"] = "durable"
    """durable: answered after fdatasync. buffered: answered once in the ring, which outlives the process.
    replicated: answered once the stream has acknowledged it, too (`replicated`)."""
    ring_bytes: int = 32 * MIB
    """Data of one worker's ring, a multiple of 4096: four of the largest records, and 0.3 s at 100 MB/s."""
    segment_bytes: int = 64 * MIB
    """A log segment made ready in advance, a multiple of 4096. Larger: fewer rotations, longer recovery."""
    group_bytes: int = MIB
    """Most bytes of one drain beyond one record: what a single fdatasync has to carry bounds its time."""
    ready_segments: int = 2
    """Segments that wait for the writer once a quarter of the current one is used: the next, and one to spare."""
    sync_interval_ms: float = 0.0
    """Least time between two fdatasyncs, for disks with few operations a second; 0: as soon as data waits."""
    raise_priority: bool = True
    """Whether the writer thread asks for SCHED_FIFO, else nice -10, else a short time slice."""
    slots: int = 256
    """Writers of one journal: the most worker processes, dead ones that were not yet adopted included."""
    stall_ms: float = 700.0
    """Time without a durable record after which waiting requests are answered "overloaded" (within 1 s)."""
    reserve_bytes: int = 256 * MIB
    """Free bytes that the journal leaves on its disk; below reserve + 2 segments it takes nothing new."""
    retention_hours: float = 7 * 24.0
    """Sealed segments older than this are removed once every registered reader has passed them, or has to yield; 0:
    never."""
    retention_bytes: int = 64 * 1024 * MIB
    """Total size above which the oldest sealed segments are removed under the same condition; 0: no limit."""
    retention_forced: bool = False
    """Whether the two limits also remove what a registered reader has not passed yet."""
    clock_trust_hours: float = 24.0
    """How long a wall clock that jumped must stay so before it is believed, and a new journal's be followed before
    anything is deleted by age."""
    compress: bool = True
    """Whether sealed segments are compressed in the background, by a process of low priority."""
    pool_segments: int = 4
    """Files kept for recycling; more are removed. Recycling keeps fdatasync's p99.9 at 2-4 ms, not 8-34."""

    @classmethod
    def taken_from(cls, group: msgspec.Struct) -> JournalSettings:
        """The fields that a group of the server's settings has under the same names; the others as here."""
        given = msgspec.structs.asdict(group)
        return cls(**{name: given[name] for name in cls.__struct_fields__ if name in given})

    def check(self) -> JournalSettings:
        """Itself. Raises ConfigError where two settings contradict each other."""
        for name in ("ring_bytes", "segment_bytes"):
            value = getattr(self, name)
            if value < 64 * KIB or value % 4096:
                raise ConfigError(f"journal.{name} is {value}; allowed: multiples of 4096 from 65536")
        if not 4096 <= self.group_bytes <= self.ring_bytes:
            raise ConfigError(f"journal.group_bytes is {self.group_bytes}; allowed: 4096 to ring_bytes")
        if not 1 <= self.slots <= 999:
            raise ConfigError(f"journal.slots is {self.slots}; allowed: 1 to 999")
        if not 1 <= self.ready_segments <= 8:
            raise ConfigError(f"journal.ready_segments is {self.ready_segments}; allowed: 1 to 8")
        return self

    @property
    def clock_trust_s(self) -> float:
        return self.clock_trust_hours * 3_600

    @property
    def record_bytes_max(self) -> int:
        """Largest payload of one record: a quarter of the ring."""
        return self.ring_bytes // 4 - 64

    @property
    def staging_bytes(self) -> int:
        """The writer's buffer: one group, or the largest record and what shares a page with it."""
        return max(self.group_bytes, self.ring_bytes // 4) + 8 * KIB
