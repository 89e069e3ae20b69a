"""The archive: the journal's finished segments as objects elsewhere, and back. This is its format document.

Modules: `packed` (what an object is) and `bucket` (where objects lie) <- `archiver` (copies, reads back, goes on),
`service` (its loop, in a process beside the workers), `state` (what is said of it); `restoring` (back);
`forgetting` (a unit leaves). It is a registered reader of the journal by the name `READER`, so that retention waits
for it while the disk has room.

In the bucket or folder
    MACHINE/segments/WRITER-ORDINAL-EPOCH-FIRST     a finished segment; MACHINE is the journal's, in hex
    MACHINE/ends                                    JSON: writer -> the first sequence that isn't archived

An object: little-endian
    0      magic "FNANARC1"
    8      SHA-256 of all that follows
    40     bytes of what stands behind this head u64; SHA-256 of what that holds, uncompressed
    80     machine, 16 bytes; writer u32, 4 zeros; epoch, ordinal, first sequence, next sequence (behind the last
           record), records, lost (of these sequences, what could not be read), the segment's salt, u64 each
    160    the segment, as a compressed segment's file (`fanion.journal.compression`)
An object is created where there is none, and read back whole before the journal may let its segment go. What is
there already and holds the same is taken for it, however it is compressed; what holds something else stays, and is
an alarm. `fanion forget` alone replaces objects.

In DIR/archive
    state.json    what is said; lock: one archiver at a time; turn, busy: `forgetting` has the archiver wait; *.tmp

Decisions
    2026-11  Objects aren't encrypted, as segments aren't: whoever may read the bucket reads events. Rejected: a key
             of ours, without which years of archives would be nothing; stores encrypt by keys that they manage.
    2026-11  An object is named by what it is of and not by what it holds, so that a second content for the same
             records meets the first and is seen. The price: what is there has to be read to be compared.
    2026-11  Rows aren't archived: a restored journal makes them anew, with the definitions of then.
    2026-11  The archiver yields: where the disk is nearly full the journal lets go what isn't archived, which is
             counted and named. Events that come are worth more than a second copy of those that came.
    2026-11  A restored journal goes on `restoring.LEAP` behind what the archive has: sequences that the lost disk
             gave and the archive never got may be known to others by (machine, writer, sequence), a stream's rows
             say, and are not given twice.
"""

from importlib.util import find_spec
from typing import Final

READER: Final = "archive"
DIRECTORY: Final = "archive"


def missing_library() -> str:
    """The package that isn't installed; "": none is."""
    return "" if find_spec("obstore") else "obstore"
