"""Leaf tests on bound slots: pure functions, four exits, do not need the GIL, allocate nothing."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fanion._core.hash cimport fanion_hash_xxh64
from fanion._core.layout cimport *


cdef extern from "fanion_version.h" nogil:
    ctypedef struct fanion_version:
        uint64_t major, minor, patch
        const char *pre
        const char *build
        uint32_t pre_length, build_length
    int fanion_version_parse(const char *text, size_t length, fanion_version *out)
    int fanion_version_precedence(const fanion_version *a, const fanion_version *b)
    int fanion_version_order(const fanion_version *a, const fanion_version *b)


cdef extern from "fanion_short.h" nogil:
    int fanion_equal(const char *a, const char *b, size_t length)


cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_length, const void *needle, size_t needle_length)


ctypedef struct slice:
    const char *text     # borrowed
    uint32_t length


# What a slot holds for one request. Written by the binder, read by the kernel, valid while `stamp` is the
# request's; texts are borrowed from the request's context or point into `buffer`.
ctypedef struct cell:
    uint32_t stamp
    uint8_t kind
    uint8_t has_number   # ORDER_TEXT: `number` was readable
    uint32_t length      # of text, in bytes
    uint32_t count       # of strings
    uint32_t capacity    # of strings; of a computed slot, which has none, of `buffer`
    const char *text     # text form; NULL: the value has none
    int64_t integer      # BOOL, INT64
    double number        # DOUBLE, INT64 as double, or the number in a text
    fanion_version version
    char *buffer         # owned by the bundle, made on first use: FANION_NUMBER_BYTES_MAX bytes; computed: `capacity`
    slice *strings       # owned by the bundle; grown on demand, at most STRINGS_MAX


cdef inline int relate(int order, uint8_t relation) noexcept nogil:
    """LT, LE, GT, GE."""
    if relation == 0:
        return order < 0
    if relation == 1:
        return order <= 0
    if relation == 2:
        return order > 0
    return order >= 0


cdef inline int relate_numbers(double left, double right, uint8_t relation) noexcept nogil:
    """As above on doubles; false whenever a side is NaN."""
    if relation == 0:
        return left < right
    if relation == 1:
        return left <= right
    if relation == 2:
        return left > right
    return left >= right


cdef inline void load_version(
    const fanion_sections *s, uint32_t number, fanion_version *out
) noexcept nogil:
    cdef const fanion_version_record *record = &s.versions[number]
    FANION_ASSERT(number < s.counts[FANION_SECTION_VERSIONS])
    FANION_ASSERT(readable(s, record.pre) and readable(s, record.build))
    out.major = record.major
    out.minor = record.minor
    out.patch = record.patch
    out.pre = s.blob + record.pre.offset
    out.pre_length = record.pre.length
    out.build = s.blob + record.build.offset
    out.build_length = record.build.length


cdef inline int satisfies(
    const fanion_sections *s, const fanion_version *version, uint32_t first, uint32_t count
) noexcept nogil:
    cdef fanion_version bound
    cdef const fanion_comparator *one
    cdef uint32_t n
    FANION_ASSERT(within(s, FANION_SECTION_COMPARATORS, first, count))
    for n in range(first, first + count):
        one = &s.comparators[n]
        load_version(s, one.low, &bound)
        if fanion_version_precedence(version, &bound) < 0:
            return 0
        if one.high != FANION_NONE:
            load_version(s, one.high, &bound)
            if fanion_version_precedence(version, &bound) >= 0:
                return 0
        if version.pre_length and not (
            one.has_pre
            and one.pre_of[0] == version.major
            and one.pre_of[1] == version.minor
            and one.pre_of[2] == version.patch
        ):
            return 0
    return 1


cdef inline char upper(char c) noexcept nogil:
    return c - 32 if c'a' <= c <= c'z' else c


cdef inline int equal_folded(const char *a, const char *b, uint32_t length) noexcept nogil:
    cdef uint32_t n
    for n in range(length):
        if upper(a[n]) != upper(b[n]):
            return 0
    return 1


cdef inline int in_set(
    const fanion_sections *s, const fanion_set *one, const char *text, uint32_t length
) noexcept nogil:
    cdef const fanion_set_item *items = &s.set_items[one.first]
    cdef uint64_t digest
    cdef uint32_t at
    FANION_ASSERT(within(s, FANION_SECTION_SET_ITEMS, one.first, one.capacity))
    if one.folded:
        for at in range(one.capacity):
            if items[at].text.length == length and equal_folded(s.blob + items[at].text.offset, text, length):
                return 1
        return 0
    if one.capacity <= FANION_SET_LINEAR:
        for at in range(one.capacity):
            if items[at].text.length == length and fanion_equal(s.blob + items[at].text.offset, text, length):
                return 1
        return 0
    digest = fanion_hash_xxh64(text, length)
    at = <uint32_t> digest & (one.capacity - 1)
    while items[at].text.length != FANION_NONE:
        if items[at].hash == <uint32_t> (digest >> 32) and items[at].text.length == length and (
            fanion_equal(s.blob + items[at].text.offset, text, length)
        ):
            return 1
        at = (at + 1) & (one.capacity - 1)
    return 0


cdef inline int compare_text(
    const fanion_sections *s, const fanion_test *test, const char *text, uint32_t length
) noexcept nogil:
    """The text operators on one text; STRING_x and TEXT_x differ only in the kinds they take."""
    cdef const char *operand
    cdef uint32_t size
    cdef uint8_t op = test.op
    if op == OP_STRING_IN or op == OP_TEXT_IN:
        FANION_ASSERT(test.operand.record.first < s.counts[FANION_SECTION_SETS])
        return in_set(s, &s.sets[test.operand.record.first], text, length)
    FANION_ASSERT(readable(s, test.operand.text))
    operand = s.blob + test.operand.text.offset
    size = test.operand.text.length
    if op == OP_EQ_STRING:
        return length == size and fanion_equal(text, operand, size)
    if op == OP_STRING_CONTAINS or op == OP_TEXT_CONTAINS:
        return size == 0 or (size <= length and memmem(text, length, operand, size) != NULL)
    if size > length:
        return 0
    if op == OP_STRING_STARTS or op == OP_TEXT_STARTS:
        return fanion_equal(text, operand, size)
    return fanion_equal(text + length - size, operand, size)


cdef inline int leaf_number(const fanion_test *test, const cell *value) noexcept nogil:
    """EQ_BOOL to ORDER_TEXT on one value: an exit."""
    cdef uint8_t op = test.op, kind = value.kind
    cdef int passed
    if op == OP_EQ_BOOL:
        if kind != KIND_BOOL:
            return EXIT_MISMATCH
        passed = value.integer == test.operand.integer
    elif op == OP_EQ_INT64 or op == OP_ORDER_INT64:
        if kind != KIND_INT64:
            return EXIT_MISMATCH
        if op == OP_EQ_INT64:
            passed = value.integer == test.operand.integer
        else:
            passed = relate(
                (value.integer > test.operand.integer) - (value.integer < test.operand.integer), test.relation
            )
    elif op == OP_EQ_DOUBLE or op == OP_ORDER_DOUBLE:
        if kind != KIND_DOUBLE:
            return EXIT_MISMATCH
        if op == OP_EQ_DOUBLE:
            passed = value.number == test.operand.number
        else:
            passed = relate(
                (value.number > test.operand.number) - (value.number < test.operand.number), test.relation
            )
    elif op == OP_EQ_NUMBER or op == OP_ORDER_NUMBER:
        if kind != KIND_INT64 and kind != KIND_DOUBLE:
            return EXIT_MISMATCH
        if op == OP_EQ_NUMBER:
            passed = value.number == test.operand.number
        else:
            passed = relate_numbers(value.number, test.operand.number, test.relation)
    else:  # ORDER_TEXT
        if value.text == NULL:
            return EXIT_MISMATCH
        passed = value.has_number and relate_numbers(value.number, test.operand.number, test.relation)
    return EXIT_TRUE if passed else EXIT_FALSE


cdef inline int leaf_version(
    const fanion_sections *s, const fanion_test *test, const cell *value
) noexcept nogil:
    cdef fanion_version constant
    cdef int passed
    if value.kind != KIND_VERSION:
        return EXIT_MISMATCH
    if test.op == OP_VERSION_MATCHES:
        passed = satisfies(s, &value.version, test.operand.record.first, test.operand.record.count)
    else:
        load_version(s, test.operand.record.first, &constant)
        passed = fanion_version_order(&value.version, &constant)
        passed = passed == 0 if test.op == OP_EQ_VERSION else relate(passed, test.relation)
    return EXIT_TRUE if passed else EXIT_FALSE


cdef inline int leaf_text(const fanion_sections *s, const fanion_test *test, const cell *value) noexcept nogil:
    cdef uint8_t op = test.op
    cdef uint32_t n
    if value.kind == KIND_STRINGS and test.flags & FANION_ANY_ELEMENT:
        for n in range(value.count):
            if compare_text(s, test, value.strings[n].text, value.strings[n].length):
                return EXIT_TRUE
        return EXIT_FALSE
    if op <= OP_STRING_ENDS:
        if value.kind != KIND_STRING:
            return EXIT_MISMATCH
    elif value.text == NULL:
        return EXIT_MISMATCH
    return EXIT_TRUE if compare_text(s, test, value.text, value.length) else EXIT_FALSE


cdef inline int leaf(const fanion_sections *s, const fanion_test *test, const cell *value) noexcept nogil:
    """Every operator but DECISION_IS and the external ones: an exit."""
    cdef uint8_t op = test.op
    if value.kind == KIND_MISSING:
        return EXIT_MISSING
    if op == OP_EQ_NULL:
        return EXIT_TRUE if value.kind == KIND_NULL else EXIT_FALSE
    if value.kind == KIND_NULL:
        return EXIT_MISMATCH
    if op == OP_PRESENT:
        return EXIT_TRUE
    if op == OP_EQ_STRING or OP_STRING_IN <= op <= OP_TEXT_ENDS:
        return leaf_text(s, test, value)
    if op == OP_EQ_VERSION or op == OP_ORDER_VERSION or op == OP_VERSION_MATCHES:
        return leaf_version(s, test, value)
    return leaf_number(test, value)
