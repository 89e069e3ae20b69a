"""Deciding on a bundle: questions, and answers put together from its ready fragments.

One `Bundle` belongs to one thread (a worker's event loop) and answers one question at a time. A slot is
bound when a node first reads it, once a question, however many answers are asked of it. Leaves that need a library
stop the kernel; `external` answers them under the GIL, once a question, and the run resumes where it stopped.
"""

cimport cython
import msgspec

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fanion._core.bundle import Refused

from fanion._core.binding cimport Binder
from fanion._core.emit_json cimport fanion_copy, output, put, put_json_text
from fanion._core.exposures cimport Exposing, Recorder
from fanion._core.kernel cimport enter, run
from fanion._core.layout cimport *
from fanion._core.machine cimport *
from fanion._core.match cimport cell

ABSENT = -1
"""The resolution of a key that is not there, or that the caller may not see."""

cdef enum:
    RESOLUTION_ABSENT = -1
    KEPT_MAX = 1024         # answers kept of one bundle; a power of two
    KEPT_BYTES_MAX = 512    # of an answer that is kept, so that a bundle keeps half a megabyte at most


cdef void *allocate(size_t count, size_t size) except NULL:
    cdef void *made = calloc(count + 1, size)
    if made == NULL:
        raise MemoryError
    return made


cdef class Bundle(BundleView):
    """A verified bundle, ready to decide.

    `Bundle(buffer, external=None)` raises ValueError where the bytes do not verify. `external(op, operand, text)`
    answers TEXT_REGEX, STRING_REGEX and LIST_MEMBER; without it they are false.
    """

    def __cinit__(self, buffer, external=None):
        cdef uint32_t n
        self.external = external
        self.machine.s = &self.s
        self.machine.cells = <cell *> allocate(self.slot_count, sizeof(cell))
        self.machine.memos = <memo_cell *> allocate(self.memo_count, sizeof(memo_cell))
        self.machine.externals = <external_cell *> allocate(self.external_count, sizeof(external_cell))
        self.seen = <uint64_t *> allocate(self.s.counts[FANION_SECTION_ENTRIES], sizeof(uint64_t))
        self.binder = Binder()
        self.binder.attach(self, &self.machine)
        self.external_operands = [
            self.text(self.s.externals[n].operand) for n in range(self.external_count)
        ]
        self.tables = {
            self.text(self.s.tables[n].name): n for n in range(self.s.counts[FANION_SECTION_TABLES])
        }
        self.read_meta()

    def __dealloc__(self):
        cdef uint32_t n
        if self.machine.cells != NULL:
            for n in range(self.slot_count):
                free(self.machine.cells[n].buffer)
                free(self.machine.cells[n].strings)
        free(self.machine.cells)
        free(self.machine.memos)
        free(self.machine.externals)
        free(self.machine.scratch)
        free(self.seen)
        free(self.kept)
        free(self.out.data)

    cdef int read_meta(self) except -1:
        try:
            meta = msgspec.json.decode(
                PyBytes_FromStringAndSize(self.s.meta, self.s.counts[FANION_SECTION_META])
            )
            self.environment = meta["environment"]
            self.identifiers = meta["identifiers"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Refused(f"the meta section is not what it should be: {error!r}") from None
        return 0

    # -- what a dialect asks

    def table(self, str name):
        """The number of a dialect's table, -1 where this environment does not serve that dialect."""
        return self.tables.get(name, -1)

    def document(self, str name):
        """A stored document as bytes, or None."""
        cdef uint32_t n
        self.require()
        for n in range(self.s.counts[FANION_SECTION_DOCUMENTS]):
            if self.text(self.s.documents[n].name) == name:
                return PyBytes_FromStringAndSize(
                    self.s.blob + self.s.documents[n].content.offset, self.s.documents[n].content.length
                )
        return None

    def expose(
        self, int table, Recorder recorder not None, str dialect not None, tuple places not None, *, bint assigned,
        bint anonymous, carried, bytes key=None,
    ):
        """From now on what a table's answers were reached through is recorded: see `exposures.Exposing`. Answers that
        return everything, `put_each` and an overlay's of all keys, only where `assigned`."""
        cdef Exposing made
        self.require()
        made = Exposing(
            recorder, dialect, self.environment, places, assigned=assigned, anonymous=anonymous, carried=carried,
            key=key,
        )
        made.salt(&self.s, self.environment, key)
        if self.exposing is None:
            self.exposing = [None] * self.s.counts[FANION_SECTION_TABLES]
        self.exposing[table] = made
        self.recorder = recorder

    def ask(self, dict members, dict attributes, tuple contexts):
        """A question about one context, for any number of answers. It ends the question before it.

        `contexts`: (type, key, attributes) each. Nothing in the context may change while answers are asked for.
        """
        cdef Question made = Question.__new__(Question)
        self.begin(members, attributes, contexts)
        made.bundle = self
        made.stamp = self.machine.stamp
        made.members = members
        made.attributes = attributes
        made.contexts = contexts
        return made

    # -- one answer in one call; each is a question of its own

    def put_one(
        self,
        int table,
        str key not None,
        bint client,
        dict members,
        dict attributes,
        tuple contexts,
        bytes prefix not None,
        bytes suffix not None,
    ):
        """prefix + the key's fragment + suffix; the table's `absent` fragment where `key` may not be seen.

        A hole in a fragment is written as nothing.
        """
        self.begin(members, attributes, contexts)
        self.out.length = 0
        put(&self.out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
        self.put_entry(self.visible(table, key, client), table)
        put(&self.out, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        if self.noted:
            self.publish()
        return PyBytes_FromStringAndSize(self.out.data, self.out.length)

    def put_map(
        self,
        int table,
        list keys not None,
        bint client,
        dict members,
        dict attributes,
        tuple contexts,
        bytes prefix not None,
        bytes suffix not None,
    ):
        """As `Question.put_map`."""
        self.begin(members, attributes, contexts)
        return map_of(self, table, keys, client, prefix, suffix)

    def resolve(self, int table, str key not None, bint client, dict members, dict attributes, tuple contexts):
        """(resolution or ABSENT, fragment, rest), as `Question.put_each` gives them."""
        cdef tuple found
        self.begin(members, attributes, contexts)
        found = self.resolution(table, key, client, False)
        if self.noted:
            self.publish()
        return found

    def evaluate(self, uint32_t decision, dict members, dict attributes, tuple contexts):
        """(outcome number, bucket or -1) of a decision by its number. Raises IndexError for an unknown one."""
        self.begin(members, attributes, contexts)
        return self.decide_number(decision).number, self.machine.frames[0].bucket

    def choose(self, uint32_t decision, dict members, dict attributes, tuple contexts):
        """(choice or -1, probability, vector or -1) of a decision by its number, IndexError as above."""
        self.begin(members, attributes, contexts)
        self.decide_number(decision)
        return registers(&self.machine)

    # -- what needs no context

    def decision(self, int table, str key not None):
        """The number of the decision that a table's key is read from, -1 where the table has no such key."""
        cdef const fanion_entry *entry
        self.require()
        entry = self.visible(table, key, False)
        return -1 if entry == NULL else <int64_t> entry.decision

    def vector(self, uint32_t number):
        """(key, weights, note) of the weights that `choose` named."""
        cdef const fanion_vector *found
        cdef uint32_t n
        self.require()
        if number >= self.s.counts[FANION_SECTION_VECTORS]:
            raise IndexError(f"vector {number} of {self.s.counts[FANION_SECTION_VECTORS]}")
        found = &self.s.vectors[number]
        weights = [self.s.numbers[found.first + n] for n in range(found.count)]
        return self.text(found.key), weights, self.text(found.note)

    def repeat(self, uint32_t decision, uint32_t count, dict members, dict attributes, tuple contexts):
        """For benches: binds once, then runs the kernel alone `count` times. Returns the last outcome number."""
        cdef uint32_t _, outcome = 0
        cdef machine *m = &self.machine
        self.evaluate(decision, members, attributes, contexts)
        with nogil:
            for _ in range(count):
                m.depth = 0
                m.frames[0].at = 0
                m.frames[0].bucket = -1
                if run(m) != RUN_DONE:
                    break
                outcome += m.frames[0].at
        return outcome

    # -- one question

    cdef int begin(self, object members, object attributes, object contexts) except -1:
        self.require()
        self.binder.borrow(members, attributes, contexts)
        self.noted = False
        self.machine.stamp += 1
        if self.machine.stamp == 0:
            self.forget()
        return 0

    cdef int forget(self) except -1:
        """After 2**32 questions: forgets every stamp, then starts over."""
        cdef uint32_t n
        for n in range(self.slot_count):
            self.machine.cells[n].stamp = 0
        memset(self.machine.memos, 0, self.memo_count * sizeof(memo_cell))
        memset(self.machine.externals, 0, self.external_count * sizeof(external_cell))
        self.machine.stamp = 1
        return 0

    cdef const fanion_entry *visible(self, int table, str key, bint client) except? NULL:
        """The entry of a key that the caller may see, else NULL: the one place where visibility is decided."""
        cdef Py_ssize_t length = 0
        cdef const char *text
        cdef const fanion_entry *entry
        if table < 0 or table >= <int> self.s.counts[FANION_SECTION_TABLES]:
            raise IndexError(f"table {table} of {self.s.counts[FANION_SECTION_TABLES]}")
        text = PyUnicode_AsUTF8AndSize(key, &length)
        entry = self.find(&self.s.tables[table], text, length)
        if entry != NULL and client and not entry.client_safe:
            return NULL
        return entry

    cdef uint32_t fragment_of(
        self, const fanion_entry *entry, int table, int *resolution, bint assigned
    ) except? 0xFFFFFFFF:
        """The number of an entry's fragment, decided; of the table's `absent` one where `entry` is NULL."""
        cdef const fanion_outcome *outcome
        if entry == NULL:
            resolution[0] = RESOLUTION_ABSENT
            return self.s.tables[table].absent
        outcome = self.decide(entry.decision)
        if outcome.reached_count and self.exposing is not None:
            self.note(outcome, table, assigned)
        resolution[0] = outcome.resolution
        return entry.fragment_first + outcome.number

    cdef tuple resolution(self, int table, str key, bint client, bint assigned):
        return self.resolved(self.visible(table, key, client), table, assigned)

    cdef tuple resolved(self, const fanion_entry *entry, int table, bint assigned):
        """As `put_each` says. A bundle never changes, so short answers are made once and kept, the last one asked for
        in each place."""
        cdef int resolution = RESOLUTION_ABSENT
        cdef uint32_t number = self.fragment_of(entry, table, &resolution, assigned)
        cdef uint32_t place = number & self.kept_mask
        cdef kept_answer *kept = NULL if self.kept == NULL else &self.kept[place]
        cdef tuple made
        if kept != NULL and kept.fragment == number + 1 and kept.resolution == resolution:
            return <tuple> self.kept_answers[place]
        made = self.make_resolution(number, resolution)
        self.keep(number, resolution, made)
        return made

    cdef int keep(self, uint32_t number, int resolution, tuple made) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(<bytes> made[1])
        cdef uint32_t places = 1
        if made[2] is not None:
            size += PyBytes_GET_SIZE(<bytes> made[2])
        if size > KEPT_BYTES_MAX:
            return 0
        if self.kept == NULL:
            while places < KEPT_MAX and places < self.s.counts[FANION_SECTION_FRAGMENTS]:
                places *= 2
            self.kept_answers = [None] * places
            self.kept = <kept_answer *> allocate(places, sizeof(kept_answer))
            self.kept_mask = places - 1
        self.kept[number & self.kept_mask].fragment = number + 1
        self.kept[number & self.kept_mask].resolution = resolution
        self.kept_answers[number & self.kept_mask] = made
        return 0

    cdef tuple make_resolution(self, uint32_t number, int resolution):
        cdef const fanion_fragment *fragment = &self.s.fragments[number]
        cdef uint32_t first = fragment.rope_first, end = first + fragment.rope_count, hole = first
        FANION_ASSERT(number < self.s.counts[FANION_SECTION_FRAGMENTS])
        FANION_ASSERT(within(&self.s, FANION_SECTION_ROPES, first, fragment.rope_count))
        while hole < end and self.s.ropes[hole].offset != FANION_NONE:
            hole += 1
        return (
            resolution,
            joined(&self.s, first, hole),
            None if hole == end else joined(&self.s, hole, end),
        )

    cdef int put_entry(self, const fanion_entry *entry, int table) except -1:
        if entry == NULL:
            return self.put_fragment(self.s.tables[table].absent)
        cdef const fanion_outcome *outcome = self.decide(entry.decision)
        if outcome.reached_count and self.exposing is not None:
            self.note(outcome, table, False)
        return self.put_fragment(entry.fragment_first + outcome.number)

    cdef int note(self, const fanion_outcome *outcome, int table, bint assigned) except -1:
        """What an answer of this table was reached through; `publish` ends the question's record."""
        cdef Exposing exposing = <Exposing> self.exposing[table]
        if exposing is not None and exposing.note(self.binder, outcome, assigned, not self.noted):
            self.noted = True
        return 0

    cdef int publish(self) except -1:
        self.noted = False
        return self.recorder.publish()

    cdef int put_head(self, uint32_t number) except -1:
        """A fragment as far as its first hole."""
        cdef const fanion_fragment *fragment = &self.s.fragments[number]
        cdef uint32_t n
        FANION_ASSERT(number < self.s.counts[FANION_SECTION_FRAGMENTS])
        FANION_ASSERT(within(&self.s, FANION_SECTION_ROPES, fragment.rope_first, fragment.rope_count))
        for n in range(fragment.rope_first, fragment.rope_first + fragment.rope_count):
            if self.s.ropes[n].offset == FANION_NONE:
                break
            FANION_ASSERT(readable(&self.s, self.s.ropes[n]))
            put(&self.out, self.s.blob + self.s.ropes[n].offset, self.s.ropes[n].length)
        return 0

    cdef int put_fragment(self, uint32_t number) except -1:
        cdef const fanion_fragment *fragment = &self.s.fragments[number]
        cdef const fanion_text *rope = &self.s.ropes[fragment.rope_first]
        cdef const fanion_text *end = rope + fragment.rope_count
        FANION_ASSERT(number < self.s.counts[FANION_SECTION_FRAGMENTS])
        FANION_ASSERT(within(&self.s, FANION_SECTION_ROPES, fragment.rope_first, fragment.rope_count))
        while rope != end:
            if rope.offset != FANION_NONE:
                FANION_ASSERT(readable(&self.s, rope[0]))
                put(&self.out, self.s.blob + rope.offset, rope.length)
            rope += 1
        return 0

    cdef const fanion_outcome *decide_number(self, uint32_t decision) except NULL:
        if decision >= self.s.counts[FANION_SECTION_DECISIONS]:
            raise IndexError(f"decision {decision} of {self.s.counts[FANION_SECTION_DECISIONS]}")
        return self.decide(decision)

    cdef const fanion_outcome *decide(self, uint32_t decision) except NULL:
        """Runs a decision, binding slots as it reads them; frame 0 of the machine then holds its registers."""
        cdef machine *m = &self.machine
        cdef int status
        enter(m, decision)
        status = run(m)
        while status != RUN_DONE:
            if status == RUN_UNBOUND:
                self.binder.bind(m.wanted)
            elif status == RUN_EXTERNAL:
                self.answer_external()
            else:
                raise MemoryError
            status = run(m)
        return &m.frames[0].nodes[m.frames[0].at].outcome

    cdef int answer_external(self) except -1:
        cdef uint32_t number = self.machine.wanted
        cdef const cell *value = &self.machine.cells[self.s.externals[number].slot]
        cdef bint passed = False
        if self.external is not None:
            text = PyUnicode_DecodeUTF8(value.text, value.length, "strict")
            passed = self.external(self.s.externals[number].op, self.external_operands[number], text)
        self.machine.externals[number].stamp = self.machine.stamp
        self.machine.externals[number].passed = passed
        return 0


cdef bytes map_of(Bundle bundle, int table, list keys, bint client, bytes prefix, bytes suffix):
    """The current question's answer, as `Question.put_map` says."""
    cdef output *out = &bundle.out
    cdef const fanion_entry *entry
    cdef uint32_t number
    cdef Py_ssize_t length = 0
    cdef const char *text
    cdef bint first = True
    cdef set absent = None
    bundle.maps += 1
    out.length = 0
    put(out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
    for key in keys:
        entry = bundle.visible(table, key, client)
        if entry != NULL:
            number = <uint32_t> (entry - bundle.s.entries)
            if bundle.seen[number] == bundle.maps:
                continue
            bundle.seen[number] = bundle.maps
        else:
            if absent is None:
                absent = set()
            elif key in absent:
                continue
            absent.add(key)
        if not first:
            put(out, b",", 1)
        first = False
        if entry != NULL:
            put(out, bundle.s.blob + entry.json.offset, entry.json.length)
        else:
            text = PyUnicode_AsUTF8AndSize(key, &length)
            put_json_text(out, text, length)
        put(out, b":{", 2)
        bundle.put_entry(entry, table)
        put(out, b"}", 1)
    put(out, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
    if bundle.noted:
        bundle.publish()
    return PyBytes_FromStringAndSize(out.data, out.length)


cdef tuple registers(const machine *m):
    cdef const frame *f = &m.frames[0]
    return f.choice, f.probability, -1 if f.vector == FANION_NONE else <int64_t> f.vector


cdef bytes joined(const fanion_sections *s, uint32_t first, uint32_t end):
    """Pieces of a fragment as one text, without holes."""
    cdef size_t size = 0, at = 0
    cdef uint32_t n
    cdef bytes made
    for n in range(first, end):
        if s.ropes[n].offset != FANION_NONE:
            FANION_ASSERT(readable(s, s.ropes[n]))
            size += s.ropes[n].length
    made = PyBytes_FromStringAndSize(NULL, size)
    for n in range(first, end):
        if s.ropes[n].offset != FANION_NONE:
            fanion_copy(PyBytes_AS_STRING(made) + at, s.blob + s.ropes[n].offset, s.ropes[n].length)
            at += s.ropes[n].length
    return made


@cython.final
@cython.freelist(8)
cdef class Question:
    """One context that a bundle is asked about, for any number of answers. Made by `Bundle.ask` alone.

    Every use raises RuntimeError once the bundle was asked anything else, and ValueError once it was closed.
    """

    def put_each(self, int table, list keys not None, bint client):
        """[(resolution or ABSENT, fragment, rest)], one for each key in order, repeated ones too.

        A fragment goes as far as its first hole; `rest` is what stands behind it, None where there is no hole. An
        ABSENT key has the table's `absent` fragment.
        """
        cdef list found = []
        cdef str key
        self.check()
        for key in keys:
            found.append(self.bundle.resolution(table, key, client, True))
        if self.bundle.noted:
            self.bundle.publish()
        return found

    def put_list(self, int table, list keys not None, bint client):
        """The fragments of `put_each` that aren't empty, commas between."""
        cdef Bundle bundle = self.bundle
        cdef str key
        cdef size_t before, begin
        cdef int resolution = RESOLUTION_ABSENT
        self.check()
        bundle.out.length = 0
        for key in keys:
            before = begin = bundle.out.length
            if before:
                put(&bundle.out, b",", 1)
                begin += 1
            bundle.put_head(bundle.fragment_of(bundle.visible(table, key, client), table, &resolution, True))
            if bundle.out.length == begin:
                bundle.out.length = before
        if bundle.noted:
            bundle.publish()
        return PyBytes_FromStringAndSize(bundle.out.data, bundle.out.length)

    def put_map(self, int table, list keys not None, bint client, bytes prefix not None, bytes suffix not None):
        """prefix, then `"key":{fragment}` for each key in order, commas between, then suffix.

        A key that stands twice is written at its first place only. A hole is written as nothing.
        """
        self.check()
        return map_of(self.bundle, table, keys, client, prefix, suffix)

    def evaluate(self, uint32_t decision):
        """(outcome number, bucket or -1) of a decision by its number. Raises IndexError for an unknown one."""
        self.check()
        return self.bundle.decide_number(decision).number, self.bundle.machine.frames[0].bucket

    def choose(self, uint32_t decision):
        """(choice or -1, probability, vector or -1) of a decision by its number, IndexError as above."""
        self.check()
        self.bundle.decide_number(decision)
        return registers(&self.bundle.machine)

    cdef int check(self) except -1:
        if self.bundle is None:
            raise RuntimeError("a question is made by Bundle.ask")
        self.bundle.require()
        if self.stamp != self.bundle.machine.stamp:
            raise RuntimeError("the bundle was asked something else since this question")
        return 0
