/* A JSON text that says the same in fewer bytes, for large bodies that are mostly blanks or escapes.
 *
 * Decoders take 3 ns for a blank and 9 for an escape, several times over where a body is read twice, and build nothing
 * of them; so they are paid once, here. What is done: of a run of blanks outside strings the first stays; an escape
 * `\uXXXX` (or a pair of them) becomes its character in UTF-8, but for control characters, the quote, the backslash
 * and halves of pairs, which stay as they are. Everything else is copied, wrong or right: what was no JSON stays none,
 * and what isn't UTF-8 stays so, as no byte that is written can complete another one.
 *
 * Done again it changes nothing. Does not need the GIL. Reads only [text, text + length).
 */
#ifndef FANION_JSON_CONDENSE_H
#define FANION_JSON_CONDENSE_H

#include "fanion_json_mend.h"

/* Bytes that condensing saves at least, about: 3 for each `\u`, one for each blank behind another one. Strings count
 * too: a hint, not more. A tenth of a nanosecond a byte. */
static inline uint64_t fanion_json_waste(const uint8_t *text, uint64_t length) {
    enum { BLOCK = 64 };
    uint64_t waste = 0;
    for (uint64_t start = 1; start < length; start += BLOCK) {
        const uint64_t end = length - start < BLOCK ? length : start + BLOCK;
        uint8_t found = 0; /* at most 3 * BLOCK */
        for (uint64_t at = start; at < end; at++) {
            const uint8_t before = text[at - 1], byte = text[at];
            const uint8_t escape = (uint8_t)(before == '\\') & (uint8_t)(byte == 'u');
            found = (uint8_t)(found + 3 * escape + ((uint8_t)(before <= ' ') & (uint8_t)(byte <= ' ')));
        }
        waste += found;
    }
    return waste;
}

/* The four hexadecimal digits at `at`, or a negative number. */
static inline int32_t fanion_json_hexadecimal(const uint8_t *at) {
    int32_t value = 0;
    for (int n = 0; n < 4; n++) {
        const uint8_t digit = (uint8_t)(at[n] - '0'), letter = (uint8_t)((at[n] | 32) - 'a');
        if (digit > 9 && letter > 5) return -1;
        value = value << 4 | (digit <= 9 ? digit : letter + 10);
    }
    return value;
}

static inline uint8_t *fanion_json_put_character(uint8_t *to, uint32_t point) {
    if (point < 0x80) {
        *to++ = (uint8_t)point;
        return to;
    }
    if (point < 0x800) {
        *to++ = (uint8_t)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *to++ = (uint8_t)(0xE0 | point >> 12);
        } else {
            *to++ = (uint8_t)(0xF0 | point >> 18);
            *to++ = (uint8_t)(0x80 | (point >> 12 & 63));
        }
        *to++ = (uint8_t)(0x80 | (point >> 6 & 63));
    }
    *to++ = (uint8_t)(0x80 | (point & 63));
    return to;
}

/* The character of the escape at `at` (its backslash) and in `*length` the bytes that it takes; negative where it has
 * to stay, and `*length` then what stays with it. */
static inline int32_t fanion_json_escaped(const uint8_t *at, const uint8_t *end, ptrdiff_t *length) {
    *length = end - at < 2 ? end - at : 2;
    if (end - at < FANION_JSON_ESCAPE_BYTES || at[1] != 'u') return -1;
    const int32_t point = fanion_json_hexadecimal(at + 2);
    if (point < 0) return -1;
    *length = FANION_JSON_ESCAPE_BYTES;
    if (point < ' ' || point == '"' || point == '\\') return -1;
    if (point < 0xD800 || point > 0xDFFF) return point;
    if (point > 0xDBFF || end - at < 2 * FANION_JSON_ESCAPE_BYTES) return -1;
    if (at[FANION_JSON_ESCAPE_BYTES] != '\\' || at[FANION_JSON_ESCAPE_BYTES + 1] != 'u') return -1;
    const int32_t low = fanion_json_hexadecimal(at + FANION_JSON_ESCAPE_BYTES + 2);
    if (low < 0xDC00 || low > 0xDFFF) return -1;
    *length = 2 * FANION_JSON_ESCAPE_BYTES;
    return 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
}

/* Condenses the text where it stands; returns its new length, at most the old one. 0 for a text with more halves of
 * pairs than FANION_JSON_HALVES_MAX, which nobody sends; what then stands there is no text. */
static inline uint64_t fanion_json_condense(uint8_t *text, uint64_t length) {
    const uint8_t *at = text, *const end = text + length;
    uint8_t *to = text;
    uint64_t halves = 0;
    int inside = 0; /* a string */
    while (at < end) {
        if (inside) {
            if (*at != '\\') {
                const uint8_t *const stop = fanion_json_plain_end(at, end);
                memmove(to, at, (size_t)(stop - at));
                to += stop - at;
                if ((at = stop) == end) break;
            }
            if (*at == '"') {
                *to++ = *at++;
                inside = 0;
                continue;
            }
            ptrdiff_t taken;
            const int32_t point = fanion_json_escaped(at, end, &taken);
            if (point < 0) {
                halves += taken == FANION_JSON_ESCAPE_BYTES && (at[2] | 32) == 'd';
                if (halves > FANION_JSON_HALVES_MAX) return 0;
                for (ptrdiff_t n = 0; n < taken; n++) *to++ = at[n];
            } else {
                to = fanion_json_put_character(to, (uint32_t)point);
            }
            at += taken;
        } else {
            const uint8_t byte = *to++ = *at++;
            if (byte == '"') {
                inside = 1;
            } else if (fanion_json_is_space(byte)) {
                const uint64_t blanks = UINT64_C(0x0101010101010101) * ' ';
                while (end - at >= (ptrdiff_t)sizeof blanks && fanion_json_word(at) == blanks) at += sizeof blanks;
                while (at < end && fanion_json_is_space(*at)) at++;
            }
        }
    }
    return (uint64_t)(to - text);
}

#endif
