cdef class Turn:
    cdef bint held
    cdef unsigned long owner  # 0: nobody
    cdef list waiting

    cpdef int take(self) except -1
    cpdef int give(self) except -1


cdef class Lane:
    cdef readonly bint inside
    cdef bint asleep
    cdef public bint open
    cdef readonly Turn turn
    cdef readonly dict steps
    cdef object loop, later, ready
    cdef list scheduled
    cdef Py_ssize_t timers
    cdef unsigned long thread

    cdef int run(self, Step step, bint begun) except -1
    cdef int notice(self) except -1
    cdef int step(self, Step step) except -1


cdef class Step:
    cdef readonly Lane lane
    cdef readonly object coroutine, woken
    cdef readonly bint body
    cdef object callback, context
    cdef tuple more
    cdef int looks

    cdef int wake(self) except -1
    cdef int leave(self, coroutine) except -1


cdef class Out:
    cdef bint gone
