"""Steps on values alone: comparing, numbers and texts, lists. What looks into the context is in `expression.pyx`.

Each gives COMPUTED or BEYOND, and may put its value where its first operand stands: it writes there last.
"""

from libc.math cimport NAN, fmod
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t

from fanion._core.value cimport *


cdef extern from "fanion_short.h" nogil:
    int fanion_equal(const char *a, const char *b, size_t length)


cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_length, const void *needle, size_t needle_length)


cdef extern from "fanion_text.h" nogil:
    enum:
        FANION_HALF_BYTES
    const char *FANION_HALF
    ctypedef struct fanion_part:
        const char *text
        size_t length
        int half_before, half_behind
    size_t fanion_text_units(const char *text, size_t length)
    fanion_part fanion_text_part(const char *text, size_t length, size_t first, size_t last)
    void fanion_text_bounds(
        double units, double start, int has_length, double length, size_t *first, size_t *last
    )
    int fanion_text_order(const char *a, size_t a_length, const char *b, size_t b_length)
    int fanion_version_satisfies(
        const char *left, size_t left_length,
        const char *operator_text, size_t operator_length,
        const char *right, size_t right_length,
    )


cdef extern from "fanion_expression.h" nogil:
    enum:
        FANION_SPREAD
        FANION_STEP_CONSTANT
        FANION_STEP_LOAD
        FANION_STEP_ROOT
        FANION_STEP_ITEM
        FANION_STEP_ACCUMULATOR
        FANION_STEP_FIELD
        FANION_STEP_PATH
        FANION_STEP_JUMP
        FANION_STEP_JUMP_FALSY
        FANION_STEP_JUMP_TRUTHY
        FANION_STEP_KEEP_FALSY
        FANION_STEP_KEEP_TRUTHY
        FANION_STEP_KEEP_VALUE
        FANION_STEP_NOT
        FANION_STEP_TRUTH
        FANION_STEP_EQUAL
        FANION_STEP_NOT_EQUAL
        FANION_STEP_SAME
        FANION_STEP_NOT_SAME
        FANION_STEP_LESS
        FANION_STEP_LESS_EQUAL
        FANION_STEP_GREATER
        FANION_STEP_GREATER_EQUAL
        FANION_STEP_NUMBER
        FANION_STEP_NEGATE
        FANION_STEP_ADD
        FANION_STEP_SUBTRACT
        FANION_STEP_MULTIPLY
        FANION_STEP_DIVIDE
        FANION_STEP_REMAINDER
        FANION_STEP_MIN
        FANION_STEP_MAX
        FANION_STEP_CAT
        FANION_STEP_SUBSTR
        FANION_STEP_IN
        FANION_STEP_STARTS
        FANION_STEP_ENDS
        FANION_STEP_SEMVER
        FANION_STEP_LIST
        FANION_STEP_MERGE
        FANION_STEP_MISSING
        FANION_STEP_MISSING_SOME
        FANION_STEP_FRACTION
        FANION_STEP_MAP
        FANION_STEP_FILTER
        FANION_STEP_ALL
        FANION_STEP_SOME
        FANION_STEP_NONE
        FANION_STEP_REDUCE
        FANION_STEP_REDUCE_FIRST
        FANION_STEP_COUNT
    const int8_t *fanion_step_takes
    const char **fanion_step_names


# -- comparing

cdef inline int equal_texts(run_state *r, const json_value *a, const json_value *b, bint *equal) noexcept nogil:
    equal[0] = False
    if a.length != b.length:
        return COMPUTED
    equal[0] = fanion_equal(text_at(a), text_at(b), a.length)
    return spend(r, a.length >> 8)


cdef inline int same(run_state *r, const json_value *a, const json_value *b, bint *equal) noexcept nogil:
    """Strictly; lists and objects by identity, those of a context alone."""
    equal[0] = False
    if a.kind != b.kind:
        return COMPUTED
    if a.kind == VALUE_TEXT:
        return equal_texts(r, a, b, equal)
    if a.kind <= VALUE_TRUE:
        equal[0] = True
    elif a.kind == VALUE_NUMBER:
        equal[0] = a.content.number == b.content.number
    elif a.kind == VALUE_LIST or a.kind == VALUE_OBJECT:
        equal[0] = a.content.place == b.content.place
    return COMPUTED


cdef inline int loosely_equal(run_state *r, const json_value *a, const json_value *b, bint *equal) except -1:
    cdef const json_value *other
    cdef double left = 0, right = 0
    if a.kind == VALUE_TEXT and b.kind == VALUE_TEXT:
        return equal_texts(r, a, b, equal)
    if a.kind == VALUE_NULL or b.kind == VALUE_NULL:
        other = b if a.kind == VALUE_NULL else a
        equal[0] = other.kind <= VALUE_FALSE or (other.kind == VALUE_NUMBER and other.content.number == 0)
        return COMPUTED
    if a.kind > VALUE_TEXT and b.kind > VALUE_TEXT:
        return same(r, a, b, equal)
    if number_of(r, a, &left) or number_of(r, b, &right):
        return BEYOND
    equal[0] = left == right
    return COMPUTED


cdef inline int order(run_state *r, uint8_t op, const json_value *a, const json_value *b, bint *holds) except -1:
    cdef double left = 0, right = 0
    if a.kind == VALUE_TEXT and b.kind == VALUE_TEXT:
        if spend(r, min(a.length, b.length) >> 8):
            return BEYOND
        left = fanion_text_order(text_at(a), a.length, text_at(b), b.length)
    elif number_of(r, a, &left) or number_of(r, b, &right):
        return BEYOND
    if op == FANION_STEP_LESS:
        holds[0] = left < right
    elif op == FANION_STEP_LESS_EQUAL:
        holds[0] = left <= right
    elif op == FANION_STEP_GREATER:
        holds[0] = left > right
    else:
        holds[0] = left >= right
    return COMPUTED


cdef inline int compare(run_state *r, uint8_t op, const json_value *values, uint32_t count, bint *holds) except -1:
    """Each with the next, until one doesn't hold."""
    cdef uint32_t n
    cdef int status
    for n in range(count - 1):
        if op == FANION_STEP_EQUAL or op == FANION_STEP_NOT_EQUAL:
            status = loosely_equal(r, &values[n], &values[n + 1], holds)
        elif op == FANION_STEP_SAME or op == FANION_STEP_NOT_SAME:
            status = same(r, &values[n], &values[n + 1], holds)
        else:
            status = order(r, op, &values[n], &values[n + 1], holds)
        if status:
            return BEYOND
        if op == FANION_STEP_NOT_EQUAL or op == FANION_STEP_NOT_SAME:
            holds[0] = not holds[0]
        if not holds[0]:
            return COMPUTED
    return COMPUTED


cdef inline int is_in(run_state *r, const json_value *item, const json_value *place, bint *found) except -1:
    cdef json_value other
    cdef uint32_t n
    found[0] = False
    if place.kind == VALUE_TEXT and place.length:
        if spend(r, place.length >> 8) or text_of(r, item, &other):
            return BEYOND
        found[0] = memmem(text_at(place), place.length, text_at(&other), other.length) != NULL
    elif is_list(place):
        for n in range(place.length):
            if spend(r, 1) or item_of(r.s, place, n, &other) or same(r, item, &other, found):
                return BEYOND
            if item.kind == VALUE_NUMBER and other.kind == VALUE_NUMBER and not found[0]:
                found[0] = item.content.number != item.content.number and (
                    other.content.number != other.content.number
                )
            if found[0]:
                return COMPUTED
    return COMPUTED


# -- numbers and texts

cdef inline double arithmetic(uint8_t op, double left, double right) noexcept nogil:
    if op == FANION_STEP_ADD:
        return left + right
    if op == FANION_STEP_SUBTRACT:
        return left - right
    if op == FANION_STEP_MULTIPLY:
        return left * right
    if op == FANION_STEP_DIVIDE:
        return left / right
    return fmod(left, right)


cdef inline int extreme(run_state *r, bint least, const json_value *v, json_value *out) except -1:
    cdef double found = NAN, number = 0
    cdef json_value item
    cdef uint32_t n
    if spend(r, v.length):
        return BEYOND
    for n in range(v.length):
        if item_of(r.s, v, n, &item) or number_of(r, &item, &number):
            return BEYOND
        if n == 0 or number != number:
            found = number
        elif number < found if least else number > found:
            found = number
    put_number(out, found)
    return COMPUTED


cdef inline int part(run_state *r, const json_value *v, size_t first, size_t last, json_value *out) noexcept nogil:
    """Units of a text, copied to the arena."""
    cdef uint32_t start = r.used
    cdef fanion_part found = fanion_text_part(text_at(v), v.length, first, last)
    if found.half_before and append(r, FANION_HALF, FANION_HALF_BYTES):
        return BEYOND
    if append(r, found.text, found.length):
        return BEYOND
    if found.half_behind and append(r, FANION_HALF, FANION_HALF_BYTES):
        return BEYOND
    return close_text(r, start, out)


cdef inline int substr(run_state *r, const json_value *values, uint32_t count, json_value *out) except -1:
    cdef json_value text
    cdef double start = 0, length = 0
    cdef size_t first = 0, last = 0
    if text_of(r, &values[0], &text) or spend(r, text.length >> 8):
        return BEYOND
    if number_of(r, &values[1], &start) or (count == 3 and number_of(r, &values[2], &length)):
        return BEYOND
    fanion_text_bounds(
        <double> fanion_text_units(text_at(&text), text.length), start, count == 3, length, &first, &last
    )
    return part(r, &text, first, max(first, last), out)


cdef inline int starts_or_ends(run_state *r, uint8_t op, const json_value *values, json_value *out) noexcept nogil:
    cdef const json_value *text = &values[0]
    cdef const json_value *other = &values[1]
    cdef size_t skip = 0
    if text.kind != VALUE_TEXT or other.kind != VALUE_TEXT:
        out.kind = VALUE_NULL
        return COMPUTED
    if spend(r, min(text.length, other.length) >> 8):
        return BEYOND
    if op == FANION_STEP_ENDS:
        skip = text.length - other.length
    put_truth(
        out,
        other.length <= text.length and fanion_equal(text_at(text) + skip, text_at(other), other.length),
    )
    return COMPUTED


cdef inline int semver(run_state *r, const json_value *values, json_value *out) except -1:
    cdef json_value texts[3]
    cdef int n, satisfied
    for n in range(3):
        if text_of(r, &values[n], &texts[n]) or spend(r, texts[n].length >> 8):
            return BEYOND
    satisfied = fanion_version_satisfies(
        text_at(&texts[0]), texts[0].length,
        text_at(&texts[1]), texts[1].length,
        text_at(&texts[2]), texts[2].length,
    )
    out.kind = VALUE_NULL
    if satisfied >= 0:
        put_truth(out, satisfied)
    return COMPUTED


cdef inline int cat(run_state *r, const json_value *v, json_value *out) except -1:
    cdef uint32_t start = r.used
    if append_items(r, v, False, 0):
        return BEYOND
    return close_text(r, start, out)


# -- lists

cdef inline int merge(run_state *r, const json_value *v, json_value *out) except -1:
    """Counts first, so that the arena holds the items side by side."""
    cdef json_value item
    cdef json_value *items
    cdef uint64_t total = 0
    cdef uint32_t n, k, at = 0
    for n in range(v.length):
        if item_of(r.s, v, n, &item):
            return BEYOND
        total += item.length if is_list(&item) else 1
    items = make_list(r, total) if total <= FANION_LIST_MAX else NULL
    if items == NULL or spend(r, total):
        return BEYOND
    for n in range(v.length):
        item_of(r.s, v, n, &item)
        if not is_list(&item):
            items[at] = item
            at += 1
            continue
        for k in range(item.length):
            if item_of(r.s, &item, k, &items[at]):
                return BEYOND
            at += 1
    put_list(out, items, at)
    return COMPUTED


cdef inline int gather(run_state *r, uint8_t op, const json_value *v, json_value *out) except -1:
    """The steps of any number of operands, which are a list here."""
    cdef json_value *items
    cdef uint32_t n
    if op == FANION_STEP_MIN or op == FANION_STEP_MAX:
        return extreme(r, op == FANION_STEP_MIN, v, out)
    if op == FANION_STEP_CAT:
        return cat(r, v, out)
    if op == FANION_STEP_MERGE:
        return merge(r, v, out)
    items = make_list(r, v.length)
    if items == NULL or spend(r, v.length):
        return BEYOND
    for n in range(v.length):
        item_of(r.s, v, n, &items[n])
    put_list(out, items, v.length)
    return COMPUTED
