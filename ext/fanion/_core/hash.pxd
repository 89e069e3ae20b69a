"""The bucketing hashes of `fanion_hash.h`. Do not need the GIL."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "fanion_hash.h" nogil:
    uint64_t fanion_hash_xxh64(const void *data, size_t length)
    uint64_t fanion_hash_sha256(const void *data, size_t length)
    void fanion_sha256(const void *data, size_t length, uint8_t *digest)
    void fanion_sha256_two(const uint8_t *const *data, const size_t *length, uint8_t *digests)
    void fanion_sha256_by(uint32_t way)
    void fanion_hash_murmur3_128(const void *data, size_t length, uint64_t *low, uint64_t *high)
    uint32_t fanion_hash_murmur3_32(const void *data, size_t length)
