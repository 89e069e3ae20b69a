/* The steps of computed slots: their numbers, their limits, and the proof that a run of them can't trip. Included by
 * fanion_bundle.h's users; `fanion.model.expression` says what each step does, `fanion.model.expression_proof` the
 * same proof in plain Python. No Python.h, no allocation. */
#ifndef FANION_EXPRESSION_H
#define FANION_EXPRESSION_H

#include <string.h>

#include "fanion_bundle.h"

#define FANION_STEPS_MAX 10000
#define FANION_STACK_MAX 32
#define FANION_LOOPS_MAX 4
#define FANION_NESTED_MAX 4
#define FANION_LIST_MAX 1000
#define FANION_BUDGET 32768
#define FANION_ARENA_BYTES_MAX 65536
#define FANION_TEXT_DEPTH_MAX 16
#define FANION_TEXT_BYTES_MAX 65536
#define FANION_SPREAD (-1)

/* How many values a step takes off the stack; it puts one there. */
#define FANION_TAKES_ANY (-1)     /* as many as its operand says, SPREAD: one */
#define FANION_TAKES_OPERAND (-2) /* as many as its operand says, within bounds of its own */
#define FANION_TAKES_JUMP (-3)
#define FANION_TAKES_LOOP (-4)

/* clang-format off */
/* X(NAME, takes), in the order of their numbers */
#define FANION_STEP_OPS(X) \
    X(CONSTANT, 0) X(LOAD, 0) X(ROOT, 0) X(ITEM, 0) X(ACCUMULATOR, 0) X(FIELD, 1) X(PATH, 2) \
    X(JUMP, FANION_TAKES_JUMP) X(JUMP_FALSY, FANION_TAKES_JUMP) X(JUMP_TRUTHY, FANION_TAKES_JUMP) \
    X(KEEP_FALSY, FANION_TAKES_JUMP) X(KEEP_TRUTHY, FANION_TAKES_JUMP) X(KEEP_VALUE, FANION_TAKES_JUMP) \
    X(NOT, 1) X(TRUTH, 1) \
    X(EQUAL, FANION_TAKES_OPERAND) X(NOT_EQUAL, FANION_TAKES_OPERAND) \
    X(SAME, FANION_TAKES_OPERAND) X(NOT_SAME, FANION_TAKES_OPERAND) \
    X(LESS, FANION_TAKES_OPERAND) X(LESS_EQUAL, FANION_TAKES_OPERAND) \
    X(GREATER, FANION_TAKES_OPERAND) X(GREATER_EQUAL, FANION_TAKES_OPERAND) \
    X(NUMBER, 1) X(NEGATE, 1) X(ADD, 2) X(SUBTRACT, 2) X(MULTIPLY, 2) X(DIVIDE, 2) X(REMAINDER, 2) \
    X(MIN, FANION_TAKES_ANY) X(MAX, FANION_TAKES_ANY) X(CAT, FANION_TAKES_ANY) X(SUBSTR, FANION_TAKES_OPERAND) \
    X(IN, 2) X(STARTS, 2) X(ENDS, 2) X(SEMVER, 3) X(LIST, FANION_TAKES_ANY) X(MERGE, FANION_TAKES_ANY) \
    X(MISSING, 2) X(MISSING_SOME, 3) X(FRACTION, 2) \
    X(MAP, FANION_TAKES_LOOP) X(FILTER, FANION_TAKES_LOOP) X(ALL, FANION_TAKES_LOOP) X(SOME, FANION_TAKES_LOOP) \
    X(NONE, FANION_TAKES_LOOP) X(REDUCE, FANION_TAKES_LOOP) X(REDUCE_FIRST, FANION_TAKES_LOOP)
/* clang-format on */

#define FANION_STEP_NUMBER(NAME, takes) FANION_STEP_##NAME,
enum fanion_step_op { FANION_STEP_OPS(FANION_STEP_NUMBER) FANION_STEP_COUNT };
#undef FANION_STEP_NUMBER

#define FANION_STEP_TAKES(NAME, takes) takes,
static const int8_t fanion_step_takes[FANION_STEP_COUNT] = {FANION_STEP_OPS(FANION_STEP_TAKES)};
#undef FANION_STEP_TAKES
#define FANION_STEP_NAME(NAME, takes) #NAME,
static const char *const fanion_step_names[FANION_STEP_COUNT] = {FANION_STEP_OPS(FANION_STEP_NAME)};
#undef FANION_STEP_NAME

enum fanion_fraction_kind { FANION_FRACTION_TEXT, FANION_FRACTION_CBOR, FANION_FRACTION_CBOR_LIST };

/* A loop around the step that is looked at. */
typedef struct {
    uint32_t end; /* the step behind it */
    int floor;    /* height of the stack below its body */
    int reduces;
} fanion_loop;

#define FANION_UNREACHED 0xFFu

/* Of the steps of one expression while they are walked. */
typedef struct {
    const fanion_step *steps;
    uint32_t count;
    int deep;
    fanion_loop loops[FANION_LOOPS_MAX];
    uint8_t heights[FANION_STEPS_MAX + 1];
} fanion_proof;

static inline int fanion_proof_reach(fanion_proof *p, uint32_t target, int height) {
    if (p->heights[target] == FANION_UNREACHED)
        p->heights[target] = (uint8_t)height;
    return p->heights[target] == height;
}

static inline const char *fanion_proof_leave(fanion_proof *p, uint32_t at) {
    while (p->deep && p->loops[p->deep - 1].end == at) {
        int left = p->loops[--p->deep].floor + 1;
        if (p->heights[at] != left)
            return "the loop before it does not leave one value";
    }
    return NULL;
}

static inline const char *fanion_proof_jump(fanion_proof *p, uint32_t at, int height, int floor) {
    const fanion_step *step = &p->steps[at];
    uint32_t end = p->deep ? p->loops[p->deep - 1].end : p->count, target = (uint32_t)step->operand;
    if (target <= at || target > end)
        return "jumps back, or out of where it stands";
    if (step->op == FANION_STEP_JUMP)
        return fanion_proof_reach(p, target, height) ? NULL : "jumps to another height of the stack";
    if (height - 1 < floor)
        return "takes a value that is not there";
    int keeps = step->op != FANION_STEP_JUMP_FALSY && step->op != FANION_STEP_JUMP_TRUTHY;
    if (!fanion_proof_reach(p, target, keeps ? height : height - 1) || !fanion_proof_reach(p, at + 1, height - 1))
        return "jumps to another height of the stack";
    return NULL;
}

static inline const char *fanion_proof_enter(fanion_proof *p, uint32_t at, int height, int floor) {
    const fanion_step *step = &p->steps[at];
    uint32_t end = p->deep ? p->loops[p->deep - 1].end : p->count, target = (uint32_t)step->operand;
    int reduces = step->op == FANION_STEP_REDUCE || step->op == FANION_STEP_REDUCE_FIRST;
    int below = height - (step->op == FANION_STEP_REDUCE ? 2 : 1);
    if (target <= at + 1 || target > end)
        return "a loop that ends outside of where it stands";
    if (p->deep == FANION_LOOPS_MAX)
        return "a loop too deep in others";
    if (below < floor)
        return "takes a value that is not there";
    for (uint32_t inner = at + 1; inner < target; inner++)
        if (p->heights[inner] != FANION_UNREACHED)
            return "a jump into the loop from outside";
    p->loops[p->deep++] = (fanion_loop){target, below, reduces};
    return fanion_proof_reach(p, at + 1, below) ? NULL : "jumps to another height of the stack";
}

/* What a step's operand may be, whatever is on the stack. `number` is the expression's. */
static inline const char *fanion_proof_operand(
    const fanion_sections *s, const fanion_proof *p, const fanion_expression *one, const fanion_step *step) {
    int32_t operand = step->operand;
    switch (step->op) {
    case FANION_STEP_CONSTANT:
    case FANION_STEP_FIELD:
        if ((uint32_t)operand >= s->counts[FANION_SECTION_CONSTANTS])
            return "no such constant";
        if (step->op == FANION_STEP_FIELD && s->constants[operand].kind != FANION_CONSTANT_TEXT)
            return "a field without a name";
        return NULL;
    case FANION_STEP_LOAD:
        return (uint32_t)operand < one->slot ? NULL : "loads a slot that is not lower";
    case FANION_STEP_ITEM:
        return p->deep ? NULL : "an item outside of a loop";
    case FANION_STEP_ACCUMULATOR:
        return p->deep && p->loops[p->deep - 1].reduces ? NULL : "an accumulator outside of a reducing loop";
    case FANION_STEP_SUBSTR:
        return operand == 2 || operand == 3 ? NULL : "a part of a text by other than two or three values";
    case FANION_STEP_FRACTION:
        return operand >= 0 && operand <= FANION_FRACTION_CBOR_LIST ? NULL : "no such fraction";
    default:
        break;
    }
    if (fanion_step_takes[step->op] == FANION_TAKES_ANY) {
        int least = step->op == FANION_STEP_LIST ? 0 : FANION_SPREAD;
        return operand >= least && operand <= FANION_STACK_MAX ? NULL : "takes too many values";
    }
    if (fanion_step_takes[step->op] == FANION_TAKES_OPERAND)
        return operand >= 2 && operand <= FANION_STACK_MAX ? NULL : "compares too few or too many values";
    return NULL;
}

static inline const char *fanion_proof_step(
    const fanion_sections *s, fanion_proof *p, const fanion_expression *one, uint32_t at) {
    const fanion_step *step = &p->steps[at];
    const char *fault = fanion_proof_leave(p, at);
    int height = p->heights[at], floor = p->deep ? p->loops[p->deep - 1].floor : 0;
    if (fault)
        return fault;
    if (height == FANION_UNREACHED)
        return "no way leads here";
    if (step->op >= FANION_STEP_COUNT)
        return "no such step";
    if ((fault = fanion_proof_operand(s, p, one, step)))
        return fault;
    int takes = fanion_step_takes[step->op];
    if (takes == FANION_TAKES_JUMP)
        return fanion_proof_jump(p, at, height, floor);
    if (takes == FANION_TAKES_LOOP)
        return fanion_proof_enter(p, at, height, floor);
    if (takes < 0)
        takes = step->operand == FANION_SPREAD ? 1 : step->operand;
    if (height - takes < floor)
        return "takes a value that is not there";
    if (height - takes + 1 > FANION_STACK_MAX)
        return "too high a stack";
    return fanion_proof_reach(p, at + 1, height - takes + 1) ? NULL : "comes with another height of the stack";
}

/* What is wrong with an expression, NULL where a run can rely on it; `at` is the step then. Its records must lie in
 * their sections, constants and the expressions before it have been proven. */
static inline const char *fanion_expression_fault(const fanion_sections *s, uint32_t number, uint32_t *at) {
    const fanion_expression *one = &s->expressions[number];
    fanion_proof p = {.steps = &s->steps[one->step_first], .count = one->step_count};
    const char *fault = NULL;
    uint32_t depth = 1;
    *at = 0;
    if (!one->step_count || one->step_count > FANION_STEPS_MAX)
        return "no steps, or too many";
    memset(p.heights, FANION_UNREACHED, p.count + 1);
    p.heights[0] = 0;
    for (; *at < p.count; ++*at) {
        if ((fault = fanion_proof_step(s, &p, one, *at)))
            return fault;
        if (p.steps[*at].op == FANION_STEP_LOAD) {
            uint32_t inner = s->slots[p.steps[*at].operand].expression;
            if (inner != FANION_NONE && s->expressions[inner].depth + 1 > depth)
                depth = s->expressions[inner].depth + 1;
        }
    }
    if ((fault = fanion_proof_leave(&p, p.count)))
        return fault;
    if (p.heights[p.count] != 1)
        return "does not leave one value";
    return depth == one->depth && depth <= FANION_NESTED_MAX ? NULL : "loads computed slots too deep";
}

#endif
