"""Choosing for many at once: what a bundle's decisions choose for each of many sets of members, written as one list.

Says the same as `Bundle.choose` asked for each of them. Knows no API: whoever asks names the decisions, the members
and what an answer is put together from.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from fanion._core.emit_json cimport output, put, put_json_text
from fanion._core.evaluate cimport Bundle
from fanion._core.layout cimport FANION_NONE
from fanion._core.machine cimport frame

cdef enum:
    ROOM_KEPT = 1 << 20    # bytes of a bundle's room for answers that stay with it
    NAMES_MAX = 8          # members of a set
    ENDS_NEAR = 16         # ends that are found without a look-up; a power of two


cdef struct near_end:
    int64_t choice
    double probability
    uint32_t vector
    PyObject *last      # borrowed from the columns
    PyObject *ending    # borrowed from `ends`; NULL: none


cdef class Way:
    """One decision that can be asked for. `begin`: what an answer begins with; its first member's text as JSON stands
    behind it. `counted`: whether the last member has a part in what ends an answer."""

    cdef uint32_t decision
    cdef bytes begin
    cdef bint counted
    # Of one call.
    cdef dict ends      # (choice, probability, vector, last member or None) -> what ends an answer
    cdef near_end near[ENDS_NEAR]    # of each choice the one that came last

    def __cinit__(self, uint32_t decision, bytes begin not None, bint counted):
        self.decision, self.begin, self.counted = decision, begin, counted
        self.ends = {}

    cdef bytes ending(self, key, const frame *chosen, PyObject *last, end):
        cdef near_end *near = &self.near[chosen.choice & (ENDS_NEAR - 1)]
        cdef bytes made
        if near.ending == NULL or near.choice != chosen.choice or near.probability != chosen.probability \
                or near.vector != chosen.vector or near.last != last:
            made = self.ending_of(key, chosen, <object>last, end)  # kept by `ends`
            near.ending = <PyObject *>made
            near.choice, near.probability, near.vector = chosen.choice, chosen.probability, chosen.vector
            near.last = last
        return <bytes>near.ending

    cdef bytes ending_of(self, key, const frame *chosen, last, end):
        cdef tuple known = (chosen.choice, chosen.probability, chosen.vector, last)
        cdef PyObject *found = PyDict_GetItemWithError(self.ends, known)
        if found != NULL:
            return <bytes>found
        vector = -1 if chosen.vector == FANION_NONE else <int64_t>chosen.vector
        made = end(key, chosen.choice, chosen.probability, vector, last)
        self.ends[known] = made
        return made

    cdef void forget(self) noexcept:
        memset(self.near, 0, sizeof(self.near))
        self.ends.clear()


def choose_each(
    Bundle bundle not None, dict ways not None, tuple names not None, list columns not None, bytes places not None,
    end, size_t bytes_max,
):
    """A list's content, one answer for each of `places`, with commas between; None where the answers are above
    `bytes_max` together.

    `places`: 1 for each that asks, else 0; `columns`: of those that ask, in their order, the key of a Way and what
    stands under each of `names`, None for what isn't there. `end(key, choice, probability, vector, last member)`
    gives what ends an answer, once for all that have it alike; it asks no question. `null` where none asks, of a key
    without a Way, and where nothing is chosen. Ends whatever question the bundle was asked.
    """
    cdef dict members = dict.fromkeys(names)
    cdef Py_ssize_t number, column, at = 0, length = 0, count = len(names)
    cdef const char *text
    cdef const char *asks = PyBytes_AS_STRING(places)
    cdef output *out = &bundle.out
    cdef const frame *chosen = &bundle.machine.frames[0]
    cdef PyObject *given[NAMES_MAX + 1]     # columns, borrowed
    cdef PyObject *put_in[NAMES_MAX]        # what `members` has of each, borrowed from the columns
    cdef PyObject *one
    cdef PyObject *key = NULL
    cdef PyObject *found
    cdef Way way = None
    cdef bytes ending
    if len(columns) != count + 1 or not 0 < count <= NAMES_MAX:
        raise ValueError(f"{len(columns)} columns for a key and {count} members, 1 to {NAMES_MAX}")
    for column, column_of in enumerate(columns):
        if len(<list?>column_of) != places.count(1):
            raise ValueError("a column has more or fewer texts than there are that ask")
        given[column] = <PyObject *>column_of
        if column:
            put_in[column - 1] = <PyObject *>None
    bundle.require()
    out.length = 0
    try:
        for number in range(PyBytes_GET_SIZE(places)):
            if number:
                put(out, b",", 1)
            if asks[number] == 1:
                one = PyList_GET_ITEM(<list>given[0], at)
                at += 1
                if one != key:
                    key, found = one, PyDict_GetItemWithError(ways, <object>one)
                    way = None if found == NULL else <Way?><object>found
            if asks[number] != 1 or way is None:
                put(out, b"null", 4)
                continue
            for column in range(count):
                one = PyList_GET_ITEM(<list>given[column + 1], at - 1)
                if one != put_in[column]:
                    PyDict_SetItem(members, names[column], <object>one)
                    put_in[column] = one
            bundle.begin(members, None, None)
            bundle.decide_number(way.decision)
            if chosen.choice < 0:
                put(out, b"null", 4)
                continue
            put(out, PyBytes_AS_STRING(way.begin), PyBytes_GET_SIZE(way.begin))
            text = PyUnicode_AsUTF8AndSize(<object>PyList_GET_ITEM(<list>given[1], at - 1), &length)
            put_json_text(out, text, length)
            one = PyList_GET_ITEM(<list>given[count], at - 1) if way.counted else <PyObject *>None
            ending = way.ending(<object>key, chosen, one, end)
            put(out, PyBytes_AS_STRING(ending), PyBytes_GET_SIZE(ending))
            if out.length - number > bytes_max:
                return None
        if out.length > bytes_max + PyBytes_GET_SIZE(places) - 1:
            return None
        return PyBytes_FromStringAndSize(out.data, out.length)
    finally:
        for way in ways.values():
            way.forget()
        if out.capacity > ROOM_KEPT:
            free(out.data)
            out.data, out.length, out.capacity = NULL, 0, 0
