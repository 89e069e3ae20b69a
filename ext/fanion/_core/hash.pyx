"""The bucketing hashes, as Python functions for publish-time code and for tests."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


def xxh64(const unsigned char[::1] data not None):
    """XXH64, seed 0."""
    return fanion_hash_xxh64(&data[0] if data.shape[0] else NULL, data.shape[0])


def sha256_64(const unsigned char[::1] data not None):
    """The first 8 bytes of SHA-256, big-endian."""
    return fanion_hash_sha256(&data[0] if data.shape[0] else NULL, data.shape[0])


def sha256_two(const unsigned char[::1] first not None, const unsigned char[::1] second not None):
    """The SHA-256 of both."""
    cdef const uint8_t *data[2]
    cdef size_t[2] lengths
    cdef unsigned char[64] digests
    lengths[0], lengths[1] = first.shape[0], second.shape[0]
    data[0], data[1] = &first[0] if lengths[0] else NULL, &second[0] if lengths[1] else NULL
    fanion_sha256_two(data, lengths, digests)
    return digests[:32], digests[32:64]


def sha256_by(uint32_t way):
    """From now on this module's SHA-256 is by plain C (1) or the processor's instructions (2); 0: as the processor
    says. For tests."""
    fanion_sha256_by(way)


def murmur3_128(const unsigned char[::1] data not None):
    """MurmurHash3 x64_128, seed 0, as (h2 << 64) | h1."""
    cdef uint64_t low = 0, high = 0
    fanion_hash_murmur3_128(&data[0] if data.shape[0] else NULL, data.shape[0], &low, &high)
    return int(high) << 64 | low


def murmur3_32(const unsigned char[::1] data not None):
    """MurmurHash3 x86_32, seed 0."""
    return fanion_hash_murmur3_32(&data[0] if data.shape[0] else NULL, data.shape[0])
