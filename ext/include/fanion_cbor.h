/* Deterministic CBOR (RFC 8949, 4.2.1) of what JSON holds: shortest heads, whole numbers of 64 bits as integers, other
 * numbers as the shortest float that keeps them. No Python.h, no allocation. */
#ifndef FANION_CBOR_H
#define FANION_CBOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FANION_CBOR_HEAD_MAX 9

static inline size_t fanion_cbor_bytes(char *out, unsigned first, uint64_t number, int size) {
    out[0] = (char)first;
    for (int i = 0; i < size; i++)
        out[1 + i] = (char)(number >> (8 * (size - 1 - i)));
    return 1 + (size_t)size;
}

/* Major types: 0 whole, 1 negative, 3 text, 4 list, 5 map. */
static inline size_t fanion_cbor_head(char *out, unsigned major, uint64_t number) {
    unsigned first = major << 5;
    if (number < 24)
        return fanion_cbor_bytes(out, first | (unsigned)number, 0, 0);
    if (number <= 0xFF)
        return fanion_cbor_bytes(out, first | 24, number, 1);
    if (number <= 0xFFFF)
        return fanion_cbor_bytes(out, first | 25, number, 2);
    if (number <= 0xFFFFFFFF)
        return fanion_cbor_bytes(out, first | 26, number, 4);
    return fanion_cbor_bytes(out, first | 27, number, 8);
}

/* The half float of a float's bits; -1 where it would lose any. */
static inline int32_t fanion_cbor_half(uint32_t bits) {
    uint32_t sign = bits >> 16 & 0x8000, fraction = bits & 0x7FFFFF;
    int exponent = (int)(bits >> 23 & 0xFF) - 127;
    if (exponent == 128)
        return (int32_t)(sign | 0x7C00);
    if (exponent >= -14 && exponent <= 15)
        return fraction & 0x1FFF ? -1 : (int32_t)(sign | (uint32_t)(exponent + 15) << 10 | fraction >> 13);
    if (exponent < -24 || exponent > 15)
        return -1;
    int shift = -1 - exponent; /* 14 to 23: the fraction in units of 2**-24 */
    fraction |= 0x800000;
    return fraction & ((1u << shift) - 1) ? -1 : (int32_t)(sign | fraction >> shift);
}

static inline size_t fanion_cbor_number(char *out, double number) {
    if (number != number)
        return fanion_cbor_bytes(out, 0xF9, 0x7E00, 2);
    if (number == trunc(number) && number >= -9223372036854775808.0 && number < 18446744073709551616.0) {
        if (number >= 0)
            return fanion_cbor_head(out, 0, (uint64_t)number);
        return fanion_cbor_head(out, 1, (uint64_t)(-1 - (int64_t)number));
    }
    float narrow = (float)number;
    uint64_t wide;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    memcpy(&wide, &number, sizeof wide);
    if ((double)narrow != number)
        return fanion_cbor_bytes(out, 0xFB, wide, 8);
    int32_t half = fanion_cbor_half(bits);
    if (half >= 0)
        return fanion_cbor_bytes(out, 0xF9, (uint64_t)half, 2);
    return fanion_cbor_bytes(out, 0xFA, bits, 4);
}

#endif
