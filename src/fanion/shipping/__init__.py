"""Shipping: the journal's records to a replicated stream of NATS JetStream, and rows of many machines' out of it.

Modules: `block` (what a message is) <- `chain`, `ledger` (which blocks the stream took: in memory, in a file),
`stream` (the JetStream side), `flight` (several on their way at once) <- `reconciler` (whether it still has them),
`shipper` (reads the journal on, sends, notes), `acks` (what workers are told that wait for it), `service` (its
loop, in a process beside the workers), `state` (what is said of it). It is a registered reader of the journal like
a sink, by the name `READER`, so that retention waits for it. On another machine: `taken` (which records have come)
<- `downstream` (what a pipeline reads in the place of a journal) <- `rows` (its loop).

Message: subject fanion.events.STREAM.MACHINE.WRITER, id MACHINE-WRITER-EPOCH-FIRST-NEXT-PART, little-endian
    0      magic "FNANBLK1"
    8      machine, 16 bytes; writer u32, part u16, parts u16
    32     epoch, first sequence, next sequence (behind the last record), xxh64 of what follows, u64 each
    64     records as they stand in the log segment (`fanion.journal`), whole ones, of one writer and epoch in
           sequence; a record that is larger than a message in parts, each a message
A record's identity is (machine, writer, epoch, sequence). Whoever reads the stream has to take each once by it: a
block may come twice, and after a failure behind a later one. Where sequences are missing between two blocks
that have come, the journal couldn't read them either (damage), once the shipper is past them.

Decisions
    2026-11  Records go as they are, neither compressed nor encoded anew: the shipper copies bytes, and the
             checksums of the ring and the segment have been checked by the reader. Compression is the stream's own.
    2026-11  The ledger isn't synced. What a power cut takes of it is sent again, and a block that comes twice is
             one.
    2026-11  Finished segments are read back whole, once, before retention may take them; after that holes are
             looked for by one small request. Rejected: believing acknowledgements (one flipped bit in a server's
             file lost 7,739 of 60,000 acknowledged messages), and counting messages, which says nothing of what is
             in them.
    2026-11  Downstream takes records by (machine, writer, sequence), held as ranges in the rows' manifest, and
             believes no position in the stream: one that was made anew or lost its end is read again from its
             beginning. Rejected: a consumer that the server keeps, which would be a second place that can't move in
             one step with the files; JetStream's own de-duplication, which forgets after two minutes. The price:
             a few bytes of the manifest for each writer and each gap.
    2026-11  What one server can't read counts as not read, and is asked for again, until the stream says that it
             is gone. Rejected: passing it over, as what is gone is: with one flipped bit, whether a record has a
             row would depend on which replica was asked.
    2026-11  Under `ack = "replicated"` the shipper is rung for, sends what is new between the steps of its looks,
             and tells of it before it writes it down. Workers that publish by themselves would be as many
             connections, a second order of each writer's records, and a second place that knows what was sent.
    2026-11  A stream that was made anew gets all again that the journal has: the state has when it was made. Holes
             alone don't say it, as the new one has other messages under the same sequences; nor do clocks.
    2026-11  A window of 32 blocks slides: the next leaves once the oldest is acknowledged; the place moves over
             what is acknowledged without a gap. What failed or was cut off begins again at the place: with up
             to 32 blocks that the stream may have, and 16 whose acknowledgement the ledger hadn't yet. Rejected:
             to wait for all 32 before the next leave, while either side had nothing to do; and a ledger of
             acknowledgements as they come, whose gaps would be of two kinds.
    2026-11  In each ack mode nothing of a killed worker's is shipped that a power cut could still take from the
             journal (`journal.proven`): it waits for the slot to be drained, 0.3 s where another worker lives.
             Rejected: to ship what stands in the log; and to tell records of equal sequences apart by epoch
             downstream, since those that recovery writes again have another one, too.
    2026-11  What is lacking is sent again under another id, since the stream's own memory of ids would drop it,
             and once in `check_s`, so that a stream that keeps nothing isn't flooded.
"""

from importlib.util import find_spec

from fanion.nats.connection import NEEDS

READER = "shipping"
DIRECTORY = "shipping"


def missing_library() -> str:
    """The package that isn't installed; "": none is."""
    return next((package for module, package in NEEDS if find_spec(module) is None), "")
