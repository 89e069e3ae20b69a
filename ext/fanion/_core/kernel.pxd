"""The decision kernel's two functions. A machine's run: `enter`, then `run` until it is RUN_DONE."""

from libc.stdint cimport uint32_t

from fanion._core.machine cimport machine


cdef void enter(machine *m, uint32_t decision) noexcept nogil

# A run_status: frame 0 stands on an outcome, or a node reads what is not there yet (`machine.wanted`).
cdef int run(machine *m) noexcept nogil
