/* The items of a JSON batch, judged one by one in one pass over the bytes and without building anything.
 *
 *     {"NAME": [ item, ... ]}
 *
 * An item is fine: the decoder takes it, within every bound; wrong: the decoder refuses it, for a fault that is the
 * first in its order; or unsure: ask the decoder. Faults that read alike have the same number. The decoder reads
 * members in the order in which they come, a struct's tag before all others, and what is missing at the end; of a
 * member that comes twice the last is kept. A batch that isn't JSON, or of another shape, is nobody's here.
 *
 * Beside it: `fanion_judge_table.h` (what a dialect describes), `fanion_judge_text.h` (texts and numbers),
 * `fanion_judge_cursor.h`, `fanion_judge_value.h` and `fanion_judge_object.h` (the grammar and the rules).
 *
 * Does not need the GIL, but one schema serves one thread at a time: it remembers in what order members come.
 * Reads only [at, end).
 */
#ifndef FANION_ITEM_JUDGE_H
#define FANION_ITEM_JUDGE_H

#include "fanion_judge_object.h"

typedef struct {
    uint32_t first, last;  /* where it stands in the body */
    uint32_t verdict;
    uint64_t fault;        /* of a wrong one; see `fanion_judge_fault` */
    fanion_judge_text quote; /* what its words quote; at NULL: nothing */
} fanion_judge_item;

/* The caller's own texts, in their order. */
static inline fanion_judge_verdict fanion_judge_fixed(fanion_judge_cursor *c) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    for (uint32_t n = 0; n < c->schema->fixed_count; n++) {
        if (c->notes[n].at == NULL) continue;
        const fanion_flat_text plain = fanion_judge_unescaped(&c->notes[n], room);
        if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
        if (!fanion_flat_equal(plain, c->fixed[n])) return fanion_judge_fault(c, FANION_JUDGE_ELSEWHERE, 0, n);
    }
    return FANION_JUDGE_FINE;
}

/* One item, the cursor before it; false where the grammar ends. `text`: whether the whole body is UTF-8. */
static inline bool fanion_judge_one(fanion_judge_cursor *c, const uint8_t *body, bool text, fanion_judge_item *item) {
    fanion_judge_text found;
    if (!fanion_judge_skip_blanks(c)) return false;
    const uint8_t *const start = c->at;
    c->depth = c->index = 0;
    c->weight = c->fault = 0;
    c->doubt = false;
    for (uint32_t n = 0; n < c->schema->note_count; n++) c->notes[n].at = NULL;
    fanion_judge_verdict verdict = fanion_judge_value(c, c->schema->item, &found);
    if (verdict == FANION_JUDGE_FINE && !c->doubt) {
        verdict = fanion_judge_fixed(c);
    } else if (verdict != FANION_JUDGE_WRONG || c->doubt) {
        /* Its end, and what stands beyond a bound. What was read before a fault may be no text, which the decoder says. */
        if (verdict == FANION_JUDGE_FINE || c->doubt) verdict = FANION_JUDGE_UNSURE;
        c->at = start;
        c->depth = 0;
        c->weight = 0;
        c->doubt = false;
        if (!fanion_judge_pass(c, false)) return false;
    }
    c->beyond |= c->doubt;
    if (c->doubt || (uint64_t)(c->at - start) + c->weight > c->bounds->tokens_max) verdict = FANION_JUDGE_UNSURE;
    if (!text && c->schema->text_first && !fanion_judge_is_utf8(start, c->at)) {
        c->index = 0;
        verdict = fanion_judge_fault(c, FANION_JUDGE_NOT_TEXT, 0, 0);
    }
    item->first = (uint32_t)(start - body);
    item->last = (uint32_t)(c->at - body);
    item->verdict = verdict;
    item->fault = c->fault;
    item->quote = c->quote;
    return true;
}

/* How many items a batch has, -1 where it is another's: `items` has room for `count_max`, `notes` for those of each.
 * `tokens`: as many as the body may have at most, its numbers counted once. `alone`: whether nothing stands beside the
 * list; `within`: whether the whole body surely keeps every bound. The body is at most 4 GiB. */
static inline int64_t fanion_judge_batch(
    const fanion_judge_schema *schema, const fanion_judge_bounds *bounds, const uint8_t *body, uint64_t length,
    uint64_t tokens, bool text, const fanion_flat_text *fixed, fanion_judge_item *items, fanion_judge_text *notes,
    bool *alone, bool *within
) {
    fanion_judge_cursor cursor = {.at = body, .end = body + length, .schema = schema, .bounds = bounds, .fixed = fixed};
    fanion_judge_cursor *const c = &cursor;
    fanion_judge_text name;
    int64_t count = -1;
    uint64_t weight = tokens;
    uint32_t members = 0;
    *alone = true;
    c->notes = notes;
    if (!fanion_judge_take(c, '{')) return -1;
    do {
        if (!fanion_judge_name(c, &name) || name.escaped) return -1;
        c->beyond |= ++members > bounds->keys_max;
        const fanion_flat_text plain = {(const char *)name.at, name.length};
        if (!fanion_flat_equal(plain, schema->list_name)) {
            *alone = false;
            c->depth = 0;
            c->weight = 0;
            c->doubt = false;
            if (!schema->open || !fanion_judge_pass(c, false)) return -1;
            c->beyond |= c->doubt;
            weight += c->weight;
            continue;
        }
        if (count >= 0 || !fanion_judge_take(c, '[')) return -1;
        count = 0;
        do {
            if ((uint64_t)count == schema->count_max) return -1;
            if (!fanion_judge_one(c, body, text, &items[count++])) return -1;
            if (schema->whole && items[count - 1].verdict != FANION_JUDGE_FINE) return -1;
            weight += c->weight;
            c->notes += schema->note_count;
        } while (fanion_judge_take(c, ','));
        if (!fanion_judge_take(c, ']')) return -1;
    } while (fanion_judge_take(c, ','));
    if (!fanion_judge_take(c, '}') || fanion_judge_skip_blanks(c)) return -1;
    *within = count >= 0 && !c->beyond && weight <= bounds->batch_tokens_max;
    return count;
}

#endif
