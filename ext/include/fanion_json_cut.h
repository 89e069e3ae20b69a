/* The items of the array that is the member `name` of a text's top-level object, found by brackets and commas alone, and
 * refused while they are counted. Of several members of that name the first array counts. Does not need the GIL. */
#ifndef FANION_JSON_CUT_H
#define FANION_JSON_CUT_H

#include "fanion_json_scan.h"
#include "fanion_json_text.h"

typedef struct {
    uint64_t first, last; /* [first, last) of an item, spaces around it cut off */
} fanion_json_span;

typedef struct {
    uint64_t first, last; /* what lies between the array's brackets; last: the closing bracket */
    uint64_t count;
} fanion_json_array;

static inline fanion_json_span fanion_json_stripped(const uint8_t *text, uint64_t first, uint64_t last) {
    while (first < last && fanion_json_is_space(text[first])) first++;
    while (first < last && fanion_json_is_space(text[last - 1])) last--;
    return (fanion_json_span){first, last};
}

/* Cuts the array into `spans` (room for `items_max`). `name` is in its quotes, as it stands in the text. Returns
 * FANION_JSON_WITHIN, FANION_JSON_TOO_MANY_ITEMS, or FANION_JSON_UNBALANCED where there is no such whole array. */
static inline fanion_json_verdict fanion_json_cut(
    const uint8_t *text, uint64_t length, const uint8_t *name, uint64_t name_length, uint64_t items_max,
    fanion_json_span *spans, fanion_json_array *array
) {
    const uint8_t *at = text, *const end = text + length;
    uint64_t depth = 0, first = 0;
    int inside = 0, named = 0;
    *array = (fanion_json_array){0, 0, 0};
    while (at < end) {
        const uint8_t byte = *at;
        if (byte == '"') {
            const uint8_t *const start = at;
            at = fanion_json_string_end(at, end);
            if (at == NULL) return FANION_JSON_UNBALANCED;
            if (depth == 1) {
                named = (uint64_t)(at - start) == name_length && memcmp(start, name, name_length) == 0;
            }
            continue;
        }
        if (byte == '{' || byte == '[') {
            depth++;
            if (byte == '[' && depth == 2 && named && !inside) {
                inside = 1;
                array->first = first = (uint64_t)(at - text) + 1;
            }
        } else if (byte == '}' || byte == ']') {
            if (depth == 0) return FANION_JSON_UNBALANCED;
            depth--;
        }
        if (inside && ((byte == ',' && depth == 2) || ((byte == '}' || byte == ']') && depth == 1))) {
            const fanion_json_span span = fanion_json_stripped(text, first, (uint64_t)(at - text));
            if (byte == ',' || span.first < span.last || array->count) {
                if (array->count == items_max) return FANION_JSON_TOO_MANY_ITEMS;
                spans[array->count++] = span;
            }
            first = (uint64_t)(at - text) + 1;
            if (byte != ',') {
                array->last = (uint64_t)(at - text);
                return FANION_JSON_WITHIN;
            }
        }
        at++;
    }
    return FANION_JSON_UNBALANCED;
}

#endif
