"""Which name an entry list gives a value: hashes, weights, and the CBOR that some of them hash.

`fanion.model.expression.FractionKind` says the rules, `fanion.engine.expression_fraction` does the same in Python.
"""

from cpython.dict cimport PyDict_Check, PyDict_Next, PyDict_Size
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.math cimport trunc
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fanion._core.expression cimport *
from fanion._core.hash cimport fanion_hash_murmur3_32
from fanion._core.layout cimport *
from fanion._core.value cimport *


cdef extern from "fanion_expression.h" nogil:
    enum:
        FANION_FRACTION_TEXT
        FANION_FRACTION_CBOR
        FANION_FRACTION_CBOR_LIST


cdef extern from "fanion_cbor.h" nogil:
    enum:
        FANION_CBOR_HEAD_MAX
    size_t fanion_cbor_head(char *out, unsigned int major, uint64_t number)
    size_t fanion_cbor_number(char *out, double number)


cdef enum:
    WEIGHT_SUM_MAX = 2147483647


cdef inline int append_head(run_state *r, unsigned int major, uint64_t number) noexcept nogil:
    cdef char[FANION_CBOR_HEAD_MAX] head
    return append(r, head, fanion_cbor_head(head, major, number))


cdef inline int append_cbor_text(run_state *r, const json_value *v) noexcept nogil:
    return append_head(r, 3, v.length) or append(r, text_at(v), v.length)


cdef inline int append_cbor(run_state *r, const json_value *v, int depth) except -1:
    cdef char[FANION_CBOR_HEAD_MAX] number
    cdef json_value item
    cdef uint32_t n
    if spend(r, 1) or depth == FANION_TEXT_DEPTH_MAX:
        return BEYOND
    if v.kind == VALUE_NUMBER:
        return append(r, number, fanion_cbor_number(number, v.content.number))
    if v.kind == VALUE_TEXT:
        return append_cbor_text(r, v)
    if v.kind <= VALUE_TRUE:
        return append(r, b"\xf6" if v.kind == VALUE_NULL else b"\xf5" if v.kind == VALUE_TRUE else b"\xf4", 1)
    if not is_list(v):
        return append_members(r, v, depth)
    if append_head(r, 4, v.length):
        return BEYOND
    for n in range(v.length):
        if item_of(r.s, v, n, &item) or append_cbor(r, &item, depth + 1):
            return BEYOND
    return COMPUTED


cdef inline int order_of_keys(const json_value *a, const json_value *b) noexcept nogil:
    """As their CBOR is ordered: the shorter first."""
    if a.length != b.length:
        return -1 if a.length < b.length else 1
    return memcmp(a.content.place, b.content.place, a.length)


cdef inline int append_members(run_state *r, const json_value *v, int depth) except -1:
    """An object's members by their keys. Each is looked for anew, which its square pays for, so nothing is kept."""
    cdef Py_ssize_t place, count
    cdef PyObject *key
    cdef PyObject *member
    cdef PyObject *next_member = NULL
    cdef json_value last, found, item
    cdef uint32_t n
    if v.kind != VALUE_OBJECT or not PyDict_Check(<object> object_at(v)):
        return BEYOND
    count = PyDict_Size(<object> object_at(v))
    put_list(&last, NULL, 0)
    if spend(r, <uint64_t> count * <uint64_t> count) or append_head(r, 5, count):
        return BEYOND
    for n in range(count):
        put_list(&found, NULL, 0)
        found.kind = VALUE_NULL
        place = 0
        while PyDict_Next(<object> object_at(v), &place, &key, &member):
            if not PyUnicode_Check(<object> key) or from_object(key, &item):
                return BEYOND
            if n and order_of_keys(&item, &last) <= 0:
                continue
            if found.kind == VALUE_NULL or order_of_keys(&item, &found) < 0:
                found = item
                next_member = member
        if found.kind == VALUE_NULL or append_cbor_text(r, &found):
            return BEYOND
        if from_object(next_member, &item) or append_cbor(r, &item, depth + 1):
            return BEYOND
        last = found
    return COMPUTED


cdef inline int hash_of(run_state *r, int kind, const json_value *v, uint32_t *out, bint *hashed) except -1:
    cdef json_value data
    cdef uint32_t start = r.used
    hashed[0] = False
    if kind == FANION_FRACTION_TEXT:
        if v.kind != VALUE_TEXT:
            return COMPUTED
        data = v[0]
    else:
        if v.kind == VALUE_NULL or v.kind == VALUE_ROOT or is_list(v) != (kind == FANION_FRACTION_CBOR_LIST):
            return COMPUTED
        if append_cbor(r, v, 0) or close_text(r, start, &data):
            return BEYOND
    hashed[0] = True
    out[0] = fanion_hash_murmur3_32(data.content.place, data.length)
    return spend(r, data.length >> 8)


cdef inline double weight_of(const json_value *v) noexcept nogil:
    """-1 where it is none."""
    cdef double weight = v.content.number
    if v.kind != VALUE_NUMBER or weight != trunc(weight) or weight - weight != 0:
        return -1.0
    return weight if weight > 0 else 0.0


cdef inline int fraction(
    run_state *r, int kind, const json_value *v, const json_value *entries, json_value *out
) except -1:
    cdef json_value name, weight
    cdef uint32_t n, hashed = 0
    cdef bint is_hashed = False
    cdef double total = 0.0
    cdef uint64_t bucket
    cdef int64_t running = 0
    if hash_of(r, kind, v, &hashed, &is_hashed):
        return BEYOND
    out.kind = VALUE_NULL
    if not is_hashed or not is_list(entries) or entries.length % 2:
        return COMPUTED
    for n in range(0, entries.length, 2):
        if spend(r, 1) or item_of(r.s, entries, n, &name) or item_of(r.s, entries, n + 1, &weight):
            return BEYOND
        if name.kind > VALUE_TEXT or weight_of(&weight) < 0:
            return COMPUTED
        total += weight_of(&weight)
    if not 0 < total <= WEIGHT_SUM_MAX:
        return COMPUTED
    bucket = (<uint64_t> hashed * <uint64_t> total) >> 32
    for n in range(0, entries.length, 2):
        if item_of(r.s, entries, n + 1, &weight):
            return BEYOND
        running += <int64_t> weight_of(&weight)
        if running > <int64_t> bucket:
            return item_of(r.s, entries, n, out)
    return COMPUTED
