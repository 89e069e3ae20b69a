"""Choosing for many at once: what a bundle's decisions choose for each of many sets of members, written as one list.

Says the same as `Bundle.choose` asked for each of them. Knows no API: whoever asks names the decisions, the members
and what an answer is put together from.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free

from fanion._core.emit_json cimport output, put, put_json_text
from fanion._core.evaluate cimport Bundle
from fanion._core.layout cimport FANION_NONE
from fanion._core.machine cimport frame

cdef enum:
    ROOM_KEPT = 1 << 20    # bytes of a bundle's room for answers that stay with it


cdef class Way:
    """One decision that can be asked for. `begin`: what an answer begins with; its first member's text as JSON stands
    behind it. `counted`: whether the last member has a part in what ends an answer."""

    cdef uint32_t decision
    cdef bytes begin
    cdef bint counted
    cdef dict ends      # of one call: (choice, probability, vector, last member or None) -> what ends an answer

    def __cinit__(self, uint32_t decision, bytes begin not None, bint counted):
        self.decision, self.begin, self.counted = decision, begin, counted
        self.ends = {}

    cdef bytes ending(self, key, const frame *chosen, last, end):
        cdef tuple known = (chosen.choice, chosen.probability, chosen.vector, last)
        cdef PyObject *found = PyDict_GetItemWithError(self.ends, known)
        if found != NULL:
            return <bytes>found
        vector = -1 if chosen.vector == FANION_NONE else <int64_t>chosen.vector
        made = end(key, chosen.choice, chosen.probability, vector, last)
        self.ends[known] = made
        return made


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
    cdef list keys, firsts, lasts
    cdef Py_ssize_t number, column, at = 0, length = 0
    cdef const char *text
    cdef const char *asks = PyBytes_AS_STRING(places)
    cdef output *out = &bundle.out
    cdef const frame *chosen = &bundle.machine.frames[0]
    cdef PyObject *found
    cdef Way way
    cdef bytes ending
    if len(columns) != len(names) + 1 or not names:
        raise ValueError(f"{len(columns)} columns for a key and {len(names)} members")
    for column_of in columns:
        if len(<list?>column_of) != places.count(1):
            raise ValueError("a column has more or fewer texts than there are that ask")
    keys, firsts, lasts = columns[0], columns[1], columns[len(columns) - 1]
    bundle.require()
    out.length = 0
    try:
        for number in range(PyBytes_GET_SIZE(places)):
            if number:
                put(out, b",", 1)
            found = NULL
            if asks[number] == 1:
                found = PyDict_GetItemWithError(ways, keys[at])
                at += 1
            if found != NULL:
                way = <Way?><object>found
                for column in range(len(names)):
                    PyDict_SetItem(members, names[column], (<list>columns[column + 1])[at - 1])
                bundle.begin(members, None, None)
                bundle.decide_number(way.decision)
            if found == NULL or chosen.choice < 0:
                put(out, b"null", 4)
                continue
            put(out, PyBytes_AS_STRING(way.begin), PyBytes_GET_SIZE(way.begin))
            text = PyUnicode_AsUTF8AndSize(firsts[at - 1], &length)
            put_json_text(out, text, length)
            ending = way.ending(keys[at - 1], chosen, lasts[at - 1] if way.counted else None, end)
            put(out, PyBytes_AS_STRING(ending), PyBytes_GET_SIZE(ending))
            if out.length - number > bytes_max:
                return None
        if out.length > bytes_max + PyBytes_GET_SIZE(places) - 1:
            return None
        return PyBytes_FromStringAndSize(out.data, out.length)
    finally:
        for way in ways.values():
            way.ends.clear()
        if out.capacity > ROOM_KEPT:
            free(out.data)
            out.data, out.length, out.capacity = NULL, 0, 0
