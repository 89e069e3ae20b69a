"""The machine that the kernel runs: all that a run reads and writes, and how texts of several pieces are joined.

A bundle owns one, and it belongs to one question at a time: `stamp` is that question's, and what carries another
stamp counts as not there. Does not need the GIL.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc

from fanion._core.layout cimport (
    FANION_ASSERT,
    FANION_DEPTH_MAX,
    FANION_NONE,
    FANION_SECTION_PIECES,
    FANION_SECTION_SLOTS,
    PIECE_BYTE_LENGTH,
    PIECE_LITERAL,
    fanion_decision,
    fanion_node,
    fanion_piece,
    fanion_sections,
    readable,
    within,
)
from fanion._core.match cimport cell


cdef extern from "fanion_short.h" nogil:
    void fanion_copy(char *to, const char *source, size_t length)

cdef extern from "fanion_number.h" nogil:
    size_t fanion_integer_text(int64_t value, char *out)

cdef enum:
    STACK_BYTES = 512    # texts up to this size are put together on the stack
    LENGTH_BYTES = 20    # of a text's length as a text, at most


# An asked decision's outcome, valid while `stamp` is the request's.
ctypedef struct memo_cell:
    uint32_t stamp
    uint32_t node      # absolute number of the outcome node


# An external leaf's answer, valid while `stamp` is the request's.
ctypedef struct external_cell:
    uint32_t stamp
    uint32_t passed


ctypedef struct frame:
    const fanion_decision *decision
    const fanion_node *nodes     # the decision's first node
    uint32_t at                  # node to run next
    int64_t bucket               # -1 until a hash set it
    double unit
    int64_t choice               # index of the alternative, -1 until one was chosen
    double probability           # its share
    uint32_t vector              # the weights used, FANION_NONE for none or equal ones


# One run, resumable: when it stops at an unbound slot or an external leaf, supply that and run again.
ctypedef struct machine:
    const fanion_sections *s     # borrowed from the bundle
    cell *cells                  # owned by the bundle; one per slot
    memo_cell *memos             # owned by the bundle; one per asked decision
    external_cell *externals     # owned by the bundle; one per external leaf
    uint32_t stamp               # of the current question; 0 before the first
    frame frames[FANION_DEPTH_MAX]
    int depth
    uint32_t wanted              # the slot or external leaf it stopped at
    char *scratch                # owned by the bundle; what does not fit the stack
    size_t scratch_capacity


cdef enum run_status:
    RUN_DONE
    RUN_UNBOUND
    RUN_EXTERNAL
    RUN_NO_MEMORY
    RUN_MISSING                  # a piece without a text form; never leaves the kernel


cdef inline void enter_frame(
    frame *f, const fanion_sections *s, const fanion_decision *decision
) noexcept nogil:
    """Puts a frame at the start of a decision."""
    f.decision = decision
    f.nodes = &s.nodes[decision.node_first]
    f.at = 0
    f.bucket = -1
    f.unit = 0.0
    f.choice = -1
    f.probability = 0.0
    f.vector = FANION_NONE


cdef inline char *borrow(machine *m, size_t size) noexcept nogil:
    """The scratch space, at least `size` bytes; NULL where memory ran out. Valid until the next call."""
    cdef char *grown
    if size > m.scratch_capacity:
        grown = <char *> realloc(m.scratch, size)
        if grown == NULL:
            return NULL
        m.scratch = grown
        m.scratch_capacity = size
    return m.scratch


cdef inline int join_large(
    machine *m,
    uint32_t first,
    uint32_t count,
    bint strict,
    char *stack,
    char **joined,
    size_t *size,
) noexcept nogil:
    """As `join`, which found that they need more than the stack has: measured first."""
    cdef const fanion_sections *s = m.s
    cdef const fanion_piece *piece
    cdef const cell *value
    cdef size_t total = 0, length = 0
    cdef char *out = stack
    cdef uint32_t n
    FANION_ASSERT(within(s, FANION_SECTION_PIECES, first, count))
    for n in range(first, first + count):
        piece = &s.pieces[n]
        if piece.kind == PIECE_LITERAL:
            FANION_ASSERT(readable(s, piece.literal))
            total += piece.literal.length
            continue
        FANION_ASSERT(piece.slot < s.counts[FANION_SECTION_SLOTS])
        value = &m.cells[piece.slot]
        if value.stamp != m.stamp:
            m.wanted = piece.slot
            return RUN_UNBOUND
        if value.text == NULL and strict:
            return RUN_MISSING
        total += LENGTH_BYTES if piece.kind == PIECE_BYTE_LENGTH else (value.length if value.text != NULL else 0)
    if total > STACK_BYTES:
        out = borrow(m, total)
        if out == NULL:
            return RUN_NO_MEMORY
    for n in range(first, first + count):
        piece = &s.pieces[n]
        if piece.kind == PIECE_LITERAL:
            fanion_copy(out + length, s.blob + piece.literal.offset, piece.literal.length)
            length += piece.literal.length
            continue
        value = &m.cells[piece.slot]
        if piece.kind == PIECE_BYTE_LENGTH:
            length += fanion_integer_text(value.length if value.text != NULL else 0, out + length)
        elif value.text != NULL:
            fanion_copy(out + length, value.text, value.length)
            length += value.length
    joined[0] = out
    size[0] = length
    return RUN_DONE


cdef inline int join(
    machine *m,
    uint32_t first,
    uint32_t count,
    bint strict,
    char *stack,
    char **joined,
    size_t *size,
) noexcept nogil:
    """Puts pieces together, in `stack` or in the scratch space; a run_status.

    A slot without a text form counts as empty text; where `strict`, it makes the whole RUN_MISSING.
    """
    cdef const fanion_sections *s = m.s
    cdef const fanion_piece *piece = &s.pieces[first]
    cdef const fanion_piece *end = piece + count
    cdef const cell *value
    cdef size_t length = 0
    FANION_ASSERT(within(s, FANION_SECTION_PIECES, first, count))
    while piece != end:
        if piece.kind == PIECE_LITERAL:
            FANION_ASSERT(readable(s, piece.literal))
            if length + piece.literal.length > STACK_BYTES:
                return join_large(m, first, count, strict, stack, joined, size)
            fanion_copy(stack + length, s.blob + piece.literal.offset, piece.literal.length)
            length += piece.literal.length
            piece += 1
            continue
        FANION_ASSERT(piece.slot < s.counts[FANION_SECTION_SLOTS])
        value = &m.cells[piece.slot]
        if value.stamp != m.stamp:
            m.wanted = piece.slot
            return RUN_UNBOUND
        if value.text == NULL and strict:
            return RUN_MISSING
        if length + (LENGTH_BYTES if piece.kind == PIECE_BYTE_LENGTH else value.length) > STACK_BYTES:
            return join_large(m, first, count, strict, stack, joined, size)
        if piece.kind == PIECE_BYTE_LENGTH:
            length += fanion_integer_text(value.length if value.text != NULL else 0, stack + length)
        elif value.text != NULL:
            fanion_copy(stack + length, value.text, value.length)
            length += value.length
        piece += 1
    joined[0] = stack
    size[0] = length
    return RUN_DONE
