"""What computes slots: the values of a run of steps, what the run needs of its question, and who keeps its memory."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fanion._core.bundle cimport BundleView
from fanion._core.layout cimport fanion_sections, fanion_step
from fanion._core.machine cimport machine


cdef extern from "fanion_expression.h" nogil:
    enum:
        FANION_NESTED_MAX
        FANION_STACK_MAX


cdef enum:
    COMPUTED = 0
    BEYOND = 1    # a limit was passed: the slot's value is OTHER


cdef enum value_kind:
    VALUE_NULL
    VALUE_FALSE
    VALUE_TRUE
    VALUE_NUMBER
    VALUE_TEXT     # `place`: its bytes, in the context, the blob or the arena
    VALUE_LIST     # `place`: a list of the context
    VALUE_MADE     # `place`: values side by side, on the stack or in the arena
    VALUE_FIXED    # `place`: constants side by side, in the bundle
    VALUE_OBJECT   # `place`: an object of the context; one that is no dict has no members
    VALUE_ROOT     # the context itself


ctypedef union value_content:
    double number
    const void *place


# A value of JSON. Borrowed, whatever it points to: from the question, the bundle, or the run's arena.
ctypedef struct json_value:
    uint8_t kind
    uint32_t length      # bytes of a text, items of a list
    value_content content


ctypedef struct run_state:
    const fanion_sections *s     # borrowed from the bundle
    const fanion_step *steps     # the expression's first
    char *arena                  # owned by the Expressions
    uint32_t used                # bytes of the arena, always whole words of 8
    uint64_t spent
    json_value stack[FANION_STACK_MAX]


cdef class Finder:
    """Where a run of steps finds its question. The Binder is one."""
    cdef machine *m                  # borrowed from the bundle that owns both
    # Borrowed from whoever asks the current question; NULL: none given.
    cdef PyObject *members           # dict
    cdef PyObject *attributes        # dict

    cdef PyObject *find(self, uint32_t slot) except? NULL
    cdef int bind(self, uint32_t slot) except -1


cdef class Expressions:
    cdef const fanion_sections *s    # borrowed from the bundle
    cdef list names                  # per constant: a field's name as a dict key, None elsewhere
    cdef char *arenas[FANION_NESTED_MAX]  # owned; made at a run's first use of its depth
    cdef int deep                    # runs that are under way, each loading the next

    cdef int attach(self, BundleView view) except -1
    cdef int run(self, Finder finder, uint32_t number, json_value *out) except -1
