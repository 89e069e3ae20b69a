# cython: language_level=3
"""Sets of members with an exact end, each a few mapped files: the first 1,024, the next 1,024, the next 2,048, ...

A part is made, whole, when the one before it is full, so a set takes 24 to 48 bytes a member and no more than its
limit allows. The sets live on over restarts and reboots; a power cut may take the members of the last seconds, which
then join anew. Algorithm and orders: `fanion_members.h`. After fork: good as they are.
"""

import fcntl
import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

KIND_MEMBERS = 5
FIRST_PART = 1024
LIMIT_MAX = FIRST_PART << (PARTS_MAX - 1)

cdef enum:
    BOOT_ID = 32  # offset in the header page of a shared file


cdef bytes current_boot_id():
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return bytes.fromhex(file.read().strip().replace(b"-", b"").decode("ascii"))


@cython.final
cdef class MemberPart(SharedFile):
    """Part `number` of a set. Mended, under the file's lock, by whoever opens it first after a reboot.

    The descriptor is closed again: a server may have thousands of sets. OSError and ValueError as `SharedFile`'s.
    """

    def __init__(self, str path, int number):
        cdef uint64_t size = FIRST_PART << max(number - 1, 0)
        SharedFile.__init__(self, path, KIND_MEMBERS, 1, fanion_members_bytes(size), size)
        self.first = size if number else 0
        self.set = fanion_members_attach(self.body, size)
        cdef bytes boot_id = current_boot_id()
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            if memcmp(self.base + BOOT_ID, <const char *> boot_id, 16) != 0:
                fanion_members_mend(&self.set)
                memcpy(self.base + BOOT_ID, <const char *> boot_id, 16)
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)  # the mapping keeps the open file, and with it the lock, alive
            os.close(self.fd)
            self.fd = -1


@cython.final
cdef class MemberSet:
    """The set whose parts are `path` and a number. `key`: 16 secret bytes."""

    def __init__(self, str path, bytes key not None):
        if len(key) != 16:
            raise ValueError(f"a key of {len(key)} bytes; 16 are needed")
        memcpy(&self.key, PyBytes_AS_STRING(key), 16)
        self.path = path
        self.parts = []
        self.add_part()
        while self.count < PARTS_MAX and os.path.exists(f"{path}{self.count}"):
            self.add_part()

    def admit(self, str user not None, uint64_t limit):
        """Whether `user` is in, or joins as one of the first `limit`. OSError when a part can't be made."""
        cdef uint64_t member = self.hash_user(user)
        cdef uint64_t room
        cdef int number
        if limit > LIMIT_MAX:
            raise ValueError(f"a limit of {limit}; {LIMIT_MAX} is allowed")
        for number in range(self.count - 1, -1, -1):
            if fanion_members_has(&self.sets[number], member):
                return True
        number = 0
        while True:
            room = limit - self.firsts[number] if limit > self.firsts[number] else 0
            if fanion_members_join(&self.sets[number], member, room):
                return True
            number += 1
            if number < self.count:
                continue
            if number == PARTS_MAX or fanion_members_count(&self.sets[number - 1]) < self.sets[number - 1].size:
                return False
            if limit <= self.firsts[number - 1] + self.sets[number - 1].size:
                if not os.path.exists(f"{self.path}{number}"):
                    return False
            self.add_part()

    def __len__(self):
        cdef int number
        cdef uint64_t total = 0
        for number in range(self.count):
            total += fanion_members_count(&self.sets[number])
        return total

    def close(self):
        """Unmaps all parts; the set is unusable from here on."""
        self.count = 0
        for part in self.parts:
            part.close()
        self.parts = []
        self.path = None

    cdef int add_part(self) except -1:
        if self.path is None:
            raise ValueError("the set is closed")
        cdef MemberPart part = MemberPart(f"{self.path}{self.count}", self.count)
        self.parts.append(part)
        self.sets[self.count] = part.set
        self.firsts[self.count] = part.first
        self.count += 1
        return 0

    cdef uint64_t hash_user(self, str user) except 0:
        cdef bytes raw
        cdef uint64_t out
        cdef Py_ssize_t length
        cdef const char *text
        if self.count == 0:
            raise ValueError("the set is closed")
        try:
            text = PyUnicode_AsUTF8AndSize(user, &length)
            fanion_siphash(self.key, text, length, 0, &out)
        except UnicodeEncodeError:
            raw = user.encode("utf-8", "surrogatepass")
            fanion_siphash(self.key, PyBytes_AS_STRING(raw), len(raw), 0, &out)
        return out if out != 0 else 1
