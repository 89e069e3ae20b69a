/* One value of an item against its type: texts, numbers, lists, maps. See `fanion_item_judge.h`; structs are
 * `fanion_judge_object.h`'s. Does not need the GIL. Reads only [at, end). */
#ifndef FANION_JUDGE_VALUE_H
#define FANION_JUDGE_VALUE_H

#include "fanion_judge_cursor.h"

/* In `fanion_judge_object.h`, where a value is asked for again. */
static inline fanion_judge_verdict fanion_judge_object(fanion_judge_cursor *c, fanion_judge_shape *shape);

static inline fanion_judge_verdict fanion_judge_value(
    fanion_judge_cursor *c, const fanion_judge_type *type, fanion_judge_text *found
);

static inline fanion_judge_verdict fanion_judge_wrong_type(
    fanion_judge_cursor *c, const fanion_judge_type *type, uint32_t kind
) {
    return type->unsure & kind ? FANION_JUDGE_UNSURE : fanion_judge_fault(c, FANION_JUDGE_WRONG_TYPE, type->number, kind);
}

static inline fanion_judge_verdict fanion_judge_text_value(
    fanion_judge_cursor *c, const fanion_judge_type *type, fanion_judge_text *text
) {
    uint8_t room[FANION_JUDGE_UNESCAPED_MAX];
    if (!fanion_judge_text_at(c, text)) return FANION_JUDGE_UNSURE;
    if (type->unsure & FANION_JUDGE_TEXT) return FANION_JUDGE_UNSURE;
    if (type->kinds & FANION_JUDGE_TEXT) {
        if (!fanion_judge_is_text(text)) return fanion_judge_fault(c, FANION_JUDGE_NOT_TEXT, 0, 0);
        if (type->length_min || type->length_max < text->length) {
            const uint32_t characters = fanion_judge_characters(text);
            if (characters < type->length_min) return fanion_judge_fault(c, FANION_JUDGE_TOO_SHORT, type->number, 0);
            if (characters > type->length_max) return fanion_judge_fault(c, FANION_JUDGE_TOO_LONG, type->number, 0);
        }
        if (type->pattern == FANION_JUDGE_NO_PATTERN) return FANION_JUDGE_FINE;
        const fanion_flat_text plain = fanion_judge_unescaped(text, room);
        if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
        if (type->pattern == FANION_JUDGE_MOMENT ? fanion_judge_is_moment(plain) : fanion_judge_is_digest(plain))
            return FANION_JUDGE_FINE;
        return fanion_judge_fault(c, FANION_JUDGE_NO_MATCH, type->number, 0);
    }
    if (!(type->kinds & FANION_JUDGE_CHOICE)) return fanion_judge_wrong_type(c, type, FANION_JUDGE_TEXT);
    const fanion_flat_text plain = fanion_judge_unescaped(text, room);
    if (plain.length == UINT32_MAX) return FANION_JUDGE_UNSURE;
    for (uint32_t n = 0; n < type->choice_count; n++)
        if (fanion_flat_equal(type->choices[n], plain)) return FANION_JUDGE_FINE;
    c->quote = *text;
    return fanion_judge_fault(c, FANION_JUDGE_WRONG_CHOICE, type->number, 0);
}

/* An integer of any length against the ends of 64 bits: -1 below, 1 above, 0 within. */
static inline int fanion_judge_beyond_64(const fanion_judge_number *number) {
    static const char last[] = "9223372036854775807", first[] = "9223372036854775808";
    enum { DIGITS = 19 };
    const bool minus = *number->at == '-';
    const uint32_t digits = number->length - minus;
    if (digits < DIGITS) return 0;
    if (digits > DIGITS || memcmp(number->at + minus, minus ? first : last, DIGITS) > 0) return minus ? -1 : 1;
    return 0;
}

/* Behind a short integer from 1 on, where something stands that surely ends it; NULL for all else. */
static inline const uint8_t *fanion_judge_short_end(const uint8_t *at, const uint8_t *end, uint32_t digits_max) {
    enum { DIGITS = 15 };
    const uint8_t *p = at;
    if (end - at > DIGITS) end = at + DIGITS;
    if (*p == '0') return NULL;
    while (p < end && fanion_judge_is_digit(*p)) p++;
    if (p == at || p == end || (uint32_t)(p - at) > digits_max) return NULL;
    return *p == ',' || *p == ']' || *p == '}' ? p : NULL;
}

static inline fanion_judge_verdict fanion_judge_number_value(
    fanion_judge_cursor *c, const fanion_judge_type *type, fanion_judge_text *found
) {
    fanion_judge_number number;
    if (!((type->kinds | type->unsure) & (FANION_JUDGE_INTEGER | FANION_JUDGE_FLOAT))) {
        const uint8_t *const behind = fanion_judge_short_end(c->at, c->end, c->bounds->digits_max);
        if (behind != NULL) {
            c->at = behind;
            return fanion_judge_fault(c, FANION_JUDGE_WRONG_TYPE, type->number, FANION_JUDGE_INTEGER);
        }
    }
    if (!fanion_judge_number_at(c, &number) || !number.sure) return FANION_JUDGE_UNSURE;
    *found = (fanion_judge_text){.at = number.at, .length = number.length, .ascii = true, .number = true};
    const uint32_t kind = number.whole ? FANION_JUDGE_INTEGER : FANION_JUDGE_FLOAT;
    if (number.whole && type->kinds & FANION_JUDGE_INTEGER) {
        if (type->unsure & FANION_JUDGE_INTEGER) return FANION_JUDGE_UNSURE;
        const int beyond = type->bounds & FANION_JUDGE_INT64 ? fanion_judge_beyond_64(&number) : 0;
        if (beyond < 0) return fanion_judge_fault(c, FANION_JUDGE_TOO_LOW, type->number, kind);
        return beyond > 0 ? fanion_judge_fault(c, FANION_JUDGE_TOO_HIGH, type->number, kind) : FANION_JUDGE_FINE;
    }
    if (!(type->kinds & FANION_JUDGE_FLOAT)) {
        const bool minus = *number.at == '-';
        if (number.whole && !minus && number.length == FANION_JUDGE_UINT64_DIGITS) return FANION_JUDGE_UNSURE;
        const bool wide = number.whole && (minus ? fanion_judge_beyond_64(&number) : number.length > FANION_JUDGE_UINT64_DIGITS);
        return fanion_judge_wrong_type(c, type, wide ? FANION_JUDGE_WIDE_INTEGER : kind);
    }
    if (type->unsure & FANION_JUDGE_FLOAT) return FANION_JUDGE_UNSURE;
    if (type->bounds & (FANION_JUDGE_ABOVE_ZERO | FANION_JUDGE_FROM_ZERO | FANION_JUDGE_UP_TO_ONE)) {
        char copy[FANION_JSON_VALID_DIGITS_MAX + 1];
        memcpy(copy, number.at, number.length);
        copy[number.length] = 0;
        const double value = strtod(copy, NULL);
        if (type->bounds & FANION_JUDGE_ABOVE_ZERO ? !(value > 0) : type->bounds & FANION_JUDGE_FROM_ZERO && value < 0)
            return fanion_judge_fault(c, FANION_JUDGE_TOO_LOW, type->number, 0);
        if (type->bounds & FANION_JUDGE_UP_TO_ONE && value > 1)
            return fanion_judge_fault(c, FANION_JUDGE_TOO_HIGH, type->number, 0);
    }
    return FANION_JUDGE_FINE;
}

/* A list or map after its bracket. */
static inline fanion_judge_verdict fanion_judge_items(fanion_judge_cursor *c, const fanion_judge_type *type, bool named) {
    const uint8_t close = named ? '}' : ']';
    fanion_judge_text name, text;
    uint32_t count = 0;
    if (fanion_judge_take(c, close)) return FANION_JUDGE_FINE;
    do {
        if (named) {
            if (!fanion_judge_name(c, &name)) return FANION_JUDGE_UNSURE;
            if (++count > type->count_max) return FANION_JUDGE_UNSURE;
            c->doubt |= count > c->bounds->keys_max;
            if (!fanion_judge_is_text(&name)) {
                fanion_judge_fault(c, FANION_JUDGE_NOT_TEXT, 0, 0);
                return fanion_judge_wrong_if(fanion_judge_pass(c, false) && fanion_judge_rest(c, close, count));
            }
        } else {
            if (count > FANION_JUDGE_INDEX_MAX) return FANION_JUDGE_UNSURE;
            c->index = count++;
        }
        const fanion_judge_verdict verdict = fanion_judge_value(c, type->items, &text);
        if (verdict == FANION_JUDGE_WRONG) return fanion_judge_wrong_if(fanion_judge_rest(c, close, count));
        if (verdict != FANION_JUDGE_FINE) return verdict;
    } while (fanion_judge_take(c, ','));
    c->index = 0;
    return fanion_judge_take(c, close) ? FANION_JUDGE_FINE : FANION_JUDGE_UNSURE;
}

static inline fanion_judge_verdict fanion_judge_bracket(fanion_judge_cursor *c, const fanion_judge_type *type) {
    const bool named = *c->at == '{';
    const uint32_t kind = named ? FANION_JUDGE_OBJECT : FANION_JUDGE_LIST;
    if (type->unsure & kind) return FANION_JUDGE_UNSURE;
    if (!(type->kinds & (named ? FANION_JUDGE_OBJECT | FANION_JUDGE_MAP : FANION_JUDGE_LIST))) {
        if (fanion_judge_wrong_type(c, type, kind) != FANION_JUDGE_WRONG) return FANION_JUDGE_UNSURE;
        return fanion_judge_wrong_if(fanion_judge_pass(c, false));
    }
    if (!fanion_judge_deeper(c)) return FANION_JUDGE_UNSURE;
    c->at++;
    fanion_judge_verdict verdict;
    if (type->kinds & FANION_JUDGE_OBJECT && named) verdict = fanion_judge_object(c, type->shape);
    else verdict = fanion_judge_items(c, type, named);
    c->depth--;
    return verdict;
}

/* One value. `found`: the text or number that it is, or the whole value where any may stand. A wrong one is behind the cursor, as others are. */
static inline fanion_judge_verdict fanion_judge_value(
    fanion_judge_cursor *c, const fanion_judge_type *type, fanion_judge_text *found
) {
    uint32_t kind = FANION_JUDGE_BOOLEAN;
    found->at = NULL;
    if (!fanion_judge_skip_blanks(c)) return FANION_JUDGE_UNSURE;
    if (type->kinds & FANION_JUDGE_ANY) {
        const uint8_t *const start = c->at;
        if (!fanion_judge_pass(c, true)) return FANION_JUDGE_UNSURE;
        *found = (fanion_judge_text){.at = start, .length = (uint32_t)(c->at - start), .raw = true};
        return FANION_JUDGE_FINE;
    }
    switch (*c->at) {
    case '"':
        return fanion_judge_text_value(c, type, found);
    case '{':
    case '[':
        return fanion_judge_bracket(c, type);
    case 't':
        if (!fanion_judge_word(c, "true", 4)) return FANION_JUDGE_UNSURE;
        break;
    case 'f':
        if (!fanion_judge_word(c, "false", 5)) return FANION_JUDGE_UNSURE;
        break;
    case 'n':
        if (!fanion_judge_word(c, "null", 4)) return FANION_JUDGE_UNSURE;
        kind = FANION_JUDGE_NULL;
        break;
    default:
        return fanion_judge_number_value(c, type, found);
    }
    return type->kinds & kind ? FANION_JUDGE_FINE : fanion_judge_wrong_type(c, type, kind);
}

#endif
