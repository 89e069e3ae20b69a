/* Where a list of texts stands in a JSON body, and a keyed sum of its bytes. Does not need the GIL.
 *
 * A list is found at the beginning of the body or at its end, where a few bytes say which member it is:
 *
 *     {"flags":[...],MORE}         before `{`, member `"flags":`, nothing after it
 *     {MORE,"flags":[...]}         the same, ends `}`
 *
 * and is taken out: `{MORE}` is the rest. Nothing of it is read: a list that holds a bracket in a text is cut at
 * the wrong one. Whoever asks compares the list with whole lists that a decoder accepted, and hands the rest to a
 * decoder that doesn't know the member. Where both agree the body is what they say: `MORE` is one member at least,
 * no comma stands alone, and `ends` closed the rest, so it closed the body, at that depth.
 */
#ifndef FANION_LIST_PLACE_H
#define FANION_LIST_PLACE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *text;
    size_t length;
} fanion_token;

typedef struct {
    fanion_token before, member, after, ends;
} fanion_list_place;

typedef struct {
    const char *list;          /* its `[` */
    size_t length;             /* to behind its `]` */
    fanion_token rest[2];      /* the two pieces of the rest, in order */
} fanion_list_found;

static inline const char *fanion_blanks(const char *p, const char *end) {
    while (p < end && *p == ' ')
        p++;
    return p;
}

static inline const char *fanion_blanks_back(const char *begin, const char *p) {
    while (p > begin && p[-1] == ' ')
        p--;
    return p;
}

/* Behind the token, NULL where it doesn't stand here; blanks may stand between its parts, not in its names. */
static inline const char *fanion_token_at(const char *p, const char *end, fanion_token token) {
    int quoted = 0;
    for (size_t n = 0; n < token.length; n++, p++) {
        if (!quoted)
            p = fanion_blanks(p, end);
        if (p >= end || *p != token.text[n])
            return NULL;
        quoted ^= *p == '"';
    }
    return p;
}

/* The token's beginning, NULL where it doesn't end at `p`. */
static inline const char *fanion_token_before(const char *begin, const char *p, fanion_token token) {
    int quoted = 0;
    for (size_t n = token.length; n > 0; n--, p--) {
        if (!quoted)
            p = fanion_blanks_back(begin, p);
        if (p <= begin || p[-1] != token.text[n - 1])
            return NULL;
        quoted ^= p[-1] == '"';
    }
    return p;
}

static inline int fanion_list_first(
    const char *body, const char *end, const fanion_list_place *place, fanion_list_found *found) {
    const char *p = fanion_token_at(body, end, place->before);
    if (p == NULL || (p = fanion_token_at(p, end, place->member)) == NULL)
        return 0;
    p = fanion_blanks(p, end);
    if (p == end || *p != '[')
        return 0;
    found->list = p;
    p = (const char *)memchr(p, ']', (size_t)(end - p));
    if (p == NULL)
        return 0;
    found->length = (size_t)(++p - found->list);
    p = fanion_token_at(p, end, place->after);
    if (p == NULL || (p = fanion_blanks(p, end)) == end || *p != ',')
        return 0;
    p = fanion_blanks(p + 1, end);
    if (p == end || *p != '"')
        return 0;
    found->rest[0] = place->before;
    found->rest[1] = (fanion_token){p, (size_t)(end - p)};
    return 1;
}

static inline int fanion_list_last(
    const char *body, const char *end, const fanion_list_place *place, fanion_list_found *found) {
    const char *p = fanion_token_before(body, end, place->ends);
    if (p == NULL || (p = fanion_token_before(body, p, place->after)) == NULL)
        return 0;
    p = fanion_blanks_back(body, p);
    if (p == body || p[-1] != ']')
        return 0;
    found->list = (const char *)memrchr(body, '[', (size_t)(p - body));
    if (found->list == NULL)
        return 0;
    found->length = (size_t)(p - found->list);
    p = fanion_token_before(body, found->list, place->member);
    if (p == NULL)
        return 0;
    p = fanion_blanks_back(body, p);
    if (p == body || p[-1] != ',')
        return 0;
    p = fanion_blanks_back(body, p - 1);
    if (p == body || p[-1] == '{' || p[-1] == ',')
        return 0;
    found->rest[0] = (fanion_token){body, (size_t)(p - body)};
    found->rest[1] = place->ends;
    return 1;
}

/* Whether a list stands where the place says. */
static inline int fanion_list_find(
    const char *body, size_t size, const fanion_list_place *place, fanion_list_found *found) {
    return fanion_list_first(body, body + size, place, found) || fanion_list_last(body, body + size, place, found);
}

/* NH, the sum that UMAC is made of: for two texts of one length, whichever they are, it is the same by one chance in
 * 2**32 over all keys. `key` has as many bytes as the text, rounded up to 16. */
static inline uint64_t fanion_keyed_sum(const uint32_t *key, const char *text, size_t length) {
    uint64_t sum = 0;
    uint32_t m[4];
    for (; length >= 16; length -= 16, text += 16, key += 4) {
        memcpy(m, text, 16);
        sum += (uint64_t)(m[0] + key[0]) * (uint32_t)(m[1] + key[1]) +
               (uint64_t)(m[2] + key[2]) * (uint32_t)(m[3] + key[3]);
    }
    memset(m, 0, sizeof m);
    memcpy(m, text, length);
    return sum + (uint64_t)(m[0] + key[0]) * (uint32_t)(m[1] + key[1]) +
           (uint64_t)(m[2] + key[2]) * (uint32_t)(m[3] + key[3]);
}

#endif
