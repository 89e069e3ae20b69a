"""The run of a computed slot's steps, as `fanion.model.expression` says what each does.

Makes no Python object. A run goes over steps that were proven when the bundle was mapped (`fanion_expression.h`): the
stack holds what each takes, jumps and loops lead forward. What it makes lies in an arena of 64 KiB, which is the next
run's afterwards; `fanion.engine.expression` is the same in plain Python, and counts the same.
"""

from cpython.dict cimport PyDict_Check, PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from fanion._core.bundle cimport BundleView
from fanion._core.fraction cimport fraction
from fanion._core.layout cimport *
from fanion._core.match cimport cell
from fanion._core.operations cimport *
from fanion._core.value cimport *


cdef extern from "fanion_text.h" nogil:
    ctypedef struct fanion_name:
        const char *text
        size_t length
    size_t fanion_path_names(const char *path, size_t length)
    fanion_name fanion_path_next(const char *path, size_t length, size_t *at)
    int fanion_name_is(fanion_name name, const char *text, size_t length)
    int64_t fanion_name_index(fanion_name name)


STEPS = {fanion_step_names[_n].decode(): fanion_step_takes[_n] for _n in range(FANION_STEP_COUNT)}


# -- members

cdef int member_of_object(run_state *r, PyObject *found, fanion_name name, PyObject *key, PyObject **out) except -1:
    """A dict's member, NULL where it has none: by its key or, where there is none ready, by going through all."""
    cdef Py_ssize_t place = 0, length = 0
    cdef PyObject *one
    cdef PyObject *member
    cdef const char *text
    out[0] = NULL
    if found == NULL or not PyDict_Check(<object> found):
        return COMPUTED
    if key != NULL:
        out[0] = PyDict_GetItemWithError(<object> found, <object> key)
        return COMPUTED
    if spend(r, PyDict_Size(<object> found)):
        return BEYOND
    while PyDict_Next(<object> found, &place, &one, &member):
        if PyUnicode_Check(<object> one):
            text = PyUnicode_AsUTF8AndSize(<object> one, &length)
            if fanion_name_is(name, text, length):
                out[0] = member
                return COMPUTED
    return COMPUTED


cdef int member(
    run_state *r, Finder finder, const json_value *v, fanion_name name, PyObject *key, json_value *out, bint *has
) except -1:
    """One step down from a value. Where it has no such member, `has` is false and the value null."""
    cdef PyObject *found = NULL
    cdef json_value own = v[0]
    cdef size_t size
    cdef int64_t index
    has[0] = False
    out.kind = VALUE_NULL
    if own.kind == VALUE_ROOT or own.kind == VALUE_OBJECT:
        if own.kind == VALUE_OBJECT:
            if member_of_object(r, object_at(&own), name, key, &found):
                return BEYOND
        elif member_of_object(r, finder.members, name, key, &found) or (
            found == NULL and member_of_object(r, finder.attributes, name, key, &found)
        ):
            return BEYOND
        has[0] = found != NULL
        return from_object(found, out)
    if own.kind == VALUE_TEXT:
        if spend(r, own.length >> 8):
            return BEYOND
        size = fanion_text_units(text_at(&own), own.length)
    elif is_list(&own):
        size = own.length
    else:
        return COMPUTED
    if fanion_name_is(name, b"length", 6):
        has[0] = True
        put_number(out, <double> size)
        return COMPUTED
    index = fanion_name_index(name)
    if index < 0 or <size_t> index >= size:
        return COMPUTED
    has[0] = True
    if own.kind == VALUE_TEXT:
        return part(r, &own, index, index + 1, out)
    return item_of(r.s, &own, <uint32_t> index, out)


cdef int field(run_state *r, Finder finder, list names, uint32_t number, json_value *v) except -1:
    """Replaces a value by its member of a constant's name."""
    cdef fanion_name name
    cdef bint has = False
    cdef json_value found
    name.text = r.s.blob + r.s.constants[number].content.text.offset
    name.length = r.s.constants[number].content.text.length
    if member(r, finder, v, name, PyList_GET_ITEM(names, number), &found, &has):
        return BEYOND
    v[0] = found
    return COMPUTED


cdef int walk(
    run_state *r, Finder finder, const json_value *v, const json_value *path, bint strict, json_value *out, bint *has
) except -1:
    """Follows the names of a path. `has` is false where one is not there; the value is null then. `strict`: nothing
    is behind an empty text, not even its length."""
    cdef json_value found = v[0], text, next_one
    cdef size_t at = 0, _, names
    has[0] = True
    if text_of(r, path, &text) or spend(r, text.length >> 8):
        return BEYOND
    names = fanion_path_names(text_at(&text), text.length)
    for _ in range(names):
        if strict and found.kind == VALUE_TEXT and not found.length:
            has[0] = False
            break
        if member(r, finder, &found, fanion_path_next(text_at(&text), text.length, &at), NULL, &next_one, has):
            return BEYOND
        found = next_one
        if not has[0]:
            break
    out[0] = found
    return COMPUTED


cdef int missing(
    run_state *r, Finder finder, const json_value *scope, const json_value *keys, json_value *out
) except -1:
    cdef json_value one = keys[0], key, found
    cdef json_value *absent
    cdef uint32_t n, at = 0
    cdef bint has = False
    if not is_list(keys):
        put_list(&one, keys, 1)
    absent = make_list(r, one.length)
    if absent == NULL:
        return BEYOND
    for n in range(one.length):
        if spend(r, 1) or item_of(r.s, &one, n, &key) or walk(r, finder, scope, &key, True, &found, &has):
            return BEYOND
        if not has:
            absent[at] = key
            at += 1
    put_list(out, absent, at)
    return COMPUTED


cdef int missing_some(run_state *r, Finder finder, const json_value *values, json_value *out) except -1:
    cdef double need = 0
    cdef uint32_t keys = values[2].length if is_list(&values[2]) else 1
    if missing(r, finder, &values[0], &values[2], out) or number_of(r, &values[1], &need):
        return BEYOND
    if <double> (keys - out.length) >= need:
        out.length = 0
    return COMPUTED


# -- loops

ctypedef struct scope:
    const json_value *item          # of the innermost loop
    const json_value *accumulator   # likewise


cdef int turns(
    run_state *r, Finder finder, list names, uint8_t op, uint32_t at, uint32_t end, json_value *v
) except -1:
    """A loop over `v`, whose place its value takes, as its body's stack does meanwhile."""
    cdef json_value items_of = v[0], item, result
    cdef json_value *items = NULL
    cdef scope inner
    cdef uint32_t n = 0, count = 0
    cdef bint holds
    if not is_list(v):
        put_list(&items_of, v, 0)
    inner.item = &item
    inner.accumulator = &result
    if op == FANION_STEP_REDUCE:
        result = v[1]
    elif op == FANION_STEP_REDUCE_FIRST:
        result.kind = VALUE_NULL
        if items_of.length and item_of(r.s, &items_of, 0, &result):
            return BEYOND
        n = 1
    elif op == FANION_STEP_MAP or op == FANION_STEP_FILTER:
        items = make_list(r, items_of.length)
        if items == NULL:
            return BEYOND
    while n < items_of.length:
        if spend(r, 1) or item_of(r.s, &items_of, n, &item):
            return BEYOND
        n += 1
        if body(r, finder, names, &inner, at, end, v, &result):
            return BEYOND
        if op >= FANION_STEP_REDUCE:
            continue
        if op == FANION_STEP_MAP:
            items[count] = result
            count += 1
            continue
        holds = truth_of(&result)
        if op == FANION_STEP_FILTER:
            if holds:
                items[count] = item
                count += 1
        elif holds != (op == FANION_STEP_ALL):
            put_truth(v, op == FANION_STEP_SOME)
            return COMPUTED
    if op >= FANION_STEP_REDUCE:
        v[0] = result
    elif items != NULL:
        put_list(v, items, count)
    else:
        put_truth(v, op == FANION_STEP_NONE or (op == FANION_STEP_ALL and items_of.length > 0))
    return COMPUTED


cdef int apply(run_state *r, Finder finder, const fanion_step *step, json_value *v, uint32_t count) except -1:
    """A step on the `count` values from `v`, whose first place its own takes."""
    cdef json_value many
    cdef double left = 0, right = 0
    cdef bint holds = False
    cdef uint8_t op = step.op
    if FANION_STEP_EQUAL <= op <= FANION_STEP_GREATER_EQUAL:
        if compare(r, op, v, count, &holds):
            return BEYOND
        put_truth(v, holds)
    elif FANION_STEP_ADD <= op <= FANION_STEP_REMAINDER:
        if number_of(r, v, &left) or number_of(r, &v[1], &right):
            return BEYOND
        put_number(v, arithmetic(op, left, right))
    elif op == FANION_STEP_NOT or op == FANION_STEP_TRUTH:
        put_truth(v, truth_of(v) == (op == FANION_STEP_TRUTH))
    elif op == FANION_STEP_NUMBER or op == FANION_STEP_NEGATE:
        if number_of(r, v, &left):
            return BEYOND
        put_number(v, left if op == FANION_STEP_NUMBER else -left)
    elif op == FANION_STEP_IN:
        if is_in(r, v, &v[1], &holds):
            return BEYOND
        put_truth(v, holds)
    elif op == FANION_STEP_STARTS or op == FANION_STEP_ENDS:
        return starts_or_ends(r, op, v, v)
    elif op == FANION_STEP_SUBSTR:
        return substr(r, v, count, v)
    elif op == FANION_STEP_SEMVER:
        return semver(r, v, v)
    elif op == FANION_STEP_PATH:
        if v[1].kind != VALUE_NULL and not (v[1].kind == VALUE_TEXT and v[1].length == 0):
            return walk(r, finder, v, &v[1], False, v, &holds)
    elif op == FANION_STEP_MISSING:
        return missing(r, finder, v, &v[1], v)
    elif op == FANION_STEP_MISSING_SOME:
        return missing_some(r, finder, v, v)
    elif op == FANION_STEP_FRACTION:
        return fraction(r, step.operand, v, &v[1], v)
    else:
        if step.operand == FANION_SPREAD and is_list(v):
            many = v[0]
        else:
            put_list(&many, v, count)
        return gather(r, op, &many, v)
    return COMPUTED


cdef int put(run_state *r, Finder finder, const fanion_step *step, const scope *around, json_value *v) except -1:
    """A step that takes nothing off the stack: what it puts there."""
    cdef uint8_t op = step.op
    if op == FANION_STEP_CONSTANT:
        return from_constant(r.s, step.operand, v)
    if op == FANION_STEP_ITEM:
        v[0] = around.item[0]
    elif op == FANION_STEP_ACCUMULATOR:
        v[0] = around.accumulator[0]
    elif op == FANION_STEP_LOAD:
        return load(r, finder, step.operand, v)
    else:
        v.kind = VALUE_ROOT
        v.length = 0
    return COMPUTED


cdef int load(run_state *r, Finder finder, uint32_t slot, json_value *v) except -1:
    """The context's own value; of a computed slot, what its cell holds."""
    cdef const cell *found
    if r.s.slots[slot].expression == FANION_NONE:
        return from_object(finder.find(slot), v)
    found = &finder.m.cells[slot]
    if found.stamp != finder.m.stamp:
        finder.bind(slot)
    if found.kind == KIND_NULL:
        v.kind = VALUE_NULL
    elif found.kind == KIND_BOOL:
        put_truth(v, found.integer)
    elif found.kind == KIND_DOUBLE:
        put_number(v, found.number)
    elif found.kind == KIND_STRING:
        v.kind = VALUE_TEXT
        v.length = found.length
        v.content.place = found.text
    else:
        return BEYOND
    return COMPUTED


cdef bint goes(uint8_t op, const json_value *v) noexcept:
    """Whether a jump on a value is taken."""
    if op == FANION_STEP_KEEP_VALUE:
        return v.kind != VALUE_NULL
    return truth_of(v) == (op == FANION_STEP_JUMP_TRUTHY or op == FANION_STEP_KEEP_TRUTHY)


cdef int body(
    run_state *r,
    Finder finder,
    list names,
    const scope *around,
    uint32_t at,
    uint32_t end,
    json_value *top,
    json_value *out,
) except -1:
    """Runs steps until `end`; `top` is the stack's first free place."""
    cdef const fanion_step *step
    cdef int takes
    cdef uint8_t op
    while at != end:
        step = &r.steps[at]
        op = step.op
        takes = fanion_step_takes[op]
        at += 1
        if spend(r, 1):
            return BEYOND
        if op == FANION_STEP_FIELD:
            if field(r, finder, names, step.operand, top - 1):
                return BEYOND
        elif takes == 0 and op <= FANION_STEP_ACCUMULATOR:
            if put(r, finder, step, around, top):
                return BEYOND
            top += 1
        elif op == FANION_STEP_JUMP:
            at = step.operand
        elif FANION_STEP_JUMP_FALSY <= op <= FANION_STEP_KEEP_VALUE:
            if goes(op, top - 1):
                at = step.operand
                if op <= FANION_STEP_JUMP_TRUTHY:
                    top -= 1
            else:
                top -= 1
        elif op >= FANION_STEP_MAP:
            top -= 2 if op == FANION_STEP_REDUCE else 1
            if turns(r, finder, names, op, at, step.operand, top):
                return BEYOND
            top += 1
            at = step.operand
        else:
            if takes < 0:
                takes = 1 if step.operand == FANION_SPREAD else step.operand
            top -= takes
            FANION_ASSERT(r.stack <= top and top < r.stack + FANION_STACK_MAX)
            if apply(r, finder, step, top, takes):
                return BEYOND
            top += 1
    out[0] = (top - 1)[0]
    return COMPUTED


cdef class Finder:
    """The base of whatever has the question; the Binder is the one there is."""

    cdef PyObject *find(self, uint32_t slot) except? NULL:
        """A looked-up slot's value in the context, borrowed; NULL where it is missing."""
        raise NotImplementedError

    cdef int bind(self, uint32_t slot) except -1:
        """Fills the slot's cell."""
        raise NotImplementedError


cdef class Expressions:
    """The expressions of one bundle, and the memory of their runs."""

    def __dealloc__(self):
        cdef int n
        for n in range(FANION_NESTED_MAX):
            free(self.arenas[n])

    cdef int attach(self, BundleView view) except -1:
        cdef uint32_t n, number
        self.s = &view.s
        self.names = [None] * view.s.counts[FANION_SECTION_CONSTANTS]
        for n in range(view.s.counts[FANION_SECTION_STEPS]):
            if view.s.steps[n].op == FANION_STEP_FIELD:
                number = view.s.steps[n].operand
                self.names[number] = view.text(view.s.constants[number].content.text)
        return 0

    cdef int run(self, Finder finder, uint32_t number, json_value *out) except -1:
        """COMPUTED or BEYOND. What a text or list points to is kept until the next run of this depth."""
        cdef const fanion_expression *one = &self.s.expressions[number]
        cdef run_state r
        cdef int depth = self.deep
        FANION_ASSERT(depth < FANION_NESTED_MAX)
        if self.arenas[depth] == NULL:
            self.arenas[depth] = <char *> malloc(FANION_ARENA_BYTES_MAX)
            if self.arenas[depth] == NULL:
                raise MemoryError
        r.s = self.s
        r.steps = &self.s.steps[one.step_first]
        r.arena = self.arenas[depth]
        r.used = 0
        r.spent = 0
        self.deep = depth + 1
        try:
            return body(&r, finder, self.names, NULL, 0, one.step_count, r.stack, out)
        finally:
            self.deep = depth
