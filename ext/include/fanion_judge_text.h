/* Texts and numbers of a JSON value as `fanion_item_judge.h` needs them: where they end by the grammar that decoders
 * skip values by, and what is known of them without building anything.
 *
 * Does not need the GIL. Reads only [at, end).
 */
#ifndef FANION_JUDGE_TEXT_H
#define FANION_JUDGE_TEXT_H

#include "fanion_flat_text.h"
#include "fanion_json_condense.h"
#include "fanion_json_scan.h"
#include "fanion_json_valid.h"

enum {
    FANION_JUDGE_UNESCAPED_MAX = 512, /* bytes of a text with escapes that is compared with others */
    FANION_JUDGE_FINITE_DIGITS = 308, /* before the point, the exponent counted: below every double's end */
    FANION_JUDGE_DIGEST_CHARACTERS = 64,
    FANION_JUDGE_MOMENT_SECONDS = 19, /* YYYY-MM-DDThh:mm:ss */
    FANION_JUDGE_FRACTION_MAX = 9,
};

typedef struct {
    const uint8_t *at; /* NULL: there is none */
    uint32_t length;
    bool escaped, ascii;
    bool number, raw;  /* it is one, or a value of any kind, as it stands in the body */
} fanion_judge_text;

typedef struct {
    const uint8_t *at;
    uint32_t length;
    bool whole; /* without fraction and exponent */
    bool sure;  /* short enough, and within a double */
    uint32_t weight; /* tokens that it may count as beside one: by its exponent, or as it is long */
} fanion_judge_number;

static inline bool fanion_judge_is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/* What `fanion_judge_text_end` does from where a text isn't plain any more; apart, as most are to their end. */
__attribute__((noinline)) static const uint8_t *fanion_judge_text_rest(
    const uint8_t *p, const uint8_t *end, fanion_judge_text *text
) {
    while (p < end && *p != '"') {
        if (*p >= 0x80) {
            text->ascii = false;
            while (p < end && *p >= 0x80) p++;
        } else if (*p == '\\') {
            /* One escape, or a pair of halves, seen by the rules of the whole grammar. */
            text->escaped = true;
            if (end - p < 2) return NULL;
            if (p[1] != 'u') {
                if (p[1] == 0 || memchr("\"\\/bfnrt", p[1], 8) == NULL) return NULL;
                p += 2;
            } else {
                const fanion_json_surrogate half = fanion_json_surrogate_at(p, end);
                if (half == FANION_JSON_LOW || end - p < FANION_JSON_ESCAPE_BYTES) return NULL;
                for (int n = 2; n < FANION_JSON_ESCAPE_BYTES; n++) {
                    const uint8_t letter = p[n] | 32;
                    if (!fanion_judge_is_digit(p[n]) && !(letter >= 'a' && letter <= 'f')) return NULL;
                }
                p += FANION_JSON_ESCAPE_BYTES;
                if (half == FANION_JSON_HIGH) {
                    if (fanion_json_surrogate_at(p, end) != FANION_JSON_LOW) return NULL;
                    p += FANION_JSON_ESCAPE_BYTES;
                }
            }
        } else {
            return NULL; /* a control character */
        }
        p = fanion_flat_plain_end(p, end);
    }
    if (p >= end) return NULL;
    text->length = (uint32_t)(p - text->at);
    return p + 1;
}

/* Behind the text that begins at `at` (its quote); NULL where no decoder goes on. Whether it is UTF-8 isn't looked at. */
static inline const uint8_t *fanion_judge_text_end(const uint8_t *at, const uint8_t *end, fanion_judge_text *text) {
    const uint8_t *const p = fanion_flat_plain_end(at + 1, end);
    text->at = at + 1;
    text->escaped = false;
    text->ascii = true;
    text->number = text->raw = false;
    if (p >= end || *p != '"') return fanion_judge_text_rest(p, end, text);
    text->length = (uint32_t)(p - text->at);
    return p + 1;
}

/* Whether the bytes are UTF-8 as Python reads it. */
static inline bool fanion_judge_is_utf8(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        const uint8_t lead = *at;
        if (lead < 0x80) {
            at++;
            continue;
        }
        const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || end - at <= more) return false;
        if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F)) return false;
        if ((lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F)) return false;
        for (int n = 1; n <= more; n++)
            if ((at[n] & 0xC0) != 0x80) return false;
        at += more + 1;
    }
    return true;
}

static inline bool fanion_judge_is_text(const fanion_judge_text *text) {
    return text->ascii || fanion_judge_is_utf8(text->at, text->at + text->length);
}

/* Of an escape `\uXXXX` that was looked at. */
static inline uint32_t fanion_judge_code_point(const uint8_t *escape) {
    return (uint32_t)fanion_json_hexadecimal(escape + 2);
}

static inline bool fanion_judge_is_half(uint32_t point) { return point >= 0xD800 && point <= 0xDBFF; }

/* Characters of a text that is UTF-8: a pair of halves is one. */
static inline uint32_t fanion_judge_characters(const fanion_judge_text *text) {
    if (text->ascii && !text->escaped) return text->length;
    const uint8_t *p = text->at, *const end = p + text->length;
    uint32_t count = 0;
    while (p < end) {
        count += (*p & 0xC0) != 0x80;
        if (*p != '\\') {
            p++;
        } else if (p[1] != 'u') {
            p += 2;
        } else {
            p += fanion_judge_is_half(fanion_judge_code_point(p)) ? 2 * FANION_JSON_ESCAPE_BYTES : FANION_JSON_ESCAPE_BYTES;
        }
    }
    return count;
}

/* The text without its escapes: itself, or in `room`; length UINT32_MAX where it is too long for that. */
static inline fanion_flat_text fanion_judge_unescaped(
    const fanion_judge_text *text, uint8_t room[FANION_JUDGE_UNESCAPED_MAX]
) {
    fanion_flat_text made = {(const char *)text->at, text->length};
    if (!text->escaped) return made;
    made.length = UINT32_MAX;
    if (text->length > FANION_JUDGE_UNESCAPED_MAX) return made; /* an escape is never shorter than what it means */
    uint8_t *to = room;
    const uint8_t *p = text->at, *const end = p + text->length;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
        } else if (p[1] != 'u') {
            static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
            const char *letter = strchr(letters, p[1]);
            *to++ = letter == NULL ? p[1] : (uint8_t)meant[letter - letters];
            p += 2;
        } else {
            uint32_t point = fanion_judge_code_point(p);
            p += FANION_JSON_ESCAPE_BYTES;
            if (fanion_judge_is_half(point)) {
                point = 0x10000 + ((point - 0xD800) << 10) + (fanion_judge_code_point(p) - 0xDC00);
                p += FANION_JSON_ESCAPE_BYTES;
            }
            to = fanion_json_put_character(to, point);
        }
    }
    made.text = (const char *)room;
    made.length = (uint32_t)(to - room);
    return made;
}

/* Behind the number at `at`, by the grammar; NULL where it is none. */
static inline const uint8_t *fanion_judge_number_end(
    const uint8_t *at, const uint8_t *end, uint32_t digits_max, fanion_judge_number *number
) {
    const uint8_t *digits;
    uint32_t before, exponent = 0;
    number->at = at;
    number->whole = true;
    number->weight = 0;
    at += at < end && *at == '-';
    at = fanion_json_digits_end(digits = at, end);
    before = (uint32_t)(at - digits);
    if (at == digits || (*digits == '0' && before > 1)) return NULL;
    if (at < end && *at == '.') {
        at = fanion_json_digits_end(digits = at + 1, end);
        if (at == digits) return NULL;
        number->whole = false;
    }
    if (at < end && (*at | 32) == 'e') {
        at++;
        const bool up = !(at < end && *at == '-');
        at += at < end && (*at == '+' || *at == '-');
        at = fanion_json_digits_end(digits = at, end);
        if (at == digits) return NULL;
        for (; digits < at && exponent < FANION_JUDGE_FINITE_DIGITS; digits++)
            exponent = exponent * 10 + (uint32_t)(*digits - '0');
        number->whole = false;
        number->weight = FANION_JSON_HUGE_TOKENS;
        if (!up) exponent = 0;
    }
    number->length = (uint32_t)(at - number->at);
    if (number->length > FANION_JSON_DIGITS_USUAL) number->weight += number->length / FANION_JSON_TOKEN_DIGITS;
    const uint32_t most = digits_max < FANION_JSON_VALID_DIGITS_MAX ? digits_max : FANION_JSON_VALID_DIGITS_MAX;
    number->sure = number->length <= most && before + exponent <= FANION_JUDGE_FINITE_DIGITS;
    return at;
}

/* What is known of a text as a moment. */
typedef enum { FANION_JUDGE_IS, FANION_JUDGE_IS_NOT, FANION_JUDGE_MAY_BE } fanion_judge_answer;

/* Whether Python reads it as an ISO 8601 time. Which forms those are depends on its version, but for the usual ones,
 * for what is too short and for what doesn't begin with a year. */
static inline fanion_judge_answer fanion_judge_is_time(fanion_flat_text text) {
    enum { SHORTEST = 7, YEAR = 4 };
    if (text.length < SHORTEST || fanion_flat_digits(text.text, YEAR) < 0) return FANION_JUDGE_IS_NOT;
    const char *minute = NULL;
    if (fanion_flat_is_time(&minute, text)) return FANION_JUDGE_IS;
    return FANION_JUDGE_MAY_BE;
}

/* Whether it is a moment of RFC 3339 in its form, with up to nine digits behind the seconds; its day may be none. */
static inline bool fanion_judge_is_moment(fanion_flat_text text) {
    static const char form[] = "9999-99-99T99:99:99";
    const char *p = text.text, *const end = p + text.length;
    if (text.length <= FANION_JUDGE_MOMENT_SECONDS) return false;
    for (int n = 0; n < FANION_JUDGE_MOMENT_SECONDS; n++)
        if (form[n] == '9' ? !fanion_judge_is_digit((uint8_t)p[n]) : p[n] != form[n]) return false;
    if (fanion_flat_digits(p + 11, 2) > 23 || p[14] > '5' || p[17] > '5') return false;
    p += FANION_JUDGE_MOMENT_SECONDS;
    if (*p == '.') {
        const char *const first = ++p;
        while (p < end && fanion_judge_is_digit((uint8_t)*p)) p++;
        if (p == first || p - first > FANION_JUDGE_FRACTION_MAX) return false;
    }
    if (end - p == 1) return *p == 'Z';
    if (end - p != 6 || (*p != '+' && *p != '-') || p[3] != ':') return false;
    const int hour = fanion_flat_digits(p + 1, 2), minute = fanion_flat_digits(p + 4, 2);
    return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59;
}

static inline bool fanion_judge_is_digest(fanion_flat_text text) {
    if (text.length != FANION_JUDGE_DIGEST_CHARACTERS) return false;
    for (uint32_t n = 0; n < text.length; n++) {
        const char byte = text.text[n];
        if (!fanion_judge_is_digit((uint8_t)byte) && !(byte >= 'a' && byte <= 'f')) return false;
    }
    return true;
}

#endif
