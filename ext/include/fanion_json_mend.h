/* Escapes that are half a surrogate pair, as JSON.stringify writes text that was cut inside an emoji: mended in place,
 * since decoders refuse the whole text for one. Does not need the GIL. */
#ifndef FANION_JSON_MEND_H
#define FANION_JSON_MEND_H

#include "fanion_json_text.h"

typedef enum {
    FANION_JSON_NO_SURROGATE = 0,
    FANION_JSON_HIGH = 1,
    FANION_JSON_LOW = 2,
} fanion_json_surrogate;

enum {
    FANION_JSON_ESCAPE_BYTES = 6,
    FANION_JSON_HALVES_MAX = 10000,
};

/* What the escape at `at` is of a surrogate pair; `at` may be any place up to `end`. */
static inline fanion_json_surrogate fanion_json_surrogate_at(const uint8_t *at, const uint8_t *end) {
    if (end - at < FANION_JSON_ESCAPE_BYTES || at[0] != '\\' || at[1] != 'u' || (at[2] | 32) != 'd') {
        return FANION_JSON_NO_SURROGATE;
    }
    for (int n = 4; n < FANION_JSON_ESCAPE_BYTES; n++) {
        const uint8_t letter = at[n] | 32;
        if (!((at[n] >= '0' && at[n] <= '9') || (letter >= 'a' && letter <= 'f'))) return FANION_JSON_NO_SURROGATE;
    }
    const uint8_t half = at[3] | 32;
    if (at[3] == '8' || at[3] == '9' || half == 'a' || half == 'b') return FANION_JSON_HIGH;
    return half >= 'c' && half <= 'f' ? FANION_JSON_LOW : FANION_JSON_NO_SURROGATE;
}

/* How many escapes were half a pair, as JSON.stringify writes text that was cut inside a pair; 0 where there were
 * more than FANION_JSON_HALVES_MAX, which no text is that was only cut: such a text is nobody's to read twice. */
static inline uint64_t fanion_json_mend(uint8_t *text, uint64_t length) {
    uint8_t *at = text, *const end = text + length;
    uint64_t count = 0;
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL && end - at >= 2) {
        const fanion_json_surrogate kind = fanion_json_surrogate_at(at, end);
        if (kind == FANION_JSON_NO_SURROGATE) {
            at += 2; /* what stands behind a backslash begins no escape */
        } else if (kind == FANION_JSON_HIGH
                   && fanion_json_surrogate_at(at + FANION_JSON_ESCAPE_BYTES, end) == FANION_JSON_LOW) {
            at += 2 * FANION_JSON_ESCAPE_BYTES;
        } else {
            memcpy(at, "\\ufffd", FANION_JSON_ESCAPE_BYTES);
            at += FANION_JSON_ESCAPE_BYTES;
            if (++count > FANION_JSON_HALVES_MAX) return 0;
        }
    }
    return count;
}

#endif
