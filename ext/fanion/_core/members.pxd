# cython: language_level=3
"""Sets of members with an exact end, C declarations; see ext/include/fanion_members.h."""

from libc.stdint cimport uint64_t

from fanion._core.shared cimport SharedFile


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1
    void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out) noexcept


cdef extern from "fanion_members.h" nogil:
    ctypedef struct fanion_members:
        uint64_t size
    uint64_t fanion_members_bytes(uint64_t size) noexcept
    fanion_members fanion_members_attach(void *body, uint64_t size) noexcept
    uint64_t fanion_members_count(const fanion_members *set) noexcept
    bint fanion_members_has(const fanion_members *set, uint64_t member) noexcept
    bint fanion_members_join(const fanion_members *set, uint64_t member, uint64_t limit) noexcept
    void fanion_members_mend(const fanion_members *set) noexcept


cdef enum:
    PARTS_MAX = 23  # 2**32 members


cdef class MemberPart(SharedFile):
    cdef fanion_members set             # borrowed from the map, until closed
    cdef readonly uint64_t first        # members of the parts before this one


cdef class MemberSet:
    cdef fanion_siphash_key key
    cdef str path
    cdef list parts                     # MemberPart, in order; keeps the maps alive
    cdef fanion_members sets[PARTS_MAX]  # borrowed from the parts
    cdef uint64_t firsts[PARTS_MAX]
    cdef int count

    cdef int add_part(self) except -1
    cdef uint64_t hash_user(self, str user) except 0
