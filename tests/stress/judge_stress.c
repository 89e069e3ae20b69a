/* Batches of every kind of item, whole, cut at every byte and with bytes changed, judged where nothing stands behind
 * them: a sanitizer sees each read beyond the end. Prints how many items were fine, wrong and unsure.
 *
 *     judge_stress SEED ROUNDS
 */
#include <stdio.h>
#include <stdlib.h>

#include "fanion_item_judge.h"

enum { ITEMS_MAX = 8, NOTES = 3, FIXED = 1, TYPES = 16 };

#define TEXT(literal) {literal, sizeof literal - 1}

static uint64_t state;

static uint32_t draw(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

static const fanion_flat_text choices[] = {TEXT("red"), TEXT("gr\xC3\xBCn")};
static fanion_judge_shape item_shape, inner_shape;

static const fanion_judge_type types[TYPES] = {
    {.number = 0, .kinds = FANION_JUDGE_OBJECT, .shape = &item_shape},
    {.number = 1, .kinds = FANION_JUDGE_TEXT | FANION_JUDGE_NULL, .length_min = 1, .length_max = 12},
    {.number = 2, .kinds = FANION_JUDGE_TEXT, .length_max = UINT32_MAX, .pattern = FANION_JUDGE_MOMENT},
    {.number = 3, .kinds = FANION_JUDGE_TEXT, .length_max = UINT32_MAX, .pattern = FANION_JUDGE_DIGEST},
    {.number = 4, .kinds = FANION_JUDGE_INTEGER, .bounds = FANION_JUDGE_INT64},
    {.number = 5, .kinds = FANION_JUDGE_FLOAT, .bounds = FANION_JUDGE_ABOVE_ZERO | FANION_JUDGE_UP_TO_ONE},
    {.number = 6, .kinds = FANION_JUDGE_BOOLEAN | FANION_JUDGE_NULL},
    {.number = 7, .kinds = FANION_JUDGE_LIST, .items = &types[4]},
    {.number = 8, .kinds = FANION_JUDGE_MAP, .count_max = 4, .items = &types[11]},
    {.number = 9, .kinds = FANION_JUDGE_CHOICE, .choice_count = 2, .choices = choices},
    {.number = 10, .kinds = FANION_JUDGE_OBJECT | FANION_JUDGE_NULL, .shape = &inner_shape},
    {.number = 11, .kinds = FANION_JUDGE_ANY},
    {.number = 12, .kinds = FANION_JUDGE_TEXT, .length_max = UINT32_MAX}, /* any time */
};

static fanion_judge_field first_fields[] = {
    {TEXT("id"), &types[1], 1, -1},       {TEXT("own"), &types[1], 0, -1},   {TEXT("at"), &types[2], -1, 0},
    {TEXT("digest"), &types[3], -1, -1},  {TEXT("count"), &types[4], -1, -1}, {TEXT("share"), &types[5], -1, -1},
    {TEXT("sure"), &types[6], -1, -1},    {TEXT("list"), &types[7], -1, -1}, {TEXT("map"), &types[8], -1, -1},
    {TEXT("colour"), &types[9], -1, -1},  {TEXT("inner"), &types[10], -1, -1}, {TEXT("when"), &types[12], -1, 1},
};
static fanion_judge_field second_fields[] = {{TEXT("id"), &types[1], 1, -1}, {TEXT("any"), &types[11], -1, -1}};
static fanion_judge_field inner_fields[] = {{TEXT("a"), &types[1], 2, -1}, {TEXT("b"), &types[1], -1, -1}};
static fanion_judge_struct first = {
    .number = 0, .field_count = 12, .fields = first_fields, .tag = TEXT("one"), .required = 1, .closed = true,
    .moment_count = 2, .moments = {2, 11},
};
static fanion_judge_struct second = {.number = 1, .field_count = 2, .fields = second_fields, .tag = TEXT("two")};
static fanion_judge_struct inner = {.number = 2, .field_count = 2, .fields = inner_fields, .exactly_one = 3};
static fanion_judge_struct *const of_item[] = {&first, &second}, *const of_inner[] = {&inner};
static fanion_judge_shape item_shape = {0, TEXT("type"), 2, of_item}, inner_shape = {1, {"", 0}, 1, of_inner};

static const char *const samples[] = {
    "{\"events\":[{\"type\":\"one\",\"id\":\"i\",\"own\":\"me\",\"at\":\"2026-11-28T20:05:00.123+01:00\",\"count\":-12,"
    "\"share\":0.5,\"sure\":null,\"list\":[1,2,9223372036854775808],\"map\":{\"a\":[{\"b\":1e5}]},\"colour\":\"red\"}]}",
    "{\"events\":[{\"id\":\"\\ud83d\\ude00\\u00e9\",\"inner\":{\"\\u0061\":\"x\"},\"ty\\u0070e\":\"one\",\"digest\":"
    "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"when\":\"2026-02-30T00:00:00Z\"}]}",
    "{\"a\":[null,true,false,[[[]]]],\"events\":[{\"type\":\"two\",\"id\":\"\xC3\xA9\xF0\x9F\x98\x80\",\"any\":{\"x\":\"\\n\"}},"
    " 1 ,\"text\",-0.5E+300, {} ,[1]],\"b\":\"\xE2\x82\xAC\"}",
    "{\"events\":[{\"type\":\"one\",\"id\":\"i\",\"colour\":\"gr\\u00fcn\",\"inner\":{\"a\":null,\"b\":\"y\"},\"at\":"
    "\"2026-13-01T23:59:59Z\",\"share\":123456789012345678901234567890.0},{\"type\":\"three\"},{\"type\":1}]}",
};
static const char parts[] = "\"\\{}[]:,0-.eEu9dZT+ \xC3\xED\xFF\x1F\xF4ntf";

static uint64_t seen[3];

static void judge(const uint8_t *from, size_t length) {
    static const fanion_judge_bounds bounds = {.depth_max = 6, .keys_max = 8, .digits_max = 400, .tokens_max = 400, .batch_tokens_max = 900};
    static const fanion_flat_text own[FIXED] = {TEXT("me")};
    fanion_judge_schema schema = {
        TEXT("events"), &types[0], ITEMS_MAX, NOTES, FIXED, .open = draw(4) != 0, .text_first = draw(2) != 0,
    };
    uint8_t *const body = malloc(length ? length : 1); /* of this length: what is read behind it is seen */
    fanion_judge_item *const items = malloc(ITEMS_MAX * sizeof *items);
    fanion_judge_text *const notes = malloc((ITEMS_MAX * NOTES) * sizeof *notes);
    bool alone, within;
    memcpy(body, from, length);
    const bool text = fanion_judge_is_utf8(body, body + length);
    const int64_t count = fanion_judge_batch(&schema, &bounds, body, length, length, text, own, items, notes, &alone, &within);
    if (count > ITEMS_MAX) abort();
    for (int64_t n = 0; n < count; n++) {
        if (items[n].first >= items[n].last || items[n].last > length) abort();
        if (n && items[n].first <= items[n - 1].last) abort();
        seen[items[n].verdict]++;
        if (items[n].verdict != FANION_JUDGE_FINE) continue;
        for (int m = 0; m < NOTES; m++) {
            const fanion_judge_text *const note = &notes[n * NOTES + m];
            if (note->at && (note->at < body || note->at + note->length >= body + length)) abort();
        }
    }
    free(notes);
    free(items);
    free(body);
}

int main(int count, char **given) {
    if (count != 3) return 2;
    state = strtoull(given[1], NULL, 10) | 1;
    for (long round = strtol(given[2], NULL, 10); round > 0; round--) {
        const char *const sample = samples[draw(sizeof samples / sizeof *samples)];
        size_t length = strlen(sample);
        uint8_t body[1024];
        memcpy(body, sample, length);
        for (uint32_t changes = draw(4); changes > 0; changes--) body[draw((uint32_t)length)] = (uint8_t)parts[draw(sizeof parts - 1)];
        judge(body, draw(2) ? length : draw((uint32_t)length + 1));
    }
    for (size_t n = 0; n < sizeof samples / sizeof *samples; n++)
        for (size_t length = 0; length <= strlen(samples[n]); length++) judge((const uint8_t *)samples[n], length);
    for (uint32_t depth = 1; depth < 3 * FANION_JSON_DEPTH_MAX; depth += 7) {
        enum { ROOM = 16 + 3 * FANION_JSON_DEPTH_MAX };
        uint8_t body[ROOM + 1];
        memcpy(body, "{\"events\":[", 11);
        memset(body + 11, '[', depth);
        judge(body, 11 + depth);
    }
    printf("%llu fine, %llu wrong, %llu unsure\n", (unsigned long long)seen[0], (unsigned long long)seen[1], (unsigned long long)seen[2]);
    return seen[0] && seen[1] && seen[2] ? 0 : 1;
}
