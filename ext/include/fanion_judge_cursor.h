/* Where a judge stands in a body and what it has found of an item; what the grammar alone says is taken here, whatever
 * the schema. See `fanion_item_judge.h`. Does not need the GIL. Reads only [at, end). */
#ifndef FANION_JUDGE_CURSOR_H
#define FANION_JUDGE_CURSOR_H

#include "fanion_judge_table.h"
#include "fanion_judge_text.h"

enum {
    FANION_JUDGE_INDEX_MAX = 0xFFFFFF, /* of a list's item, in a fault */
    FANION_JUDGE_BATCH_DEPTH = 2,      /* an item stands in a list in an object */
};

typedef enum {
    FANION_JUDGE_FINE = 0,
    FANION_JUDGE_WRONG = 1,
    FANION_JUDGE_UNSURE = 2, /* also where the grammar ends: whoever looks for the item's end sees it */
} fanion_judge_verdict;

typedef struct {
    const uint8_t *at, *end;
    const fanion_judge_schema *schema;
    const fanion_judge_bounds *bounds;
    const fanion_flat_text *fixed;
    fanion_judge_text *notes; /* of the item that is being judged */
    fanion_judge_text quote;
    uint64_t fault;
    uint64_t weight;          /* tokens that its numbers may count as, beside its bytes */
    uint32_t depth, index;    /* index: in the innermost list, where a fault in its item says it */
    bool doubt;               /* something may be beyond a bound of items */
    bool beyond;              /* or of the whole body */
} fanion_judge_cursor;

/* Whoever finds a fault goes on to the end of its value, so that the item isn't gone over again. */
static inline fanion_judge_verdict fanion_judge_fault(
    fanion_judge_cursor *c, uint32_t kind, uint32_t place, uint32_t detail
) {
    c->fault = (uint64_t)kind << 56 | (uint64_t)(place & 0xFFFF) << 40 | (uint64_t)(detail & 0xFFFF) << 24
        | (c->index & FANION_JUDGE_INDEX_MAX);
    return FANION_JUDGE_WRONG;
}

static inline bool fanion_judge_skip_blanks(fanion_judge_cursor *c) {
    c->at = fanion_json_blanks_end(c->at, c->end);
    return c->at < c->end;
}

static inline bool fanion_judge_take(fanion_judge_cursor *c, uint8_t byte) {
    if (!fanion_judge_skip_blanks(c) || *c->at != byte) return false;
    c->at++;
    return true;
}

static inline bool fanion_judge_text_at(fanion_judge_cursor *c, fanion_judge_text *text) {
    const uint8_t *const behind = fanion_judge_text_end(c->at, c->end, text);
    if (behind == NULL) return false;
    c->at = behind;
    return true;
}

/* A member's name and its colon. */
static inline bool fanion_judge_name(fanion_judge_cursor *c, fanion_judge_text *name) {
    return fanion_judge_skip_blanks(c) && *c->at == '"' && fanion_judge_text_at(c, name) && fanion_judge_take(c, ':');
}

static inline bool fanion_judge_word(fanion_judge_cursor *c, const char *word, uint32_t length) {
    if (c->end - c->at < (ptrdiff_t)length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

static inline bool fanion_judge_number_at(fanion_judge_cursor *c, fanion_judge_number *number) {
    const uint8_t *const behind = fanion_judge_number_end(c->at, c->end, c->bounds->digits_max, number);
    if (behind == NULL) return false;
    c->at = behind;
    c->weight += number->weight;
    c->doubt |= !number->sure;
    return true;
}

/* Into an object or list; false where no decoder goes on. */
static inline bool fanion_judge_deeper(fanion_judge_cursor *c) {
    if (++c->depth > FANION_JSON_DEPTH_MAX) return false;
    c->doubt |= c->depth > c->bounds->depth_max;
    c->beyond |= c->depth + FANION_JUDGE_BATCH_DEPTH > c->bounds->depth_max;
    return true;
}

/* Over one value of any kind, by the grammar; false where that ends. `read`: a decoder reads it, else it only skips it:
 * then bytes that aren't UTF-8 are no doubt. */
static inline bool fanion_judge_pass(fanion_judge_cursor *c, bool read) {
    fanion_judge_text text;
    fanion_judge_number number;
    if (!fanion_judge_skip_blanks(c)) return false;
    const uint8_t first = *c->at;
    if (first == '"') {
        if (!fanion_judge_text_at(c, &text)) return false;
        c->doubt |= read && !fanion_judge_is_text(&text);
        return true;
    }
    if (first == 't') return fanion_judge_word(c, "true", 4);
    if (first == 'f') return fanion_judge_word(c, "false", 5);
    if (first == 'n') return fanion_judge_word(c, "null", 4);
    if (first != '{' && first != '[') return fanion_judge_number_at(c, &number);
    if (!fanion_judge_deeper(c)) return false;
    const uint8_t close = first + 2;
    uint32_t count = 0;
    c->at++;
    if (!fanion_judge_take(c, close)) {
        do {
            if (first == '{') {
                if (!fanion_judge_name(c, &text)) return false;
                c->doubt |= ++count > c->bounds->keys_max || (read && !fanion_judge_is_text(&text));
            }
            if (!fanion_judge_pass(c, read)) return false;
        } while (fanion_judge_take(c, ','));
        if (!fanion_judge_take(c, close)) return false;
    }
    c->depth--;
    return true;
}

/* The rest of an object or list, `count` of its members behind the cursor, to its end; false where the grammar ends. */
static inline bool fanion_judge_rest(fanion_judge_cursor *c, uint8_t close, uint32_t count) {
    fanion_judge_text name;
    while (fanion_judge_take(c, ',')) {
        if (close == '}') {
            if (!fanion_judge_name(c, &name)) return false;
            c->doubt |= ++count > c->bounds->keys_max;
        }
        if (!fanion_judge_pass(c, false)) return false;
    }
    return fanion_judge_take(c, close);
}

/* What a fault comes to when the item's end was looked for behind it. */
static inline fanion_judge_verdict fanion_judge_wrong_if(bool passed) {
    return passed ? FANION_JUDGE_WRONG : FANION_JUDGE_UNSURE;
}

#endif
