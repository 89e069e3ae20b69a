"""Choosing among alternatives by numbers: scored models and weights under a key (see `fanion.model.choice`).

Do not need the GIL. The order of the arithmetic is the contract: the twin and every client get the same bits.
"""

from libc.math cimport exp, floor
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from fanion._core.layout cimport *
from fanion._core.machine cimport (
    RUN_DONE,
    RUN_MISSING,
    RUN_NO_MEMORY,
    RUN_UNBOUND,
    STACK_BYTES,
    borrow,
    frame,
    join,
    machine,
)
from fanion._core.match cimport cell

cdef enum:
    ALTERNATIVES_ON_STACK = 64


cdef inline int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length) noexcept nogil:
    cdef int order = memcmp(a, b, a_length if a_length < b_length else b_length)
    if order:
        return order
    return (a_length > b_length) - (a_length < b_length)


cdef inline double term_value(const fanion_sections *s, const fanion_term *term, const cell *value) noexcept nogil:
    cdef uint32_t low = term.first, high = term.first + term.count, middle
    cdef int order
    if term.kind == FANION_TERM_NUMBER:
        if value.kind == KIND_DOUBLE or value.kind == KIND_INT64:
            return term.coefficient * value.number
        return term.missing
    if value.text == NULL:
        return term.missing
    FANION_ASSERT(within(s, FANION_SECTION_VALUES, term.first, term.count))
    while low < high:
        middle = low + (high - low) // 2
        FANION_ASSERT(readable(s, s.values[middle].text))
        order = compare_bytes(
            s.blob + s.values[middle].text.offset, s.values[middle].text.length, value.text, value.length
        )
        if order == 0:
            return s.values[middle].value
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return term.missing


cdef inline void to_probabilities(double *p, uint32_t n, double gamma, double lowest) noexcept nogil:
    """Softmax with temperature, then the floor; in place."""
    cdef double largest, total = 0.0
    cdef uint32_t k
    if n == 1:
        p[0] = 1.0
    else:
        if 1e-10 > gamma:
            gamma = 1e-10
        for k in range(n):
            p[k] = p[k] / gamma
        largest = p[0]
        for k in range(1, n):
            if p[k] > largest:
                largest = p[k]
        for k in range(n):
            p[k] = exp(p[k] - largest)
            total += p[k]
        for k in range(n):
            p[k] = p[k] / total
    if lowest <= 0:
        return
    if 1.0 / n < lowest:
        lowest = 1.0 / n
    total = 0.0
    for k in range(n):
        if lowest > p[k]:
            p[k] = lowest
        total += p[k]
    for k in range(n):
        p[k] = p[k] / total if total != 0 else 1.0 / n


cdef inline uint32_t draw(const double *weights, uint32_t n, double unit) noexcept nogil:
    """The first whose running sum exceeds u, else the last."""
    cdef double total = 0.0
    cdef uint32_t k
    for k in range(n - 1):
        total += weights[k]
        if unit < total:
            return k
    return n - 1


cdef inline int choose_scored(machine *m, frame *f, const fanion_model *model) noexcept nogil:
    """A run_status; sets choice and probability, and where the frame goes on."""
    cdef const fanion_sections *s = m.s
    cdef double[ALTERNATIVES_ON_STACK] stack
    cdef double *p = stack
    cdef const fanion_alternative *alternative
    cdef uint32_t n, k
    if model.count > ALTERNATIVES_ON_STACK:
        p = <double *> borrow(m, model.count * sizeof(double))
        if p == NULL:
            return RUN_NO_MEMORY
    FANION_ASSERT(model.count and within(s, FANION_SECTION_ALTERNATIVES, model.first, model.count))
    for n in range(model.count):
        alternative = &s.alternatives[model.first + n]
        FANION_ASSERT(within(s, FANION_SECTION_TERMS, alternative.term_first, alternative.term_count))
        p[n] = alternative.base
        for k in range(alternative.term_first, alternative.term_first + alternative.term_count):
            FANION_ASSERT(s.terms[k].slot < s.counts[FANION_SECTION_SLOTS])
            if m.cells[s.terms[k].slot].stamp != m.stamp:
                m.wanted = s.terms[k].slot
                return RUN_UNBOUND
            p[n] += term_value(s, &s.terms[k], &m.cells[s.terms[k].slot])
    to_probabilities(p, model.count, model.gamma, model.floor)
    n = draw(p, model.count, f.unit)
    f.choice = n
    f.probability = p[n]
    f.vector = FANION_NONE
    f.at = s.alternatives[model.first + n].target
    return RUN_DONE


cdef inline uint32_t find_vector(
    const fanion_sections *s, const fanion_keyed *keyed, const char *key, size_t length
) noexcept nogil:
    """The vector of a key, or FANION_NONE."""
    cdef uint32_t low = keyed.vector_first, high = keyed.vector_first + keyed.vector_count, middle
    cdef int order
    FANION_ASSERT(within(s, FANION_SECTION_VECTORS, keyed.vector_first, keyed.vector_count))
    while low < high:
        middle = low + (high - low) // 2
        FANION_ASSERT(readable(s, s.vectors[middle].key))
        order = compare_bytes(
            s.blob + s.vectors[middle].key.offset, s.vectors[middle].key.length, key, length
        )
        if order == 0:
            return middle
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return FANION_NONE


cdef inline int choose_keyed(machine *m, frame *f, const fanion_keyed *keyed, uint32_t on_none) noexcept nogil:
    """A run_status; sets choice, probability and vector, and where the frame goes on."""
    cdef const fanion_sections *s = m.s
    cdef char[STACK_BYTES] stack
    cdef char *key = NULL
    cdef size_t length = 0
    cdef const cell *value
    cdef uint32_t n = keyed.count, vector, k
    cdef double each, total = 0.0
    cdef int status
    if keyed.count_slot != FANION_NONE:
        FANION_ASSERT(keyed.count_slot < s.counts[FANION_SECTION_SLOTS])
        value = &m.cells[keyed.count_slot]
        if value.stamp != m.stamp:
            m.wanted = keyed.count_slot
            return RUN_UNBOUND
        if (value.kind != KIND_DOUBLE and value.kind != KIND_INT64) or not 1 <= floor(value.number) <= keyed.count:
            f.at = on_none
            return RUN_DONE
        n = <uint32_t> floor(value.number)
    status = join(m, keyed.piece_first, keyed.piece_count, True, stack, &key, &length)
    if status == RUN_MISSING or (status == RUN_DONE and length == 0):
        f.at = on_none
        return RUN_DONE
    if status != RUN_DONE:
        return status
    vector = find_vector(s, keyed, key, length)
    if vector == FANION_NONE or s.vectors[vector].count != n:
        vector = keyed.fallback
        if vector != FANION_NONE and s.vectors[vector].count != n:
            vector = FANION_NONE
    FANION_ASSERT(vector == FANION_NONE or vector < s.counts[FANION_SECTION_VECTORS])
    if vector != FANION_NONE:
        FANION_ASSERT(within(s, FANION_SECTION_NUMBERS, s.vectors[vector].first, n))
        k = draw(&s.numbers[s.vectors[vector].first], n, f.unit)
        f.probability = s.numbers[s.vectors[vector].first + k]
    else:
        each = 1.0 / n
        k = n - 1
        for status in range(<int> n - 1):
            total += each
            if f.unit < total:
                k = <uint32_t> status
                break
        f.probability = each
    f.choice = k
    f.vector = vector
    FANION_ASSERT(
        within(s, FANION_SECTION_TARGETS, keyed.target_first, 1 if keyed.count_slot != FANION_NONE else k + 1)
    )
    f.at = s.targets[keyed.target_first + (k if keyed.count_slot == FANION_NONE else 0)]
    return RUN_DONE
