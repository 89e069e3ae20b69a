/* One event's members out of its JSON text, by a shape, without building anything.
 *
 * Strict and one-sided: what is taken reads the same in the plain expansion (fanion.journal.rows). Texts with escapes,
 * numbers that take care to round, times of unusual forms, members that come twice: "odd", and the plain expansion is
 * asked for that event. Where the text around the events isn't surely JSON, it is asked for the whole record.
 *
 * Does not need the GIL, but one shape serves one thread at a time: it remembers in what order members come.
 */
#ifndef FANION_ROWS_H
#define FANION_ROWS_H

#include "fanion_rows_value.h"

enum {
    FANION_ROWS_FIELDS_MAX = 24, /* members of one object, and slots of an event */
    FANION_ROWS_PART_SLOTS = 8,
    FANION_ROWS_PARTS_MAX = 64,
};

typedef struct {
    fanion_flat_text name; /* in its quotes */
    uint8_t reads;
    uint8_t slot;          /* of what it says */
    struct fanion_rows_object *object; /* of OBJECT and PARTS; borrowed from whoever made the shape */
} fanion_rows_field;

typedef struct fanion_rows_object {
    uint32_t field_count;
    uint8_t after[FANION_ROWS_FIELDS_MAX + 1]; /* a hint: which field came behind this one last time (last: first) */
    fanion_rows_field fields[FANION_ROWS_FIELDS_MAX];
} fanion_rows_object;

typedef struct {
    fanion_rows_value values[FANION_ROWS_FIELDS_MAX];
    uint32_t part_count;
    fanion_rows_value parts[FANION_ROWS_PARTS_MAX][FANION_ROWS_PART_SLOTS];
} fanion_rows_event;

/* An object after its brace; false: odd. `event`: NULL in a part. */
static inline bool fanion_rows_members(
    fanion_rows_cursor *c, fanion_rows_object *object, fanion_rows_value *values, fanion_rows_event *event
) {
    fanion_flat_text name;
    uint32_t seen = 0, last = FANION_ROWS_FIELDS_MAX, n;
    if (fanion_rows_take(c, '}')) return true;
    do {
        fanion_rows_skip(c);
        n = object->after[last];
        if (n >= object->field_count || c->end - c->at < object->fields[n].name.length ||
            !fanion_flat_same(c->at, object->fields[n].name.text, object->fields[n].name.length)) {
            for (n = 0; n < object->field_count; n++)
                if (c->end - c->at >= object->fields[n].name.length &&
                    fanion_flat_same(c->at, object->fields[n].name.text, object->fields[n].name.length))
                    break;
            if (n == object->field_count) { /* of nobody */
                if (!fanion_rows_take(c, '"') || !fanion_rows_text_rest(c, &name, false)) return false;
                if (!fanion_rows_take(c, ':') || !fanion_rows_skip_value(c, 2)) return false;
                continue;
            }
            object->after[last] = (uint8_t)n;
        }
        fanion_rows_field *field = &object->fields[n];
        if (seen & (1u << n)) return false;
        seen |= 1u << n;
        last = n;
        c->at += field->name.length;
        if (!fanion_rows_take(c, ':')) return false;
        if (field->reads < FANION_ROWS_OBJECT) {
            if (!fanion_rows_read(c, field->reads, &values[field->slot])) return false;
            continue;
        }
        fanion_rows_skip(c);
        if (field->reads == FANION_ROWS_OBJECT) {
            if (c->at < c->end && *c->at == '{') {
                c->at++;
                if (!fanion_rows_members(c, field->object, values, NULL)) return false;
            } else if (!fanion_rows_skip_value(c, 2)) return false;
            continue;
        }
        if (event == NULL) return false;
        if (c->at >= c->end || *c->at != '[') {
            if (!fanion_rows_skip_value(c, 2)) return false;
            continue;
        }
        c->at++;
        if (fanion_rows_take(c, ']')) continue;
        do {
            if (event->part_count == FANION_ROWS_PARTS_MAX || !fanion_rows_take(c, '{')) return false;
            fanion_rows_value *part = event->parts[event->part_count++];
            for (n = 0; n < FANION_ROWS_PART_SLOTS; n++) part[n].said = FANION_SAID_NOTHING;
            if (!fanion_rows_members(c, field->object, part, NULL)) return false;
        } while (fanion_rows_take(c, ','));
        if (!fanion_rows_take(c, ']')) return false;
    } while (fanion_rows_take(c, ','));
    return fanion_rows_take(c, '}');
}

/* One event at the cursor, which stands behind it afterwards. 1: read; 0: odd, and passed over; -1: no JSON. */
static inline int fanion_rows_event_read(fanion_rows_cursor *c, fanion_rows_object *object, fanion_rows_event *event) {
    fanion_rows_skip(c);
    const uint8_t *start = c->at;
    for (uint32_t n = 0; n < FANION_ROWS_FIELDS_MAX; n++) event->values[n].said = FANION_SAID_NOTHING;
    event->part_count = 0;
    if (fanion_rows_take(c, '{') && fanion_rows_members(c, object, event->values, event)) return 1;
    c->at = start;
    return fanion_rows_skip_value(c, 1) ? 0 : -1;
}

/* To the first event of a record's body, behind the list's bracket: {"events": [...]} where it is `whole`, else a bare
 * list. 1: there are some; 0: the list is empty; -1: the body is another. */
static inline int fanion_rows_begin(fanion_rows_cursor *c, bool whole) {
    fanion_flat_text name;
    if (whole) {
        if (!fanion_rows_take(c, '{')) return -1;
        for (;;) {
            if (!fanion_rows_take(c, '"') || !fanion_rows_text_rest(c, &name, false) || !fanion_rows_take(c, ':')) return -1;
            if (name.length == 6 && memcmp(name.text, "events", 6) == 0) break;
            if (!fanion_rows_skip_value(c, 1) || !fanion_rows_take(c, ',')) return -1;
        }
    }
    if (!fanion_rows_take(c, '[')) return -1;
    return !fanion_rows_take(c, ']');
}

/* Behind the list's last bracket: whether the body ends there, or has other members only. */
static inline bool fanion_rows_end(fanion_rows_cursor *c, bool whole) {
    fanion_flat_text name;
    if (whole) {
        while (fanion_rows_take(c, ',')) {
            if (!fanion_rows_take(c, '"') || !fanion_rows_text_rest(c, &name, false) || !fanion_rows_take(c, ':')) return false;
            if (name.length == 6 && memcmp(name.text, "events", 6) == 0) return false;
            if (!fanion_rows_skip_value(c, 1)) return false;
        }
        if (!fanion_rows_take(c, '}')) return false;
    }
    fanion_rows_skip(c);
    return c->at == c->end;
}

#endif
