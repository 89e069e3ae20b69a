/* An object of an item against its struct, which its tag may name: members in their order, and what is missing at the
 * end. See `fanion_item_judge.h`. Does not need the GIL. Reads only [at, end). */
#ifndef FANION_JUDGE_OBJECT_H
#define FANION_JUDGE_OBJECT_H

#include "fanion_judge_value.h"

/* The number of the field of this name; `field_count` for none. */
static inline uint32_t fanion_judge_find(fanion_judge_struct *of, fanion_flat_text name, uint32_t *last) {
    uint32_t n = of->after[*last];
    if (n >= of->field_count || !fanion_flat_equal(of->fields[n].name, name)) {
        for (n = 0; n < of->field_count; n++)
            if (fanion_flat_equal(of->fields[n].name, name)) break;
        if (n == of->field_count) return n;
        of->after[*last] = (uint8_t)n;
    }
    *last = n;
    return n;
}

/* The field that mostly stands behind the last one, where its name stands here, the cursor behind the colon; `field_count`
 * where another may stand. Of plain names alone, which read as they are written. */
static inline uint32_t fanion_judge_usual(fanion_judge_cursor *c, const fanion_judge_struct *of, uint32_t *last) {
    enum { QUOTES_AND_COLON = 3 };
    const uint32_t n = of->after[*last];
    if (n >= of->field_count || !fanion_judge_skip_blanks(c)) return of->field_count;
    const fanion_flat_text name = of->fields[n].name;
    const uint8_t *const at = c->at;
    if ((uint64_t)(c->end - at) < (uint64_t)name.length + QUOTES_AND_COLON) return of->field_count;
    if (*at != '"' || at[name.length + 1] != '"' || at[name.length + 2] != ':') return of->field_count;
    if (!fanion_flat_same(at + 1, name.text, name.length)) return of->field_count;
    c->at = at + name.length + QUOTES_AND_COLON;
    return *last = n;
}

/* The tag's value behind its colon, one of any kind behind the cursor. `among`: the struct that has it, or NULL. */
static inline fanion_judge_verdict fanion_judge_tag(
    fanion_judge_cursor *c, const fanion_judge_shape *shape, fanion_judge_struct **among
) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    fanion_judge_text text;
    *among = NULL;
    if (!fanion_judge_skip_blanks(c)) return FANION_JUDGE_UNSURE;
    if (*c->at != '"') {
        fanion_judge_fault(c, FANION_JUDGE_TAG_TYPE, shape->number, 0);
        return fanion_judge_wrong_if(fanion_judge_pass(c, false));
    }
    if (!fanion_judge_text_at(c, &text)) return FANION_JUDGE_UNSURE;
    const fanion_flat_text plain = fanion_judge_unescaped(&text, room);
    if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
    for (uint32_t n = 0; n < shape->struct_count; n++)
        if (fanion_flat_equal(shape->structs[n]->tag, plain)) *among = shape->structs[n];
    c->quote = text;
    return FANION_JUDGE_FINE;
}

/* The struct that an object's tag names, wherever it stands; `behind`: whether that is first, and the cursor behind it.
 * Where it is wrong, the whole object is. */
static inline fanion_judge_verdict fanion_judge_tagged(
    fanion_judge_cursor *c, const fanion_judge_shape *shape, fanion_judge_struct **found, bool *behind
) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    const uint8_t *const start = c->at;
    uint32_t count = 0;
    fanion_judge_text name;
    *behind = true;
    if (fanion_judge_take(c, '}')) return fanion_judge_fault(c, FANION_JUDGE_NO_TAG, shape->number, 0);
    do {
        if (!fanion_judge_name(c, &name)) return FANION_JUDGE_UNSURE;
        c->doubt |= ++count > c->bounds->keys_max;
        const fanion_flat_text plain = fanion_judge_unescaped(&name, room);
        if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
        if (fanion_flat_equal(plain, shape->tag_name)) {
            fanion_judge_verdict verdict = fanion_judge_tag(c, shape, found);
            if (verdict == FANION_JUDGE_FINE && *found == NULL)
                verdict = fanion_judge_fault(c, FANION_JUDGE_WRONG_TAG, shape->number, 0);
            if (verdict == FANION_JUDGE_WRONG) return fanion_judge_wrong_if(fanion_judge_rest(c, '}', count));
            if (!*behind) c->at = start;
            return verdict;
        }
        *behind = false;
        if (!fanion_judge_pass(c, false)) return FANION_JUDGE_UNSURE;
    } while (fanion_judge_take(c, ','));
    fanion_judge_fault(c, FANION_JUDGE_NO_TAG, shape->number, 0);
    return fanion_judge_wrong_if(fanion_judge_take(c, '}'));
}

/* What is looked at when all members were read. */
static inline fanion_judge_verdict fanion_judge_end(
    fanion_judge_cursor *c, const fanion_judge_struct *of, uint32_t seen, uint32_t given, const fanion_judge_text *kept
) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    const uint32_t missing = of->required & ~seen;
    if (missing)
        return fanion_judge_fault(c, FANION_JUDGE_MISSING, of->number, (uint32_t)__builtin_ctz(missing));
    if (of->exactly_one && __builtin_popcount(given & of->exactly_one) != 1)
        return fanion_judge_fault(c, FANION_JUDGE_NOT_ONE, of->number, 0);
    for (uint32_t n = 0; n < of->moment_count; n++) {
        const fanion_judge_text *const text = &kept[n];
        if (text->at == NULL) continue;
        const fanion_flat_text plain = fanion_judge_unescaped(text, room);
        if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
        fanion_judge_answer answer = fanion_judge_is_time(plain);
        if (answer == FANION_JUDGE_MAY_BE && of->fields[of->moments[n]].type->pattern == FANION_JUDGE_MOMENT
            && !fanion_flat_is_minute(plain.text))
            answer = FANION_JUDGE_IS_NOT; /* of the right form, so it is the day that there isn't */
        if (answer == FANION_JUDGE_MAY_BE) return FANION_JUDGE_UNSURE;
        c->quote = *text;
        if (answer == FANION_JUDGE_IS_NOT) return fanion_judge_fault(c, FANION_JUDGE_NO_MOMENT, of->number, n);
    }
    return FANION_JUDGE_FINE;
}

/* An object after its brace. */
static inline fanion_judge_verdict fanion_judge_object(fanion_judge_cursor *c, fanion_judge_shape *shape) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    fanion_judge_text name, text, kept[FANION_JUDGE_MOMENTS_MAX] = {{0}};
    fanion_judge_struct *of = shape->structs[0], *tagged;
    uint32_t seen = 0, given = 0, last = FANION_JUDGE_FIELDS_MAX, count = 0;
    bool behind = false;
    fanion_judge_verdict verdict;
    if (shape->tag_name.length) {
        verdict = fanion_judge_tagged(c, shape, &of, &behind);
        if (verdict != FANION_JUDGE_FINE) return verdict;
        count = behind;
    }
    if (behind ? !fanion_judge_take(c, ',') : fanion_judge_take(c, '}')) {
        if (behind && !fanion_judge_take(c, '}')) return FANION_JUDGE_UNSURE;
        return fanion_judge_end(c, of, seen, given, kept);
    }
    do {
        fanion_flat_text plain = {NULL, 0};
        uint32_t n = fanion_judge_usual(c, of, &last);
        c->doubt |= ++count > c->bounds->keys_max;
        if (n == of->field_count) {
            if (!fanion_judge_name(c, &name)) return FANION_JUDGE_UNSURE;
            plain = fanion_judge_unescaped(&name, room);
            if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
            n = fanion_judge_find(of, plain, &last);
        }
        if (n < of->field_count) {
            const fanion_judge_field *const field = &of->fields[n];
            c->doubt |= (seen >> n & 1) && field->type->shape != NULL; /* what it noted first isn't what is kept */
            verdict = fanion_judge_value(c, field->type, &text);
            if (verdict == FANION_JUDGE_WRONG) return fanion_judge_wrong_if(fanion_judge_rest(c, '}', count));
            if (verdict != FANION_JUDGE_FINE) return verdict;
            seen |= 1u << n;
            given |= 1u << n;
            if (c->at[-1] == 'l' && (text.at == NULL || text.raw)) given &= ~(1u << n); /* null is the one value that ends so */
            if (field->kept >= 0) kept[field->kept] = text;
            if (field->note >= 0) c->notes[field->note] = text;
        } else if (shape->tag_name.length && fanion_flat_equal(plain, shape->tag_name)) {
            verdict = fanion_judge_tag(c, shape, &tagged);
            if (verdict == FANION_JUDGE_FINE && tagged != of)
                verdict = fanion_judge_fault(c, FANION_JUDGE_WRONG_TAG, shape->number, 0);
            if (verdict == FANION_JUDGE_WRONG) return fanion_judge_wrong_if(fanion_judge_rest(c, '}', count));
            if (verdict != FANION_JUDGE_FINE) return verdict;
        } else if (of->closed) {
            c->quote = name;
            fanion_judge_fault(c, FANION_JUDGE_UNKNOWN, of->number, 0);
            return fanion_judge_wrong_if(fanion_judge_pass(c, false) && fanion_judge_rest(c, '}', count));
        } else {
            c->doubt |= !fanion_judge_is_text(&name);
            if (!fanion_judge_pass(c, true)) return FANION_JUDGE_UNSURE;
        }
    } while (fanion_judge_take(c, ','));
    return fanion_judge_take(c, '}') ? fanion_judge_end(c, of, seen, given, kept) : FANION_JUDGE_UNSURE;
}

#endif
