"""Asking in process, for flat contexts: what `fanion.inprocess` does for every evaluation.

A `FlatReader` has one bundle for itself and answers the flags of which it has a plan; the same in plain Python, and
everything else, is what the dialect of flat contexts says. `FlatFront` keeps the readers of the generation in force.
Everything here runs under the GIL and lets go of it only inside a bundle's external leaves (Python code): a reader
that is busy isn't idle, so two threads never meet in one bundle. The module doesn't declare that it can do without
the GIL, so a free-threaded Python takes it back when this is imported.
"""

cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_CheckExact, PyDict_Copy, PyDict_DelItem, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint64_t, uintptr_t

from fanion._core.evaluate cimport Bundle
from fanion._core.shared cimport fanion_u64_load_acquire


cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC_COARSE
    int clock_gettime(int clock, timespec *now)

cdef enum:
    ANSWERS_MAX = 10_000    # decoded answers that a reader keeps

cdef str TARGETING_KEY = "targetingKey"
cdef dict NO_MEMBERS = {}
cdef tuple NO_CONTEXTS = ()


def address_of(buffer):
    """Where a buffer's bytes lie in this process."""
    cdef Py_buffer held
    cdef uintptr_t found
    PyObject_GetBuffer(buffer, &held, PyBUF_SIMPLE)
    found = <uintptr_t> held.buf
    PyBuffer_Release(&held)
    return found


@cython.final
cdef class FlatPlan:
    """How a flag reads a flat context, as `fanion.model.shape.ContextShape` says it: `name` of its entry, the member
    `subject` and the attribute `unit` that the targeting key becomes (None: neither), `members` as (attribute,
    member, "text" | "texts" | None for any), `context_type` of the context that the attributes make (None: none),
    whose key the targeting key is where it is `keyed`. A context with one of `nested` is asked another way."""

    cdef str name
    cdef str subject
    cdef str unit
    cdef tuple members
    cdef str context_type
    cdef bint keyed
    cdef tuple nested

    def __init__(
        self, str name not None, str subject, str unit, tuple members not None, str context_type, bint keyed,
        tuple nested not None,
    ):
        self.name = name
        self.subject = subject
        self.unit = unit
        self.members = members
        self.context_type = context_type
        self.keyed = keyed
        self.nested = nested


cdef bint fits(PyObject *value, str kind):
    if kind is None:
        return True
    if kind == "text":
        return PyUnicode_Check(<object> value)
    if not isinstance(<object> value, list):
        return False
    for one in <list> value:
        if not PyUnicode_Check(one):
            return False
    return True


@cython.final
cdef class FlatReader:
    """`plan(key)` makes a key's plan, None where it has to be asked another way; `decode(answer)` makes what is
    given back (its `value` the flag's), None for an error. `own`: the context's member that is no attribute. `kept`
    lives as long as the reader, as what the bundle is mapped from."""

    cdef Bundle bundle
    cdef int table
    cdef str own
    cdef object make_plan
    cdef object decode
    cdef readonly object kept
    cdef dict plans
    cdef dict answers

    def __init__(self, Bundle bundle not None, int table, str own not None, plan, decode, kept):
        self.bundle = bundle
        self.table = table
        self.own = own
        self.make_plan = plan
        self.decode = decode
        self.kept = kept
        self.plans = {}
        self.answers = {}

    def ask(self, key, context):
        """The decoded answer, or None: ask the other way. Raises UnicodeEncodeError for text that isn't whole."""
        return self.answer(key, context)

    def resolve(self, key, context):
        """As `Bundle.resolve` of a flag: (resolution, answer, rest), or None: ask the other way. Nothing in the
        context is changed. Raises as `ask`."""
        cdef tuple made = self.resolution(key, context)
        if self.bundle.noted:
            self.bundle.publish()
        return made

    cdef object answer(self, object key, object context):
        cdef PyObject *found
        cdef tuple made = self.resolution(key, context)
        if made is None:
            return None
        found = PyDict_GetItemWithError(self.answers, made[1])
        if found != NULL:
            return <object> found
        return self.decoded(made[1])

    cdef tuple resolution(self, object key, object context):
        cdef PyObject *found
        cdef FlatPlan plan
        cdef dict attributes, members = NO_MEMBERS
        cdef tuple contexts = NO_CONTEXTS
        if not PyDict_CheckExact(context) or not PyUnicode_Check(key):
            return None
        found = PyDict_GetItemWithError(self.plans, key)
        plan = <FlatPlan> found if found != NULL else self.planned(key)
        if plan is None:
            return None
        found = PyDict_GetItemWithError(context, TARGETING_KEY)
        if found == NULL or not PyUnicode_Check(<object> found):
            return None
        if PyDict_GetItemWithError(context, self.own) != NULL:
            return None
        targeting_key = <object> found
        for attribute in plan.nested:
            if PyDict_GetItemWithError(context, attribute) != NULL:
                return None
        attributes = PyDict_Copy(context)
        PyDict_DelItem(attributes, TARGETING_KEY)
        if plan.members or plan.subject is not None:
            members = {}
            for attribute, member, kind in plan.members:
                found = PyDict_GetItemWithError(attributes, attribute)
                if found != NULL:
                    if fits(found, kind):
                        PyDict_SetItem(members, member, <object> found)
                    PyDict_DelItem(attributes, attribute)
            if plan.subject is not None:
                PyDict_SetItem(members, plan.subject, targeting_key)
        if plan.unit is not None and PyDict_GetItemWithError(attributes, plan.unit) == NULL:
            PyDict_SetItem(attributes, plan.unit, targeting_key)
        if plan.context_type is not None:
            contexts = ((plan.context_type, targeting_key if plan.keyed else "", attributes),)
            attributes = {}
        self.bundle.begin(members, attributes, contexts)
        return self.bundle.resolution(self.table, plan.name, False, False)

    cdef FlatPlan planned(self, key):
        cdef FlatPlan plan = self.make_plan(key)
        if len(self.plans) >= ANSWERS_MAX:
            self.plans.clear()
        self.plans[key] = plan
        return plan

    cdef object decoded(self, answer):
        """An object isn't kept, since it may change in its asker's hands."""
        made = self.decode(answer)
        if made is None or isinstance(made.value, (dict, list)):
            return made
        if len(self.answers) >= ANSWERS_MAX:
            self.answers.clear()
        self.answers[answer] = made
        return made


@cython.no_gc_clear  # a collector that cleared the buffer's owner would find it in use
cdef class FlatFront:
    """The way in: the readers that are idle, while the generation word says what it said when they were made, within
    the second of the clock in which anything was looked at. Everything else is the subclass's `ask_otherwise`."""

    cdef Py_buffer word_buffer
    cdef const uint64_t *word      # NULL: everything goes the other way
    cdef uint64_t seen
    cdef time_t second
    cdef list idle

    def __dealloc__(self):
        self.let_go()

    cdef void let_go(self) noexcept:
        if self.word != NULL:
            self.word = NULL
            PyBuffer_Release(&self.word_buffer)

    def watch(self, word, uint64_t seen, list idle not None):
        """From here on: `word`, a buffer of 8 bytes that others write, while it says `seen`; None: no fast way."""
        self.let_go()
        self.idle = idle
        self.seen = seen
        self.second = coarse_second()
        if word is not None:
            PyObject_GetBuffer(word, &self.word_buffer, PyBUF_SIMPLE)
            self.word = <const uint64_t *> self.word_buffer.buf

    cdef bint is_fresh(self) noexcept:
        return (
            self.word != NULL
            and fanion_u64_load_acquire(self.word) == self.seen
            and self.second == coarse_second()
        )

    def due(self):
        """Whether something has to be looked at: the word says another generation, or another second has begun."""
        return not self.is_fresh()

    def evaluate(self, key, context):
        """One flag's answer to a flat context. Raises EvaluationError, StoreError.

        `context`: JSON's types by name, `targetingKey` who is asked for; nothing in it is changed.
        """
        cdef list idle = self.idle
        cdef FlatReader reader
        if self.is_fresh() and idle:
            reader = <FlatReader> idle.pop()
            try:
                answer = reader.answer(key, context)
            except UnicodeEncodeError:
                answer = None
            finally:
                idle.append(reader)
            if answer is not None:
                return answer
        return self.ask_otherwise(key, context)

    def ask_otherwise(self, key, context):
        raise NotImplementedError


cdef time_t coarse_second() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return now.tv_sec
