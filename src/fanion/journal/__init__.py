"""The journal: every accepted event batch, on disk, in order, checksummed. This is its format document.

An answer under `ack = "durable"` means: the events are on the disk, fdatasync has returned. An answer under
`ack = "buffered"` means: the events are in memory that survives the death of any process, not that of the machine.
An answer under `ack = "replicated"` means: they are on the disk, and the stream of `fanion.shipping` has
acknowledged them; where it doesn't within 0.8 s the answer is overload, and the record stays.

Modules: `writer` (the event loop's handle) -> `steward` (a thread) -> `session` (one claim: `slot`, ring, native
writer) -> `recovery`; `log_segment`, `files`, `seal`, `compression`, `packing` (files); `reader`, `proven`, `batch`
-> `event`, `exposures`, `rows`, `columns`; `window`, `window_rebuild` (event ids); `retention` (a process), with
`stamps` for time and `gaps` for what leaves unread; `lag` (how far a reader is behind); `inspection`; `forgetting`,
with `erasing` and `turning` (a unit leaves); `replicas` (what the stream has, in shared memory) -> `replicated`
(who waits for it); `settings`; `storage` (every system call). "Writer NNN" is a slot, "the writer thread" is C,
`JournalWriter` the event loop's.

Limits
    payload of a record     a quarter of the ring, less 64 bytes; never above 256 MiB
    sequence                1 to 2^63 - 2 per writer; the ring refuses beyond
    writers                 999 slots; a writer is one worker process at a time
    segment                 made ready with `segment_bytes`; grows beyond when no other is ready, counted

Files, in DIR/journal (0700, files 0600)
    machine                 the journal's 16 random bytes, hex
    NNN.slot                writer NNN's epoch and next sequence; its flock is the claim (slot.py)
    NNN.ring                its ring; control words and pairing table in fanion_ring.h
    NNN-ORDINAL.log         a log segment; .zst: compressed (compression.py). Found by header, not by name
    pool-*.free             segments to be recycled; NNN-*.tmp: files being made; removed-*.tmp: on their way out,
                            recycled-*.tmp: into the pool
    turn, NNN.turned        a word while writers are asked to begin fresh segments, and their answers (turning.py)
    readers/NAME.json       the checkpoint of a registered reader; NAME.gaps: what left before it was read

A record's identity is (machine, writer, epoch, sequence). Sequences of a writer have no gaps and go on across
epochs; claiming a slot raises and syncs the epoch.

Log segment: fanion_segment_header, all integers little-endian
    0      header: magic "FNANLOG1", version, CRC-32C, machine, salt, ordinal, epoch, first sequence, life, ...
    3584   the same header again; of two valid copies the higher life counts, then the started one
    4096   seal: magic "FNANSEAL", CRC-32C seeded with the salt, offset of the index, end sequence, counts, times
    8192   records, each at a multiple of 32

Record: fanion_record_header, 32 bytes, then the payload, zero bytes up to a multiple of 32
    0   marker        low half of the salt, never 0: zeros are the end of the log
    4   checksum      CRC-32C seeded with the salt's high half, from byte 8 to the padded end
    8   length        of the payload
    12  kind          1 events, 3 index footer, 4 exposures (2, padding, only in rings)
    13  pending       24 bits: how many sequences before this one were not durable when it was written
    16  sequence
    24  received_ns   wall clock
    Payload of kind 1: dialect length u16, environment length u16, dispositions u32, ids u32, whole u8, holes u8, 2
    zeros;
    dialect, environment, a byte per event (0 kept, 1 verified, 2 duplicate; none: all kept), 16 bytes per event id
    (zeros: none, or a duplicate; else a hash of which 24 bits say whose id it is) and behind them per used token
    (`window`),
    body. whole: the body as received, `{"events": [...]}` or one event object; else a JSON array of events. holes:
    events of it were erased, and null stands in their places: no event, no row (`erasing`).
    Payload of kind 4: the same, without dispositions and ids; its body is `exposures`'. Nobody waits for it.
    Worked bytes, salt 0x11111111_2222BEEF, sequence 7, dialect "feather", environment "p", body "[]":
    EFBE2222 cccccccc 1A000000 01000000 0700000000000000 ................ 0700 0100 00000000 00000000 00 000000
    "feather" "p" "[]" and six zero bytes: 64 in all.

What may be trusted: the salt is random for each life of a file and never leaves it, so neither the file's earlier
records nor bytes that a client sends can pass for a record; a record copied within one file has a sequence that
was taken already.

Order of writing
    made ready    blocks, zeros as far as time allows (or an earlier life), then the header with first sequence 0;
                  file synced, renamed, directory synced. The steward does it; the writer thread creates, renames
                  and unlinks nothing.
    first group   records, fdatasync, then the header with the first sequence, fdatasync, then acknowledged. In
                  this order, since a started segment hides whatever earlier segments hold from its first
                  sequence on.
    later groups  records, fdatasync, acknowledged
    failure       of pwrite or fdatasync, or a file without a name: the segment is given up, never tried again.
                  Everything that the ring still holds goes to another segment as a first group. The ring lets go
                  of a record only when it is durable and the page with its last byte is complete, because a later
                  failed write of that page could take it along.
    recovery      the same: the last started segment is scanned and synced, and what the ring holds from its
                  oldest record on is written again to a segment of its own. A ring record counts only if the
                  sequences up to it are unbroken.
    seal          index footer, fdatasync, seal page, fdatasync; only ever a help

States after a crash, as a reader and recovery find them. "Expected" is the sequence that must come next, "limit"
the least first sequence of any later segment of the writer, or the writer's durable end. Each case matches one row.
    1  expected >= limit: the end; what stands here does not exist (given up, or torn).
    2  a valid record of kind 1 or 4 with the expected sequence: a record.
    3  a valid record of kind 3 with the expected sequence: the end of a sealed segment.
    Else the expected record is not here. Was it durable? It was if the limit, the seal, the slot, the ring's
    durable word or a later record's pending count says so.
    4  it was, and a later valid record stands behind, within the limit: damage, reported with its place; reading
       goes on at the later record.
    5  it was, and nothing valid stands behind: damage to the end of the segment, reported.
    6  it was not, and these bytes aren't zeros, or a later valid record stands behind: a torn tail, cut here.
    7  it was not, these are zeros or the end of the file, and nothing valid stands behind: the end of the log.
    A file whose two header copies are invalid is reported and not read. Of two files with the same (writer,
    ordinal, epoch, first sequence) one is read, the compressed one if there is one. A gap before a segment's first
    sequence is reported. Names mean nothing, so swapped names change nothing.

How the version moves: a reader refuses a header of a higher version by name. Fields are only changed with a new
version; a server that writes version n reads n - 1 as well, so segments need no conversion.
    2  records of kind 4, in segments and rings

Decisions
    2026-11  CRC-32C with a random seed per file life, not a digest: 8 GB/s by instruction; damage is found to
             1 - 2^-32 per record, and forging needs the 64 bits of the salt. Keyed hashes cost five times as much.
    2026-11  Records first, header last when a segment starts. Header first was the other way: one sync less to
             think about, but after a failed sync the new header could hide durable records that a power cut then
             keeps from being written again.
    2026-11  A segment is allocated whole, then zeroed as far as time allows. Blocks that are only allocated cost
             each sync a commit of the file system, and so a wait for whatever else that holds; blocks appended to
             the file cost more still (p99.9 4 ms, not 0.5, at 170 MB/s). Those of the pool cost neither.
    2026-11  Removed files are shrunk step by step by retention's process, not unlinked whole (`files.shrink`).
    2026-11  What is erased leaves a hole in a record of the same length, in a segment that is written anew beside
             itself: offsets, indexes, seals, checkpoints and others' identities hold. In place a reader could meet
             half of it; a tombstone beside the bytes would erase nothing.
    2026-11  Workers learn of the stream's acknowledgements by a row for each writer in memory that the supervisor
             makes, written by the shipper, with a checksum, and an eventfd each way. A map in a file would have
             to be told from one of another boot, machine or shipper; a socket for each worker has states of its
             own when either end dies; asking the ledger's file takes a system call and a parse for each look. A
             row is a copy of 64 bytes, dies with the server, and is made anew from the ledger.
    2026-11  Under `replicated`, events are refused at once while the stream is known to be away, rather than kept
             and then answered with overload: what has no id would be there as often as its client tried. Those
             that waited as it went away are kept. It is a note of readyz, no reason: the stream is everybody's,
             and machines that all said that they aren't ready would answer no evaluation either.
    2026-11  A pending count in each record instead of a durable mark of its own: the log itself proves which
             missing record is damage and which is a torn tail.
"""

from fanion.journal.settings import JournalSettings
from fanion.journal.writer import JournalState, JournalWriter

__all__ = ["JournalSettings", "JournalState", "JournalWriter"]
