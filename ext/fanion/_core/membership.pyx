"""Who is a member of segments, asked for many at once: a JSON array of objects with three texts, of which the first
two name a segment and the third is whom it is asked about. Knows no API. What is not plain it leaves to its caller.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fanion._core.evaluate cimport Bundle
from fanion._core.list_block cimport ListReader

from sys import intern


cdef extern from "Python.h":
    PyObject *PyTuple_GET_ITEM(object tuple, Py_ssize_t at)
    void PyTuple_SET_ITEM(object tuple, Py_ssize_t at, object item)

cdef extern from "fanion_json_text.h" nogil:
    ctypedef struct fanion_json_text:
        const uint8_t *at
        size_t length
    const uint8_t *fanion_json_blanks_end(const uint8_t *at, const uint8_t *end) noexcept
    const uint8_t *fanion_json_plain_text(const uint8_t *at, const uint8_t *end, fanion_json_text *text) noexcept

cdef extern from "fanion_short.h" nogil:
    int fanion_equal(const char *a, const char *b, size_t length) noexcept

cdef extern from "fanion_json_valid.h" nogil:
    const uint8_t *fanion_json_valid_end(const uint8_t *at, const uint8_t *end) noexcept


cdef class Membership:
    """Of a segment that is decided: one decision asked again and again, of bare contexts of which only the key
    differs. Says the same as `Bundle.evaluate` asked with each of them. `outcome`: the number of the one that means
    "member". A context of type `kind` has no attributes, and its key is the member `name` too."""

    cdef Bundle bundle
    cdef uint32_t decision
    cdef int64_t outcome
    cdef str name
    cdef dict members, nothing
    cdef tuple context, contexts    # of the last question; the bundle borrows from them, nobody else has them

    def __cinit__(
        self, Bundle bundle not None, uint32_t decision, int64_t outcome, str name not None, str kind not None
    ):
        self.bundle, self.decision, self.outcome = bundle, decision, outcome
        self.name = intern(name)
        self.members, self.nothing = {}, {}
        self.context = (intern(kind), kind, self.nothing)
        self.contexts = (self.context,)

    def holds(self, str key not None):
        """Raises IndexError for an unknown decision, ValueError where the bundle was closed. Ends its question."""
        return self.has(key) == 1

    cdef int has(self, str key) except -1:
        cdef PyObject *before = PyTuple_GET_ITEM(self.context, 1)
        self.members[self.name] = key
        if <PyObject *>key != before:  # tuples of its own: another key is put in its place
            Py_INCREF(key)
            PyTuple_SET_ITEM(self.context, 1, key)
            Py_DECREF(<object>before)
        self.bundle.begin(self.members, self.nothing, self.contexts)
        return <int64_t>self.bundle.decide_number(self.decision).number == self.outcome


cdef class Asked:
    """One call of `Answers.take`: which segments the texts of an object name."""

    cdef object find
    cdef dict known                    # (first text, second text) -> what `find` said
    cdef fanion_json_text last[2]      # the texts of the object before, borrowed from the body
    cdef ListReader within
    cdef ListReader but
    cdef Membership decided
    cdef bint found

    cdef int find_segment(self, const fanion_json_text *texts) except -1:
        """Sets `decided`, or `within` and `but`."""
        cdef size_t first = texts[0].length, second = texts[1].length
        if self.found and first == self.last[0].length and second == self.last[1].length:
            if not memcmp(texts[0].at, self.last[0].at, first) and not memcmp(texts[1].at, self.last[1].at, second):
                return 0
        key = (<bytes>texts[0].at[:first], <bytes>texts[1].at[:second])
        if key in self.known:
            segment = self.known[key]
        else:
            segment = self.known[key] = self.find(key[0].decode(), key[1].decode())
        self.decided = self.within = self.but = None
        if isinstance(segment, Membership):
            self.decided = segment
        else:
            self.within, self.but = segment
        self.last[0], self.last[1] = texts[0], texts[1]
        self.found = True
        return 0

    cdef int holds(self, const fanion_json_text *text) except -1:
        if self.decided is not None:
            return self.decided.has(PyUnicode_DecodeUTF8(<const char *>text.at, text.length, NULL))
        if self.within is None or self.within.has(text.at, text.length) == 0:
            return 0
        return self.but is None or self.but.has(text.at, text.length) == 0


cdef inline const uint8_t *named(const uint8_t *at, const uint8_t *end, const fanion_json_text *name) noexcept nogil:
    """Behind a member's name and its colon where it is written as it mostly is, else NULL."""
    if <size_t>(end - at) < name.length + 3 or at[0] != b'"':
        return NULL
    if at[name.length + 1] != b'"' or at[name.length + 2] != b":":
        return NULL
    return at + name.length + 3 if fanion_equal(<const char *>at + 1, <const char *>name.at, name.length) else NULL


cdef const uint8_t *read_texts(
    const uint8_t *at, const uint8_t *end, const fanion_json_text *names, fanion_json_text *texts, bint extras,
    uint8_t *usual,
) noexcept nogil:
    """Behind the object that begins at `at`, with its three texts; NULL where it isn't plain. `usual`: which of the
    three stood first, second and third in the object before."""
    cdef fanion_json_text name
    cdef const uint8_t *behind
    cdef int which
    cdef int given = 0
    cdef int place = 0
    if at == end or at[0] != b"{":
        return NULL
    while True:
        at = fanion_json_blanks_end(at + 1, end)
        which = usual[place] if place < 3 else 0
        behind = named(at, end, &names[which])
        if behind == NULL:
            at = fanion_json_plain_text(at, end, &name)
            if at == NULL:
                return NULL
            at = fanion_json_blanks_end(at, end)
            if at == end or at[0] != b":":
                return NULL
            behind = at + 1
            which = 0
            while which < 3 and not (
                name.length == names[which].length and memcmp(name.at, names[which].at, name.length) == 0
            ):
                which += 1
            if which < 3 and place < 3:
                usual[place] = <uint8_t>which
        place += 1
        at = fanion_json_blanks_end(behind, end)
        if which < 3 and not given & (1 << which):
            given |= 1 << which
            at = fanion_json_plain_text(at, end, &texts[which])
        elif which == 3 and extras:
            at = fanion_json_valid_end(at, end)
        else:
            return NULL
        if at == NULL:
            return NULL
        at = fanion_json_blanks_end(at, end)
        if at == end or at[0] != b",":
            break
    return at + 1 if at < end and at[0] == b"}" and given == 7 else NULL


cdef class Answers:
    """The answers to `[{...}, ...]`, made in one pass or several.

    `names`: of the members that each object has, three texts. `answers`: what is written of one, (no, yes). None is
    taken with a third text above `text_max` bytes, with escapes, with a name given twice, and, without `extras`, with
    members of other names; with it, with some that aren't JSON. The body has to be UTF-8.
    """

    cdef bytes body
    cdef tuple names
    cdef bytes no, yes
    cdef size_t text_max
    cdef bint extras
    cdef const uint8_t *at     # in the body: before the next object; NULL before the first, and behind the last
    cdef char *out             # owned; as much as there may be
    cdef size_t length         # of what is written, each answer with a comma behind it
    cdef object unknown        # the KeyError of the first segment that isn't known

    def __cinit__(
        self, bytes body not None, tuple names not None, tuple answers not None, size_t text_max, bint extras
    ):
        cdef Py_ssize_t least = sum(map(len, names)) + 17  # bytes of an object: quotes, colons, commas and brackets
        self.body, self.names, self.text_max, self.extras = body, names, text_max, extras
        self.no, self.yes = answers
        if len(names) != 3:
            raise ValueError("an object has three texts")
        if not all(name.isalnum() for name in [one.replace(b"_", b"") for one in names]):
            raise ValueError("names are compared as they are written: letters, digits and underscores")
        self.out = <char *>malloc((len(body) // least + 1) * (max(len(self.no), len(self.yes)) + 1) + 2)
        if self.out == NULL:
            raise MemoryError
        self.out[0] = b"["
        self.length = 1

    def __dealloc__(self):
        free(self.out)

    def take(self, find, uint32_t decided_max):
        """Answers the rest, or as much of it as asks for `decided_max` decisions: True when all is answered, False
        when more is left, None when the body is to be read another way.

        `find(first, second)` says which segment two texts name: a Membership, or in which list the third one has to
        stand and in which not (readers; None: an empty list). What it raises is raised; a KeyError when all of the
        body was seen to be plain. Raises ValueError as `ListReader.holds`.
        """
        cdef const uint8_t *at = self.at
        cdef const uint8_t *end = <const uint8_t *>PyBytes_AS_STRING(self.body) + PyBytes_GET_SIZE(self.body)
        cdef fanion_json_text own[3]
        cdef fanion_json_text texts[3]
        cdef Asked asked = Asked()
        cdef bytes name
        cdef uint32_t decided = 0
        cdef uint8_t usual[3]
        cdef int which = 0
        for name in self.names:
            own[which].at, own[which].length = <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)
            usual[which] = <uint8_t>which
            which += 1
        asked.find, asked.known = find, {}
        if at == NULL:
            at = fanion_json_blanks_end(<const uint8_t *>PyBytes_AS_STRING(self.body), end)
            if at == end or at[0] != b"[":
                return None
            at = fanion_json_blanks_end(at + 1, end)
        while at < end and at[0] != b"]":
            if decided == decided_max:
                self.at = at
                return False
            at = read_texts(at, end, own, texts, self.extras, usual)
            if at == NULL or texts[2].length > self.text_max:
                return None
            if self.unknown is None:
                try:
                    asked.find_segment(texts)
                except KeyError as error:
                    self.unknown = error
            if self.unknown is None:
                decided += asked.decided is not None
                name = self.yes if asked.holds(&texts[2]) else self.no
                memcpy(self.out + self.length, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
                self.length += PyBytes_GET_SIZE(name)
                self.out[self.length] = b","
                self.length += 1
            at = fanion_json_blanks_end(at, end)
            if at < end and at[0] == b",":
                at = fanion_json_blanks_end(at + 1, end)
                if at == end or at[0] != b"{":
                    return None
        if at == end or fanion_json_blanks_end(at + 1, end) != end:
            return None
        if self.unknown is not None:
            raise self.unknown
        return True

    def list(self):
        """What was answered, as a JSON array."""
        return PyBytes_FromStringAndSize(self.out, self.length - (self.length > 1)) + b"]"
