"""Binding: from the JSON values of a request to typed cells, each slot once, when a node first reads it.

Needs the GIL. Names are interned, as most callers' are: they are found without being compared. Texts are borrowed
from the context, which whoever asks keeps alive and unchanged until the last use of the cells; only the text of
numbers is made here, into a buffer of the cell.
"""

cimport cython
from sys import intern

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_Check, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsDouble, PyLong_AsLongLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.math cimport isfinite
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc, realloc

from fanion._core.bundle cimport BundleView
from fanion._core.expression cimport (
    BEYOND,
    VALUE_NULL,
    VALUE_NUMBER,
    VALUE_OBJECT,
    VALUE_TEXT,
    VALUE_TRUE,
    Expressions,
    json_value,
)
from fanion._core.layout cimport *
from fanion._core.machine cimport machine
from fanion._core.match cimport cell, fanion_version_parse, slice
from fanion._core.value cimport (
    FANION_NUMBER_BYTES_MAX,
    PyOS_double_to_string,
    PyOS_string_to_double,
    fanion_decimal,
    fanion_decimal_ecmascript,
    fanion_decimal_find,
    fanion_decimal_parse,
    fanion_integer_text,
    memcpy,
    text_at,
)


cdef extern from "fanion_number.h" nogil:
    size_t fanion_decimal_plain(const fanion_decimal *number, char *out)


cdef enum:
    KEPT_BYTES_MAX = 4096    # of a computed text whose room is kept for the next


cdef int number_text(cell *out, uint8_t profile) except -1:
    """The text form of out.number (of out.integer where an INT64 keeps its digits)."""
    cdef fanion_decimal decimal
    cdef char *shortest
    cdef double value = out.number
    if out.buffer == NULL:
        out.buffer = <char *> malloc(FANION_NUMBER_BYTES_MAX)
        if out.buffer == NULL:
            raise MemoryError
    out.text = out.buffer
    if out.kind == KIND_INT64 and (profile == PROFILE_VERSIONED or -9007199254740992.0 < value < 9007199254740992.0):
        out.length = <uint32_t> fanion_integer_text(out.integer, out.buffer)
    elif value == 0:
        if profile == PROFILE_VERSIONED and 1.0 / value < 0:
            out.buffer[0] = c'-'
            out.buffer[1] = c'0'
            out.length = 2
        else:
            out.buffer[0] = c'0'
            out.length = 1
    else:
        shortest = PyOS_double_to_string(value, c'r', 0, 0, NULL)
        fanion_decimal_parse(shortest, &decimal)
        PyMem_Free(shortest)
        if profile == PROFILE_VERSIONED:
            out.length = <uint32_t> fanion_decimal_plain(&decimal, out.buffer)
        else:
            out.length = <uint32_t> fanion_decimal_ecmascript(&decimal, out.buffer)
    return 0


cdef int bind_number(cell *out, object value, const fanion_slot *slot) except -1:
    cdef int overflow = 0
    out.kind = KIND_DOUBLE
    if PyLong_Check(value):
        out.integer = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow == 0 and slot.profile != PROFILE_DOUBLES:
            out.kind = KIND_INT64
            out.number = <double> out.integer
        elif overflow == 0:
            out.number = <double> out.integer
        else:
            try:
                out.number = PyLong_AsDouble(value)
            except OverflowError:
                out.kind = KIND_OTHER
                return 0
    else:
        out.number = PyFloat_AS_DOUBLE(value)
        if not isfinite(out.number):
            out.kind = KIND_OTHER
            return 0
    out.has_number = 1
    if slot.needs & FANION_NEEDS_TEXT:
        number_text(out, slot.profile)
    return 0


cdef int bind_text(cell *out, object value, const fanion_slot *slot) except -1:
    cdef Py_ssize_t length = 0
    cdef const char *found
    out.text = PyUnicode_AsUTF8AndSize(value, &length)
    if length > TEXT_BYTES_MAX:
        out.kind = KIND_OTHER
        out.text = NULL
        return 0
    out.kind = KIND_STRING
    out.length = <uint32_t> length
    if slot.profile == PROFILE_VERSIONED and fanion_version_parse(out.text, length, &out.version):
        out.kind = KIND_VERSION
    if slot.needs & FANION_NEEDS_NUMBER:
        found = fanion_decimal_find(out.text, length)
        if found != NULL:
            out.number = PyOS_string_to_double(found, <char **> &found, NULL)
            out.has_number = 1
    return 0


cdef int bind_strings(cell *out, object value) except -1:
    cdef Py_ssize_t n, count = PyList_GET_SIZE(value), length = 0
    cdef uint64_t total = 0
    cdef slice *grown
    out.kind = KIND_OTHER
    if count > STRINGS_MAX:
        return 0
    if count > out.capacity:
        grown = <slice *> realloc(out.strings, count * sizeof(slice))
        if grown == NULL:
            raise MemoryError
        out.strings = grown
        out.capacity = <uint32_t> count
    for n in range(count):
        if not PyUnicode_Check(<object> PyList_GET_ITEM(value, n)):
            return 0
        out.strings[n].text = PyUnicode_AsUTF8AndSize(<object> PyList_GET_ITEM(value, n), &length)
        out.strings[n].length = <uint32_t> length
        total += length
        if total > TEXT_BYTES_MAX:
            return 0
    out.kind = KIND_STRINGS
    out.count = <uint32_t> count
    return 0


cdef int bind_value(cell *out, PyObject *found, const fanion_slot *slot) except -1:
    """Types one JSON value; NULL is a missing one."""
    out.text = NULL
    out.has_number = 0
    if found == NULL:
        out.kind = KIND_MISSING
    elif found == <PyObject *> None:
        out.kind = KIND_NULL
    elif PyUnicode_Check(<object> found):
        bind_text(out, <object> found, slot)
    elif PyBool_Check(<object> found):
        out.kind = KIND_BOOL
        out.integer = <object> found is True
        if out.integer:
            out.text = b"true"
            out.length = 4
        else:
            out.text = b"false"
            out.length = 5
    elif PyLong_Check(<object> found) or PyFloat_Check(<object> found):
        bind_number(out, <object> found, slot)
    elif PyList_Check(<object> found):
        bind_strings(out, <object> found)
    else:
        out.kind = KIND_OTHER
    return 0


cdef int keep_text(cell *out, const char *text, uint32_t length) except -1:
    """Copies a text to the cell, with a 0 behind it. Room for a long one is given back with the next that isn't."""
    cdef uint32_t room = length + 1 if length >= FANION_NUMBER_BYTES_MAX else FANION_NUMBER_BYTES_MAX
    cdef char *grown
    if out.buffer == NULL or room > out.capacity or (out.capacity > KEPT_BYTES_MAX and room <= KEPT_BYTES_MAX):
        grown = <char *> realloc(out.buffer, room)
        if grown == NULL:
            raise MemoryError
        out.buffer = grown
        out.capacity = room
    memcpy(out.buffer, text, length)
    out.buffer[length] = 0
    out.text = out.buffer
    out.length = length
    return 0


cdef int bind_computed(cell *out, const json_value *found, const fanion_slot *slot) except -1:
    """Types what an expression gave. Its text may lie where the next run writes, so the cell has its own."""
    cdef const char *number
    out.text = NULL
    out.has_number = 0
    if found.kind == VALUE_NUMBER and isfinite(found.content.number):
        out.kind = KIND_DOUBLE
        out.number = found.content.number
        out.has_number = 1
        if slot.needs & FANION_NEEDS_TEXT:
            number_text(out, PROFILE_PLAIN)
    elif found.kind == VALUE_TEXT:
        out.kind = KIND_STRING
        keep_text(out, text_at(found), found.length)
        if slot.needs & FANION_NEEDS_NUMBER:
            number = fanion_decimal_find(out.text, out.length)
            if number != NULL:
                out.number = PyOS_string_to_double(number, <char **> &number, NULL)
                out.has_number = 1
    elif found.kind == VALUE_NULL:
        out.kind = KIND_NULL
    elif found.kind <= VALUE_TRUE:
        out.kind = KIND_BOOL
        out.integer = found.kind == VALUE_TRUE
        out.text = b"true" if found.kind == VALUE_TRUE else b"false"
        out.length = 4 if found.kind == VALUE_TRUE else 5
    else:
        out.kind = KIND_OTHER
    return 0


cdef PyObject *walk(object values, list parts) except? NULL:
    """Follows a dotted name: objects by key, arrays by canonical index or "length". NULL: missing.

    "length" gives a new int; it is kept in `parts` behind the last name, so the reference stays borrowed."""
    cdef PyObject *found = <PyObject *> values
    cdef Py_ssize_t at
    cdef object length
    for n in range(len(parts) - 1):
        name, index = parts[n]
        if isinstance(<object> found, dict):
            found = PyDict_GetItemWithError(<object> found, name)
            if found == NULL:
                return NULL
        elif isinstance(<object> found, list):
            if name == "length":
                length = len(<list> found)
                parts[len(parts) - 1] = length
                found = <PyObject *> length
            else:
                at = index
                if at < 0 or at >= PyList_GET_SIZE(<object> found):
                    return NULL
                found = PyList_GET_ITEM(<object> found, at)
        else:
            return NULL
    return found


cdef list parts_of(str name):
    """A dotted name taken apart for `walk`: (part, array index or -1) each, then a place of its own."""
    parts = []
    for part in name.split("."):
        canonical = part.isascii() and part.isdigit() and len(part) <= 9 and (part == "0" or part[0] != "0")
        parts.append((part, int(part) if canonical else -1))
    parts.append(None)
    return parts


cdef inline PyObject *found_in(Binder self, uint32_t slot, const fanion_slot *spec) except? NULL:
    """A slot's value in the context, NULL where it is missing; of any source but CONTEXT_KEYS."""
    cdef PyObject *values = self.attributes
    cdef PyObject *found = NULL
    if spec.source == SOURCE_CONTEXT_KEY or spec.source == SOURCE_CONTEXT_ATTRIBUTE:
        values = NULL
        if self.contexts != NULL:
            for context in <tuple> self.contexts:
                if context[0] is self.types[slot] or context[0] == self.types[slot]:
                    values = <PyObject *> context[2]
                    found = <PyObject *> context[1]
                    break
        if spec.source == SOURCE_CONTEXT_KEY:
            values = NULL
        else:
            found = NULL
    elif spec.source != SOURCE_ATTRIBUTE and self.members != NULL:
        found = self.look_up(slot, self.members)
        if found != NULL or spec.source == SOURCE_MEMBER:
            values = NULL
    elif spec.source == SOURCE_MEMBER:
        values = NULL
    if values != NULL:
        found = self.look_up(slot, values)
    return found


@cython.final
cdef class Binder:
    """Binds the slots of one bundle for the machine that the bundle owns."""

    cdef int attach(self, BundleView view, machine *m) except -1:
        cdef uint32_t n
        self.m = m
        self.names = []
        self.parts = []
        self.types = []
        for n in range(view.slot_count):
            self.names.append(intern(view.text(view.s.slots[n].name)))
            self.types.append(intern(view.text(view.s.slots[n].context_type)))
            self.parts.append(parts_of(self.names[n]) if view.s.slots[n].dotted else None)
        if view.s.counts[FANION_SECTION_EXPRESSIONS]:
            self.expressions = Expressions()
            self.expressions.attach(view)
        return 0

    cdef void borrow(self, object members, object attributes, object contexts) noexcept:
        self.members = <PyObject *> members if members is not None else NULL
        self.attributes = <PyObject *> attributes if attributes is not None else NULL
        self.contexts = <PyObject *> contexts if contexts is not None else NULL

    cdef PyObject *find(self, uint32_t slot) except? NULL:
        """A looked-up slot's value in the context, NULL where it is missing."""
        if self.m.s.slots[slot].source != SOURCE_CONTEXT_KEYS:
            return found_in(self, slot, &self.m.s.slots[slot])
        if self.m.cells[slot].stamp != self.m.stamp:
            self.bind_keys(slot)
        return <PyObject *> self.names[slot] if self.m.cells[slot].kind != KIND_MISSING else NULL

    cdef int bind(self, uint32_t slot) except -1:
        cdef const fanion_slot *spec = &self.m.s.slots[slot]
        if spec.source >= SOURCE_CONTEXT_KEYS:
            return self.bind_rarer(slot)
        bind_value(&self.m.cells[slot], found_in(self, slot, spec), spec)
        self.m.cells[slot].stamp = self.m.stamp
        return 0

    cdef int bind_rarer(self, uint32_t slot) except -1:
        """What isn't simply looked up: all contexts' keys, and expressions."""
        cdef json_value computed
        cdef int status
        if self.m.s.slots[slot].source == SOURCE_CONTEXT_KEYS:
            return self.bind_keys(slot)
        status = self.expressions.run(self, self.m.s.slots[slot].expression, &computed)
        if status == BEYOND:
            computed.kind = VALUE_OBJECT
        bind_computed(&self.m.cells[slot], &computed, &self.m.s.slots[slot])
        self.m.cells[slot].stamp = self.m.stamp
        return 0

    cdef PyObject *look_up(self, uint32_t slot, PyObject *values) except? NULL:
        """A slot's value among members or attributes, NULL where it is missing: the name itself, then its walk."""
        cdef PyObject *found = PyDict_GetItemWithError(<dict> values, self.names[slot])
        if found == NULL and self.m.s.slots[slot].dotted:
            found = walk(<object> values, self.parts[slot])
        return found

    cdef int bind_keys(self, uint32_t slot) except -1:
        """CONTEXT_KEYS: the joined text is kept in `names`, so that the cell may borrow it."""
        cdef object joined = None
        if self.contexts != NULL and len(<tuple> self.contexts):
            joined = "".join([context[1] for context in <tuple> self.contexts])
            self.names[slot] = joined
        bind_value(&self.m.cells[slot], NULL if joined is None else <PyObject *> joined, &self.m.s.slots[slot])
        self.m.cells[slot].stamp = self.m.stamp
        return 0
