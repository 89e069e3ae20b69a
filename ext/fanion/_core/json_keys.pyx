"""Whether an object of a JSON text has a key twice; see `fanion_json_keys.h`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "fanion_json_keys.h" nogil:
    enum:
        FANION_JSON_KEYS_DEPTH
        FANION_JSON_KEYS_FEW

    ctypedef struct fanion_json_level:
        pass

    bint fanion_json_keys_twice(const uint8_t *text, uint64_t length, fanion_json_level *levels)


DEPTH_MAX = FANION_JSON_KEYS_DEPTH
FEW = FANION_JSON_KEYS_FEW


def keys_twice(bytes text not None):
    """True also where that can't be told: a key with an escape, too many levels. Says nothing of what is no JSON."""
    cdef const uint8_t *at = <const uint8_t *> PyBytes_AS_STRING(text)
    cdef uint64_t length = PyBytes_GET_SIZE(text)
    cdef bint twice
    cdef fanion_json_level *levels = <fanion_json_level *> PyMem_RawCalloc(
        FANION_JSON_KEYS_DEPTH + 1, sizeof(fanion_json_level)
    )
    if levels == NULL:
        raise MemoryError
    with nogil:
        twice = fanion_json_keys_twice(at, length, levels)
    PyMem_RawFree(levels)
    return twice
