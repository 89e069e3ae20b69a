"""The bounds of a JSON text, and the items of one of its arrays; see `fanion_json_scan.h`. Knows no API."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc


cdef extern from "fanion_json_text.h" nogil:
    enum:
        FANION_JSON_DEPTH_MAX
        FANION_JSON_DIGITS_MAX

cdef extern from "fanion_json_scan.h" nogil:
    enum:
        FANION_JSON_EXPONENT_LARGE
        FANION_JSON_EXPONENT_HUGE
        FANION_JSON_LARGE_TOKENS
        FANION_JSON_HUGE_TOKENS
        FANION_JSON_TOKEN_DIGITS
        FANION_JSON_DIGITS_USUAL

    ctypedef enum fanion_json_verdict:
        FANION_JSON_WITHIN
        FANION_JSON_TOO_DEEP
        FANION_JSON_TOO_MANY_MEMBERS
        FANION_JSON_TOO_LONG_NUMBER
        FANION_JSON_NOT_FINITE
        FANION_JSON_TOO_MANY_TOKENS
        FANION_JSON_UNBALANCED
        FANION_JSON_TOO_MANY_ITEMS

    ctypedef struct fanion_json_bounds:
        uint32_t depth_max, keys_max, digits_max
        uint64_t tokens_max

    fanion_json_verdict fanion_json_scan(const uint8_t *text, uint64_t length, const fanion_json_bounds *bounds)
    uint64_t fanion_json_exponents(const uint8_t *text, uint64_t length, uint64_t most)
    uint64_t fanion_json_tokens_at_most(const uint8_t *text, uint64_t length, uint64_t most)
    bint fanion_json_few(const uint8_t *text, uint64_t length, uint64_t brackets, uint64_t colons)
    bint fanion_json_long_number(const uint8_t *text, uint64_t length, uint64_t most)

cdef extern from "fanion_json_mend.h" nogil:
    enum:
        FANION_JSON_HALVES_MAX

    uint64_t fanion_json_mend(uint8_t *text, uint64_t length)

cdef extern from "fanion_json_valid.h" nogil:
    enum:
        FANION_JSON_VALID_DIGITS_MAX

    const uint8_t *fanion_json_valid_end(const uint8_t *at, const uint8_t *end)

cdef extern from "fanion_json_cut.h" nogil:
    ctypedef struct fanion_json_span:
        uint64_t first, last

    ctypedef struct fanion_json_array:
        uint64_t first, last, count

    fanion_json_verdict fanion_json_cut(
        const uint8_t *text, uint64_t length, const uint8_t *name, uint64_t name_length, uint64_t items_max,
        fanion_json_span *spans, fanion_json_array *array,
    )

cdef extern from "fanion_json_condense.h" nogil:
    uint64_t fanion_json_waste(const uint8_t *text, uint64_t length)
    uint64_t fanion_json_condense(uint8_t *text, uint64_t length)


WITHIN = FANION_JSON_WITHIN
TOO_DEEP = FANION_JSON_TOO_DEEP
TOO_MANY_MEMBERS = FANION_JSON_TOO_MANY_MEMBERS
TOO_LONG_NUMBER = FANION_JSON_TOO_LONG_NUMBER
NOT_FINITE = FANION_JSON_NOT_FINITE
TOO_MANY_TOKENS = FANION_JSON_TOO_MANY_TOKENS
UNBALANCED = FANION_JSON_UNBALANCED

DEPTH_MAX = FANION_JSON_DEPTH_MAX
DIGITS_MAX = FANION_JSON_DIGITS_MAX
HALVES_MAX = FANION_JSON_HALVES_MAX
VALID_DIGITS_MAX = FANION_JSON_VALID_DIGITS_MAX
EXPONENT_LARGE = FANION_JSON_EXPONENT_LARGE
EXPONENT_HUGE = FANION_JSON_EXPONENT_HUGE
LARGE_TOKENS = FANION_JSON_LARGE_TOKENS
HUGE_TOKENS = FANION_JSON_HUGE_TOKENS
TOKEN_DIGITS = FANION_JSON_TOKEN_DIGITS
DIGITS_USUAL = FANION_JSON_DIGITS_USUAL

cdef enum:
    WASTE_SHARE = 8  # of a text, one part of so many has to be waste before it is worth a pass


def scan(bytes text not None, uint32_t depth_max, uint32_t keys_max, uint32_t digits_max, uint64_t tokens_max):
    """`WITHIN`, or the first bound that the text breaks. Bounds above DEPTH_MAX and DIGITS_MAX are those."""
    cdef fanion_json_bounds bounds
    bounds.depth_max = min(depth_max, <uint32_t> FANION_JSON_DEPTH_MAX)
    bounds.keys_max = keys_max
    bounds.digits_max = min(digits_max, <uint32_t> FANION_JSON_DIGITS_MAX)
    bounds.tokens_max = tokens_max
    cdef const uint8_t *start = <const uint8_t *> <char *> text
    return <int> fanion_json_scan(start, len(text), &bounds)


def exponents(bytes text not None, uint64_t most):
    """Tokens that numbers with an exponent of two digits or more count as; not all of them where more than `most`."""
    return fanion_json_exponents(<const uint8_t *> <char *> text, len(text), most)


def few(bytes text not None, uint64_t brackets, uint64_t colons):
    """Whether at most so many brackets open and so many colons stand in it, strings included."""
    return fanion_json_few(<const uint8_t *> <char *> text, len(text), brackets, colons)


def tokens_at_most(bytes text not None, uint64_t most):
    """As many names and values as it may hold at most, each number one; where those are more than `most`, some number
    above it."""
    return fanion_json_tokens_at_most(<const uint8_t *> <char *> text, len(text), most)


def long_number(bytes text not None, uint64_t most):
    """Whether more than `most` (at least 1) characters of numbers stand in a row, in a string or out of it."""
    return fanion_json_long_number(<const uint8_t *> <char *> text, len(text), max(most, <uint64_t> 1))


def valid_end(bytes text not None, uint64_t start):
    """Where the value that begins at `start` ends, if every decoder reads it; None for all else, and for a few that
    are long or deep (see `fanion_json_valid_end`). The text has to be UTF-8."""
    cdef const uint8_t *first = <const uint8_t *> <char *> text
    cdef const uint8_t *at = fanion_json_valid_end(first + min(start, <uint64_t> len(text)), first + len(text))
    return None if at == NULL else at - first


def mend(bytes text not None):
    """The text with U+FFFD for each escape that is half a surrogate pair; None where there is none, or more than
    HALVES_MAX."""
    cdef bytes copy = PyBytes_FromStringAndSize(<char *> text, len(text))  # not shared with anyone yet
    return copy if fanion_json_mend(<uint8_t *> <char *> copy, len(copy)) else None


def condense(bytes text not None):
    """The text in fewer bytes, by an eighth at least; None where there is too little to save, or nothing. Empty where
    more than HALVES_MAX escapes are half a pair: it isn't to be read."""
    cdef uint64_t length = len(text), most = length - length / WASTE_SHARE
    if fanion_json_waste(<const uint8_t *> <char *> text, length) < length / WASTE_SHARE:
        return None
    cdef bytes copy = PyBytes_FromStringAndSize(<char *> text, len(text))  # not shared with anyone yet
    cdef uint64_t shorter = fanion_json_condense(<uint8_t *> <char *> copy, length)
    return copy[:shorter] if shorter < length and shorter <= most else None


def cut(bytes text not None, bytes name not None, uint64_t items_max):
    """(first, last, items) of the array that is the top-level member `name` (in its quotes): where what is between
    its brackets begins and ends, and its items' own bytes. None where there is no such whole array; `items` is None
    where it has more than `items_max`."""
    cdef fanion_json_array array
    cdef fanion_json_verdict verdict
    cdef fanion_json_span *spans = <fanion_json_span *> malloc((items_max + 1) * sizeof(fanion_json_span))
    if spans == NULL:
        raise MemoryError
    cdef const uint8_t *start = <const uint8_t *> <char *> text
    cdef const uint8_t *wanted = <const uint8_t *> <char *> name
    cdef uint64_t index
    try:
        verdict = fanion_json_cut(start, len(text), wanted, len(name), items_max, spans, &array)
        if verdict == FANION_JSON_TOO_MANY_ITEMS:
            return array.first, array.first, None
        if verdict != FANION_JSON_WITHIN:
            return None
        items = [text[spans[index].first:spans[index].last] for index in range(array.count)]
        return array.first, array.last, items
    finally:
        free(spans)
