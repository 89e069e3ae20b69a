"""Values of JSON while steps run: where they come from, what they are as truth, number and text.

Makes no Python object; needs the GIL for the context's own. Every function gives COMPUTED or BEYOND where it may go
past a limit, as `fanion.engine.expression_values` counts them.
"""

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_Check, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_Check, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsDouble, PyLong_AsLongLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fanion._core.expression cimport *
from fanion._core.layout cimport *


cdef extern from "Python.h":
    char *PyOS_double_to_string(double value, char format_code, int precision, int flags, int *ptype) except NULL
    double PyOS_string_to_double(const char *text, char **end, PyObject *overflow_exception) except? -1.0


cdef extern from "string.h" nogil:
    void *memcpy(void *to, const void *source, size_t length)


cdef extern from "fanion_expression.h" nogil:
    enum:
        FANION_BUDGET
        FANION_ARENA_BYTES_MAX
        FANION_LIST_MAX
        FANION_TEXT_BYTES_MAX
        FANION_TEXT_DEPTH_MAX


cdef extern from "fanion_number.h" nogil:
    enum:
        FANION_NUMBER_BYTES_MAX
    ctypedef struct fanion_decimal:
        int point
    void fanion_decimal_parse(const char *shortest, fanion_decimal *out)
    size_t fanion_decimal_ecmascript(const fanion_decimal *number, char *out)
    size_t fanion_integer_text(int64_t value, char *out)
    const char *fanion_decimal_find(const char *text, size_t length)


cdef extern from "fanion_text.h" nogil:
    void fanion_text_trim(const char **text, size_t *length)
    double fanion_radix_number(const char *text, size_t length)
    double fanion_infinity(const char *text, size_t length)


cdef enum:
    NUMERAL_BYTES = 128    # numerals up to this size are read from the stack


cdef inline bint is_list(const json_value *v) noexcept nogil:
    return VALUE_LIST <= v.kind <= VALUE_FIXED


cdef inline const char *text_at(const json_value *v) noexcept nogil:
    return <const char *> v.content.place


cdef inline PyObject *object_at(const json_value *v) noexcept nogil:
    return <PyObject *> v.content.place


# -- what a run may spend and make

cdef inline int spend(run_state *r, uint64_t cost) noexcept nogil:
    r.spent += cost
    return BEYOND if r.spent > FANION_BUDGET else COMPUTED


cdef inline int append(run_state *r, const char *text, size_t length) noexcept nogil:
    """Makes the arena's open text longer; `used` is not a whole word until `close_text`."""
    if r.used + length + 1 > FANION_ARENA_BYTES_MAX:
        return BEYOND
    memcpy(r.arena + r.used, text, length)
    r.used += <uint32_t> length
    return COMPUTED


cdef inline int close_text(run_state *r, uint32_t start, json_value *out) noexcept nogil:
    """The text that was opened where `used` was `start`. Its end takes a byte too, of an empty text as well."""
    if r.used + 1 > FANION_ARENA_BYTES_MAX:
        return BEYOND
    out.kind = VALUE_TEXT
    out.length = r.used - start
    out.content.place = r.arena + start
    r.arena[r.used] = 0
    r.used = start + ((out.length + 8) & ~(<uint32_t> 7))
    return COMPUTED


cdef inline json_value *make_list(run_state *r, uint64_t count) noexcept nogil:
    """Room for a list's items; NULL where there is none left."""
    cdef json_value *items = <json_value *> (r.arena + r.used)
    if r.used + count * sizeof(json_value) > FANION_ARENA_BYTES_MAX:
        return NULL
    r.used += <uint32_t> (count * sizeof(json_value))
    return items


cdef inline void put_number(json_value *out, double number) noexcept nogil:
    out.kind = VALUE_NUMBER
    out.content.number = number


cdef inline void put_truth(json_value *out, bint truth) noexcept nogil:
    out.kind = VALUE_TRUE if truth else VALUE_FALSE


cdef inline void put_list(json_value *out, const json_value *items, uint32_t count) noexcept nogil:
    out.kind = VALUE_MADE
    out.length = count
    out.content.place = items


# -- where values come from

cdef inline int from_object(PyObject *found, json_value *out) except -1:
    """A value of the context; NULL and None are null."""
    cdef Py_ssize_t length = 0
    cdef int overflow = 0
    out.content.place = found
    if found == NULL or found == <PyObject *> None:
        out.kind = VALUE_NULL
    elif PyUnicode_Check(<object> found):
        out.kind = VALUE_TEXT
        out.content.place = PyUnicode_AsUTF8AndSize(<object> found, &length)
        if length > FANION_TEXT_BYTES_MAX:
            return BEYOND
        out.length = <uint32_t> length
    elif PyBool_Check(<object> found):
        put_truth(out, <object> found is True)
    elif PyFloat_Check(<object> found):
        put_number(out, PyFloat_AS_DOUBLE(<object> found))
    elif PyLong_Check(<object> found):
        PyLong_AsLongLongAndOverflow(<object> found, &overflow)
        try:
            put_number(out, PyLong_AsDouble(<object> found))
        except OverflowError:
            put_number(out, INFINITY if overflow > 0 else -INFINITY)
    elif PyList_Check(<object> found):
        out.kind = VALUE_LIST
        if PyList_GET_SIZE(<object> found) > FANION_LIST_MAX:
            return BEYOND
        out.length = <uint32_t> PyList_GET_SIZE(<object> found)
    else:
        out.kind = VALUE_OBJECT
    return COMPUTED


cdef inline int from_constant(const fanion_sections *s, uint32_t number, json_value *out) noexcept nogil:
    cdef const fanion_constant *one = &s.constants[number]
    FANION_ASSERT(number < s.counts[FANION_SECTION_CONSTANTS])
    if one.kind == FANION_CONSTANT_NUMBER:
        put_number(out, one.content.number)
    elif one.kind == FANION_CONSTANT_TEXT:
        FANION_ASSERT(readable(s, one.content.text))
        out.kind = VALUE_TEXT
        out.length = one.content.text.length
        out.content.place = s.blob + one.content.text.offset
    elif one.kind == FANION_CONSTANT_LIST:
        FANION_ASSERT(within(s, FANION_SECTION_CONSTANTS, one.content.first, one.count))
        out.kind = VALUE_FIXED
        out.length = one.count
        out.content.place = &s.constants[one.content.first]
    elif one.kind == FANION_CONSTANT_NULL:
        out.kind = VALUE_NULL
    else:
        put_truth(out, one.kind == FANION_CONSTANT_TRUE)
    return COMPUTED


cdef inline int item_of(const fanion_sections *s, const json_value *v, uint32_t n, json_value *out) except -1:
    """The n-th item of a list. The list of a context may have shrunk: null then."""
    if v.kind == VALUE_MADE:
        out[0] = (<const json_value *> v.content.place)[n]
        return COMPUTED
    if v.kind == VALUE_FIXED:
        return from_constant(s, <uint32_t> (<const fanion_constant *> v.content.place - s.constants) + n, out)
    if n >= PyList_GET_SIZE(<object> object_at(v)):
        out.kind = VALUE_NULL
        return COMPUTED
    return from_object(PyList_GET_ITEM(<object> object_at(v), n), out)


# -- what they are

cdef inline bint truth_of(const json_value *v) noexcept:
    if v.kind <= VALUE_TRUE:
        return v.kind == VALUE_TRUE
    if v.kind == VALUE_NUMBER:
        return v.content.number == v.content.number and v.content.number != 0
    if v.kind == VALUE_OBJECT and PyDict_Check(<object> object_at(v)):
        return PyDict_Size(<object> object_at(v)) > 0
    return v.kind >= VALUE_OBJECT or v.length > 0


cdef inline double numeral(const char *text, size_t length) except? -1.0:
    """A decimal number, from a copy that ends where it does."""
    cdef char[NUMERAL_BYTES] stack
    cdef char *copied = &stack[0]
    cdef double found = NAN
    if length >= NUMERAL_BYTES:
        copied = <char *> malloc(length + 1)
        if copied == NULL:
            raise MemoryError
    memcpy(copied, text, length)
    copied[length] = 0
    try:
        found = PyOS_string_to_double(copied, NULL, NULL)
    finally:
        if copied != &stack[0]:
            free(copied)
    return found


cdef inline int number_of(run_state *r, const json_value *v, double *out) except -1:
    cdef const char *text = text_at(v)
    cdef size_t length = v.length
    out[0] = NAN
    if v.kind == VALUE_NUMBER:
        out[0] = v.content.number
    elif v.kind <= VALUE_TRUE:
        out[0] = v.kind == VALUE_TRUE
    elif v.kind == VALUE_TEXT:
        if spend(r, v.length >> 8):
            return BEYOND
        fanion_text_trim(&text, &length)
        if not length:
            out[0] = 0.0
        elif fanion_decimal_find(text, length) != NULL:
            out[0] = numeral(text, length)
        else:
            out[0] = fanion_infinity(text, length)
            if out[0] == 0:
                out[0] = fanion_radix_number(text, length)
    return COMPUTED


cdef inline size_t write_number(double number, char *out) except 0:
    """As ECMAScript writes it; how many bytes."""
    cdef fanion_decimal decimal
    cdef char *shortest
    cdef int64_t whole
    if number != number:
        memcpy(out, b"NaN", 3)
        return 3
    if number == INFINITY or number == -INFINITY:
        memcpy(out, b"Infinity" if number > 0 else b"-Infinity", 9)
        return 8 if number > 0 else 9
    if -9007199254740992.0 < number < 9007199254740992.0:
        whole = <int64_t> number
        if <double> whole == number:
            return fanion_integer_text(whole, out)
    shortest = PyOS_double_to_string(number, c'r', 0, 0, NULL)
    fanion_decimal_parse(shortest, &decimal)
    PyMem_Free(shortest)
    return fanion_decimal_ecmascript(&decimal, out)


cdef inline const char *ready_text(const json_value *v, size_t *length) noexcept nogil:
    """Of what has its text ready: all but numbers and lists."""
    if v.kind == VALUE_TEXT:
        length[0] = v.length
        return text_at(v)
    if v.kind == VALUE_NULL or v.kind == VALUE_TRUE:
        length[0] = 4
        return b"null" if v.kind == VALUE_NULL else b"true"
    length[0] = 5 if v.kind == VALUE_FALSE else 15
    return b"false" if v.kind == VALUE_FALSE else b"[object Object]"


cdef inline int append_value(run_state *r, const json_value *v) except -1:
    """The text of anything but a list; null has none."""
    cdef char[FANION_NUMBER_BYTES_MAX] room
    cdef size_t length
    cdef const char *text
    if v.kind == VALUE_NULL:
        return COMPUTED
    if v.kind == VALUE_NUMBER:
        length = write_number(v.content.number, room)
        return append(r, room, length)
    text = ready_text(v, &length)
    return append(r, text, length)


cdef inline int append_items(run_state *r, const json_value *v, bint commas, int depth) except -1:
    """The texts of a list's items, those of lists in it with commas between."""
    cdef uint32_t n
    cdef json_value item
    if depth == FANION_TEXT_DEPTH_MAX:
        return BEYOND
    for n in range(v.length):
        if spend(r, 1) or (n and commas and append(r, b",", 1)) or item_of(r.s, v, n, &item):
            return BEYOND
        if append_items(r, &item, True, depth + 1) if is_list(&item) else append_value(r, &item):
            return BEYOND
    return COMPUTED


cdef inline int text_of(run_state *r, const json_value *v, json_value *out) except -1:
    """A value's text as a value; one that was not there yet lies in the arena."""
    cdef uint32_t start = r.used
    cdef size_t length = 0
    if v.kind == VALUE_NUMBER or is_list(v):
        if append_items(r, v, True, 0) if is_list(v) else append_value(r, v):
            return BEYOND
        return close_text(r, start, out)
    out.content.place = ready_text(v, &length)
    out.kind = VALUE_TEXT
    out.length = <uint32_t> length
    return COMPUTED
