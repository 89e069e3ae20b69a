"""The bodies of exposure records, as `fanion.journal.exposures` has them, read without building anything."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fanion._core.row_shape cimport fanion_flat_text, fanion_rows_is_utf8


cdef enum:
    EXPOSURE_HEAD = 16
    EXPOSURE_FORM = 1
    ASSIGNED = 1
    INSIDE = 2
    HAS_VARIANT = 4
    HAS_ATTRIBUTES = 8
    SAME_UNIT = 16
    KEYED = 64
    DIGEST_BYTES = 32
    RUN_BYTES = 16


# One exposure's parts, as they stand in the body; a text of NULL: it has none.
cdef struct Said:
    uint8_t bits
    uint64_t generation
    const uint8_t *unit
    const uint8_t *run
    fanion_flat_text unit_kind, flag, variant, attributes


cdef struct Reading:
    const uint8_t *at
    const uint8_t *end


cdef inline const uint8_t *take(Reading *reading, uint64_t size) noexcept:
    cdef const uint8_t *at = reading.at
    if <uint64_t>(reading.end - at) < size:
        return NULL
    reading.at += size
    return at


cdef inline bint take_text(Reading *reading, fanion_flat_text *text) noexcept:
    cdef const uint8_t *length = take(reading, 2)
    if length == NULL:
        return False
    text.length = length[0] | <uint32_t>length[1] << 8
    text.text = <const char *>take(reading, text.length)
    return text.text != NULL and fanion_rows_is_utf8(<const uint8_t *>text.text, text.length)


cdef inline bint read_exposure(Reading *reading, Said *said) noexcept:
    """False: it is none, or ends beyond the body."""
    cdef const uint8_t *bits = take(reading, 1)
    if bits == NULL:
        return False
    said.bits = bits[0]
    if not said.bits & SAME_UNIT:
        if not take_text(reading, &said.unit_kind):
            return False
        said.unit = take(reading, DIGEST_BYTES)
    said.run = take(reading, RUN_BYTES)
    said.variant.text = said.attributes.text = NULL
    said.variant.length = said.attributes.length = 0
    if said.unit == NULL or said.run == NULL or not take_text(reading, &said.flag):
        return False
    if said.bits & HAS_VARIANT and not take_text(reading, &said.variant):
        return False
    return not said.bits & HAS_ATTRIBUTES or take_text(reading, &said.attributes)


cdef inline void hexadecimal(const uint8_t *bytes, uint32_t count, char *digits) noexcept:
    cdef uint32_t n
    cdef uint8_t high, low
    for n in range(count):  # no table: so it is done for many at once
        high, low = bytes[n] >> 4, bytes[n] & 15
        digits[2 * n] = <char>(high + (87 if high > 9 else 48))
        digits[2 * n + 1] = <char>(low + (87 if low > 9 else 48))
