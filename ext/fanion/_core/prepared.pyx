"""Prepared questions: SDKs ask for the same list of keys again and again, so what it resolved to is kept.

A list is found by its bytes as they stand in a request's body (`fanion_list_place.h`): they are compared whole,
under a keyed hash, with lists that were decoded and looked up when they came for the second time. One
`PreparedLists` belongs to one table of one bundle, so to one generation of one environment, and dies with it; it
holds numbers of the bundle's entries and no pointers. What it may hold is bounded for itself and for the process;
where there is no room, one of its lists that wasn't asked for lately goes; where others fill the process's, none is
kept. So is the work: of 32 lists that come one may be prepared, after a first 64, so that a flood of lists which
come twice each costs little. Event loop only, as its bundle.

Decision, 2026-11: the hash is NH with the process's own random key, then SipHash of that sum, which takes a tenth of
what SipHash over the whole list does. Whoever sends lists can't choose where they land, and if he could, they would
only drive each other out.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fanion._core.emit_json cimport output, put, put_json_text
from fanion._core.evaluate cimport Bundle
from fanion._core.layout cimport FANION_NONE, fanion_entry


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1
    void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out) noexcept


cdef extern from "fanion_list_place.h" nogil:
    ctypedef struct fanion_token:
        const char *text
        size_t length
    ctypedef struct fanion_list_place:
        fanion_token before, member, after, ends
    ctypedef struct fanion_list_found:
        const char *list
        size_t length
        fanion_token rest[2]
    int fanion_list_find(
        const char *body, size_t size, const fanion_list_place *place, fanion_list_found *found
    ) noexcept
    uint64_t fanion_keyed_sum(const uint32_t *key, const char *text, size_t length) noexcept


LIST_BYTES_MAX = 16_384
TOTAL_BYTES_MAX = 8 << 20
"""Of all lists that a process keeps."""
OWN_BYTES_MAX = 2 << 20
"""Of those that one `PreparedLists` keeps."""

cdef enum:
    LIST_BYTES = 16_384
    KEY_WORDS = 4_104            # of the sum's key: as many bytes as a list, and two rounds
    WAYS = 4
    SETS = 128
    PLACES = SETS * WAYS         # lists that one PreparedLists keeps at most
    SEEN = 1024                  # lists that it remembers to have seen once; a power of two
    COST = 32                    # of preparing a list, in requests: it takes as long as one answer for the same keys
    CREDIT_MAX = 64 * COST       # lists that may be prepared one after the other
    OVERHEAD = 256               # bytes of a list beside those that are counted one by one
    NAME_BYTES = 72              # of a name as an object, beside its text

cdef uint32_t[KEY_WORDS] sum_key
cdef fanion_siphash_key final_key
cdef size_t total                # bytes of all lists that are kept
cdef uint64_t hits, first_sights, made_lists, dropped_lists
cdef size_t total_max = TOTAL_BYTES_MAX
cdef size_t own_max = OWN_BYTES_MAX


cdef int draw_keys() except -1:
    cdef bytes drawn = os.urandom(sizeof(sum_key) + sizeof(final_key))
    memcpy(&sum_key[0], PyBytes_AS_STRING(drawn), sizeof(sum_key))
    memcpy(&final_key, PyBytes_AS_STRING(drawn) + sizeof(sum_key), sizeof(final_key))
    return 0


draw_keys()


def counts():
    """(answered from a list that was prepared, not, prepared, dropped again, bytes kept now), since the process
    began."""
    return hits, first_sights, made_lists, dropped_lists, total


def bound(size_t total_bytes, size_t own_bytes):
    """For tests: how much may be kept."""
    global total_max, own_max
    total_max, own_max = total_bytes, own_bytes


cdef class ListPlace:
    """Where a dialect's list stands in a body, as `fanion_list_place.h` draws it."""

    cdef fanion_list_place place
    cdef tuple texts             # that it points into

    def __cinit__(self, bytes before not None, bytes member not None, bytes after not None, bytes ends not None):
        self.texts = (before, member, after, ends)
        self.place.before = fanion_token(PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before))
        self.place.member = fanion_token(PyBytes_AS_STRING(member), PyBytes_GET_SIZE(member))
        self.place.after = fanion_token(PyBytes_AS_STRING(after), PyBytes_GET_SIZE(after))
        self.place.ends = fanion_token(PyBytes_AS_STRING(ends), PyBytes_GET_SIZE(ends))

    def find(self, bytes body not None):
        """(the list, the rest) as they stand in a body, or None. For tests."""
        cdef fanion_list_found found
        if not fanion_list_find(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &self.place, &found):
            return None
        return PyBytes_FromStringAndSize(found.list, found.length), rest_of(&found)


cdef bytes rest_of(const fanion_list_found *found):
    cdef bytes made = PyBytes_FromStringAndSize(NULL, found.rest[0].length + found.rest[1].length)
    memcpy(PyBytes_AS_STRING(made), found.rest[0].text, found.rest[0].length)
    memcpy(PyBytes_AS_STRING(made) + found.rest[0].length, found.rest[1].text, found.rest[1].length)
    return made


cdef class PreparedList:
    """A list of keys, looked up. Made by `PreparedLists` alone."""

    def __dealloc__(self):
        free(self.entries)
        free(self.text_ends)

    def put_map(
        self, dict members, dict attributes, tuple contexts, bytes prefix not None, bytes suffix not None
    ):
        """As `Question.put_map` of a question of its own. The names must be of a map: see `PreparedLists`."""
        cdef Bundle bundle = self.bundle
        cdef output *out = &bundle.out
        cdef const char *text = PyBytes_AS_STRING(self.text)
        cdef uint32_t n, at = 0, place = 0
        if self.text is None:
            raise RuntimeError("no map: a list is made by PreparedLists, which says what for")
        bundle.begin(members, attributes, contexts)
        out.length = 0
        put(out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
        for n in range(self.count):
            if self.entries[n] != FANION_NONE:
                put(out, text + at, self.text_ends[place] - at)
                at = self.text_ends[place]
                place += 1
                bundle.put_entry(&bundle.s.entries[self.entries[n]], self.table)
        put(out, text + at, self.text_ends[place] - at)
        put(out, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        if bundle.noted:
            bundle.publish()
        return PyBytes_FromStringAndSize(out.data, out.length)

    def put_each(self, dict members, dict attributes, tuple contexts):
        """As `Question.put_each` of a question of its own."""
        cdef Bundle bundle = self.bundle
        cdef list found = []
        cdef uint32_t n
        if bundle is None:
            raise RuntimeError("a list is made by PreparedLists")
        bundle.begin(members, attributes, contexts)
        for n in range(self.count):
            found.append(bundle.resolved(self.entry(n), self.table, True))
        if bundle.noted:
            bundle.publish()
        return found

    cdef const fanion_entry *entry(self, uint32_t n) noexcept:
        if self.entries[n] == FANION_NONE:
            return NULL
        return &self.bundle.s.entries[self.entries[n]]

    cdef int look_up(self, list names) except -1:
        cdef const fanion_entry *entry
        cdef uint32_t n
        self.entries = <uint32_t *> calloc(len(names) + 1, sizeof(uint32_t))
        if self.entries == NULL:
            raise MemoryError
        for n in range(<uint32_t> len(names)):
            entry = self.bundle.visible(self.table, names[n], self.client)
            self.entries[n] = FANION_NONE if entry == NULL else <uint32_t> (entry - self.bundle.s.entries)
        self.names = names
        self.count = <uint32_t> len(names)
        return 0

    cdef int write_frame(self) except -1:
        """Makes what a map consists of beside the fragments: names, braces, and all of a name that is absent."""
        cdef Bundle bundle = self.bundle
        cdef output *out = &bundle.out
        cdef const fanion_entry *entry
        cdef const char *text
        cdef Py_ssize_t length = 0
        cdef uint32_t n, place = 0
        self.text_ends = <uint32_t *> calloc(self.count + 1, sizeof(uint32_t))
        if self.text_ends == NULL:
            raise MemoryError
        out.length = 0
        for n in range(self.count):
            if n:
                put(out, b",", 1)
            entry = self.entry(n)
            if entry != NULL:
                put(out, bundle.s.blob + entry.json.offset, entry.json.length)
                put(out, b":{", 2)
                self.text_ends[place] = out.length
                place += 1
            else:
                text = PyUnicode_AsUTF8AndSize(self.names[n], &length)
                put_json_text(out, text, length)
                put(out, b":{", 2)
                bundle.put_fragment(bundle.s.tables[self.table].absent)
            put(out, b"}", 1)
        self.text_ends[place] = out.length
        self.text = PyBytes_FromStringAndSize(out.data, out.length)
        return 0


cdef class PreparedLists:
    """The lists that one table was asked for. `make(list)` reads a list's bytes: (names to look up, what the dialect
    keeps with them, its bytes about), None where the list is none to prepare. `mapped`: the names are each there
    once, and asked for as a map."""

    cdef Bundle bundle
    cdef int table
    cdef ListPlace place
    cdef object make
    cdef bint mapped
    cdef list kept               # by place: PreparedList or None; None before the first list
    cdef uint64_t *hashes        # owned; by place, 0: free
    cdef uint32_t *seen          # owned; of lists that came once: a part of their hash
    cdef uint32_t hand
    cdef uint32_t credit         # what may be spent on preparing; each list that comes brings one
    cdef size_t bytes

    def __cinit__(self, Bundle bundle not None, int table, ListPlace place not None, make, *, bint mapped):
        self.bundle = bundle
        self.table = table
        self.place = place
        self.make = make
        self.mapped = mapped

    def __dealloc__(self):
        global total
        total -= self.bytes
        free(self.hashes)
        free(self.seen)

    def take(self, bytes body not None, bint client):
        """(PreparedList, the body without the list) where the body has a list that is prepared; else None.

        That the rest is right and has no such list of its own is for the caller to see.
        """
        cdef fanion_list_found found
        cdef uint64_t hash
        cdef PreparedList kept
        global hits, first_sights
        self.bundle.require()
        if not fanion_list_find(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &self.place.place, &found):
            return None
        if found.length > LIST_BYTES:
            return None
        if self.hashes == NULL:
            self.open()
        self.credit += self.credit < CREDIT_MAX
        hash = hash_of(&found, client)
        kept = self.look(hash, &found, client)
        if kept is None:
            if self.seen[hash >> 32 & (SEEN - 1)] != <uint32_t> hash or self.credit < COST:
                self.seen[hash >> 32 & (SEEN - 1)] = <uint32_t> hash
                first_sights += 1
                return None
            self.credit -= COST
            kept = self.prepare(hash, &found, client)
        if kept.names is None:
            first_sights += 1
            return None
        kept.used = True
        hits += 1
        return kept, rest_of(&found)

    cdef int open(self) except -1:
        if self.seen == NULL:
            self.seen = <uint32_t *> calloc(SEEN, sizeof(uint32_t))
        self.credit = CREDIT_MAX
        self.kept = [None] * PLACES
        self.hashes = <uint64_t *> calloc(PLACES, sizeof(uint64_t))
        if self.seen == NULL or self.hashes == NULL:
            raise MemoryError
        return 0

    cdef PreparedList look(self, uint64_t hash, const fanion_list_found *found, bint client):
        cdef uint32_t first = hash % SETS * WAYS
        cdef uint32_t n
        cdef PreparedList kept
        for n in range(first, first + WAYS):
            if self.hashes[n] == hash:
                kept = <PreparedList> self.kept[n]
                if kept.client == client and <size_t> PyBytes_GET_SIZE(kept.span) == found.length and (
                    memcmp(PyBytes_AS_STRING(kept.span), found.list, found.length) == 0
                ):
                    return kept
        return None

    cdef PreparedList prepare(self, uint64_t hash, const fanion_list_found *found, bint client):
        """Reads a list and keeps it, if there is room."""
        cdef PreparedList made = PreparedList.__new__(PreparedList)
        cdef object read
        global made_lists
        made.span = PyBytes_FromStringAndSize(found.list, found.length)
        made.bundle = self.bundle
        made.table = self.table
        made.hash = hash
        made.client = client
        made.size = OVERHEAD + found.length
        read = self.make(made.span)
        if read is not None:
            names, made.extra, extra_bytes = read
            made.look_up(names)
            made.size += made.count * (NAME_BYTES + 8) + found.length + <size_t> extra_bytes
            if self.mapped:
                made.write_frame()
                made.size += PyBytes_GET_SIZE(made.text)
            made_lists += 1
        self.keep(made)
        return made

    cdef int keep(self, PreparedList made) except -1:
        global total
        cdef uint32_t first = made.hash % SETS * WAYS
        cdef uint32_t n, place = PLACES
        if total - self.bytes + made.size > total_max:
            return 0  # others have the room, and letting go of one's own wouldn't make any
        for n in range(first, first + WAYS):
            if self.hashes[n] == 0:
                place = n
                break
        n = first + self.hand % WAYS
        while place == PLACES:
            if self.passed(n):
                place = n
            n = first + (n + 1) % WAYS
        n = 2 * PLACES
        while (self.bytes + made.size > own_max or total + made.size > total_max) and n:
            self.hand = (self.hand + 1) % PLACES
            if self.hashes[self.hand]:
                self.passed(self.hand)
            n -= 1
        if self.bytes + made.size > own_max or total + made.size > total_max:
            return 0
        self.kept[place] = made
        self.hashes[place] = made.hash
        self.bytes += made.size
        total += made.size
        return 0

    cdef bint passed(self, uint32_t place) except -1:
        """The hand passes: a list that was asked for since stays once more; whether it went."""
        global total, dropped_lists
        cdef PreparedList kept = <PreparedList> self.kept[place]
        if kept.used:
            kept.used = False
            return False
        self.bytes -= kept.size
        total -= kept.size
        self.hashes[place] = 0
        self.kept[place] = None
        dropped_lists += 1
        return True


cdef uint64_t hash_of(const fanion_list_found *found, bint client) noexcept nogil:
    cdef uint64_t[2] words
    cdef uint64_t hash
    words[0] = fanion_keyed_sum(sum_key, found.list, found.length)
    words[1] = found.length << 1 | client
    fanion_siphash(final_key, words, sizeof(words), 0, &hash)
    return hash if hash else 1
