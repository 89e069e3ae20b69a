"""The sections of a bundle while it is compiled: records back to back, equal texts and equal fragments once.

What stands where is `fanion.bundle.sections`' to say, and so is what is refused: here a limit that is passed raises
ValueError with what was found and what is allowed. A number or an offset never changes once it was given out.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.ref cimport Py_DECREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from fanion._core.hash cimport fanion_hash_xxh64
from fanion._core.layout cimport FANION_NONE, fanion_entry, fanion_fragment, fanion_text


cdef extern from "Python.h":
    PyObject *bytes_of_size "PyBytes_FromStringAndSize"(const char *content, Py_ssize_t size) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **whole, Py_ssize_t size) except -1
    char *start_of "PyBytes_AS_STRING"(PyObject *whole)


@cython.final
cdef class Ground:
    """Memory for a whole bundle, in which its sections grow."""

    def __cinit__(self, size_t size):
        self.whole = bytes_of_size(NULL, size)
        self.at = <unsigned char *> start_of(self.whole)

    def __dealloc__(self):
        Py_XDECREF(self.whole)

    cdef bytes given(self, size_t size):
        """Its first bytes, and no others; it has nothing then."""
        cdef PyObject *whole = self.whole
        self.whole = NULL
        self.at = NULL
        resize_bytes(&whole, size)  # on failure it is gone
        found = <bytes> whole
        Py_DECREF(found)
        return found


@cython.final
cdef class Rows:
    """One section. Raises MemoryError."""

    def __cinit__(self, size_t record):
        self.record = record

    def __dealloc__(self):
        self.let_go()

    cdef int let_go(self) noexcept:
        if not self.grounded:
            PyMem_RawFree(self.data)
        self.grounded = False
        self.ground = None
        self.data = NULL
        self.size = self.room = 0
        return 0

    cdef int reserve(self, size_t more) except -1:
        cdef size_t room
        cdef void *moved
        if self.size + more <= self.room:
            return 0
        room = max(self.room + (self.room >> 1), self.size + more, <size_t> 4096)
        moved = PyMem_RawRealloc(NULL if self.grounded else self.data, room)
        if moved == NULL:
            raise MemoryError
        if self.grounded:
            memcpy(moved, self.data, self.size)
            self.grounded = False
            self.ground = None
        self.data = <unsigned char *> moved
        self.room = room
        return 0

    cdef int put(self, const void *row, size_t size) except -1:
        if size:
            self.reserve(size)
            memcpy(self.data + self.size, row, size)
            self.size += size
        return 0

    def append(self, bytes row not None):
        """One record, or several back to back."""
        self.put(PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row))

    def __iadd__(self, rows):
        cdef bytes row
        for row in rows:
            self.put(PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row))
        return self

    def __len__(self):
        """Records."""
        return self.size // self.record

    def set_number(self, size_t row, size_t offset, uint32_t number):
        """Writes a number over what a record has there. IndexError."""
        cdef size_t at = row * self.record + offset
        if offset + sizeof(number) > self.record or at + sizeof(number) > self.size:
            raise IndexError(f"record {row} of {len(self)}")
        memcpy(self.data + at, &number, sizeof(number))


def expect(list rows not None, list sizes not None, size_t head):
    """Lets empty sections grow where they will stand in the whole, behind `head` bytes: sections that come to about
    these sizes are moved a little at the end, and aren't copied, which would take as much memory again."""
    cdef Rows section
    cdef size_t total = head, size
    cdef Ground ground
    for section, size in zip(rows, sizes, strict=True):
        if section.size:
            raise ValueError("a section that isn't empty")
        total += with_room(size)
    ground = Ground(total)
    total = head
    for section, size in zip(rows, sizes, strict=True):
        section.let_go()
        section.ground = ground
        section.grounded = True
        section.data = ground.at + total
        section.room = with_room(size)
        total += section.room


cdef size_t with_room(size_t size) noexcept:
    """8-aligned, so that a section never stands before its place in the whole."""
    return (size + (size >> 6) + 4096 + 7) & ~<size_t> 7


def sealed(list rows not None, bytes head not None, size_t covered):
    """`head`, then every section, each 8-aligned; the sections are empty afterwards. The checksum, which ends before
    `covered`, is of everything from there."""
    cdef Rows section
    cdef size_t total = PyBytes_GET_SIZE(head)
    cdef size_t padding
    cdef Ground ground = None if not rows else (<Rows> rows[0]).ground
    for section in rows:
        total += (section.size + 7) & ~<size_t> 7
        if section.ground is not ground:
            ground = None
    if ground is None:
        ground = Ground(total)
    cdef unsigned char *at = ground.at
    memcpy(at, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    at += PyBytes_GET_SIZE(head)
    for section in rows:
        if section.size and at != section.data:
            memmove(at, section.data, section.size)
        padding = (8 - (section.size & 7)) & 7
        memset(at + section.size, 0, padding)
        at += section.size + padding
        section.let_go()
    cdef uint64_t checksum = fanion_hash_xxh64(ground.at + covered, total - covered)
    memcpy(ground.at + covered - sizeof(checksum), &checksum, sizeof(checksum))
    return ground.given(total)


@cython.final
cdef class Places:
    """Where equal content is found again, by its digest; half of the places are free at least."""

    def __cinit__(self):
        self.mask = 1023
        self.places = <Place *> PyMem_RawCalloc(self.mask + 1, sizeof(Place))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self.places)

    cdef int grow(self, size_t count) except -1:
        """So many places, a power of two. A place's tag is all that is known of its digest, so it is what places go
        by."""
        cdef size_t mask = count - 1
        cdef size_t n, at
        cdef Place *places = <Place *> PyMem_RawCalloc(mask + 1, sizeof(Place))
        if places == NULL:
            raise MemoryError
        for n in range(self.mask + 1):
            if self.places[n].count:
                at = self.places[n].tag & mask
                while places[at].count:
                    at = (at + 1) & mask
                places[at] = self.places[n]
        PyMem_RawFree(self.places)
        self.places = places
        self.mask = mask
        return 0

    cdef int take(self, Place *free, uint64_t digest, uint32_t number, uint32_t count) except -1:
        free.tag = <uint32_t> digest
        free.number = number
        free.count = count
        self.used += 1
        if 2 * self.used > self.mask:
            self.grow(2 * (self.mask + 1))
        return 0

    cdef int add(self, uint64_t digest, uint32_t number, uint32_t count) except -1:
        """Of what isn't there yet."""
        cdef size_t at = <uint32_t> digest & self.mask
        while self.places[at].count:
            at = (at + 1) & self.mask
        return self.take(&self.places[at], digest, number, count)


cdef uint32_t filter_bit(const void *content, size_t length) noexcept:
    """One of 65,536, by a text's length and its ends."""
    cdef uint32_t first = 0, last = 0
    cdef size_t some = min(length, sizeof(uint32_t))
    memcpy(&first, content, some)
    memcpy(&last, <const char *> content + length - some, some)
    return ((first * <uint32_t> 2654435761) ^ (last * <uint32_t> 2246822519) ^ (
        <uint32_t> length * <uint32_t> 3266489917)) >> 16


@cython.final
cdef class Texts:
    """The blob: texts, fragments' pieces and documents, equal ones once."""

    def __cinit__(self, Rows blob not None, uint64_t bytes_max):
        self.blob = blob
        self.known = Places()
        self.bytes_max = min(bytes_max, <uint64_t> FANION_NONE - 1)

    def __dealloc__(self):
        PyMem_RawFree(self.fresh)

    cdef int find(self, const void *content, size_t length, fanion_text *out) except -1:
        cdef uint64_t digest
        cdef size_t at
        cdef Place *place
        cdef uint32_t bit
        if length == 0:
            out.offset = out.length = 0
            return 0
        if self.fresh_count:
            self.know_fresh()
        digest = fanion_hash_xxh64(content, length)
        at = <uint32_t> digest & self.known.mask
        while True:
            place = &self.known.places[at]
            if place.count == 0:
                break
            if (place.tag == <uint32_t> digest and place.count == length
                    and memcmp(self.blob.data + place.number, content, length) == 0):
                out.offset = place.number
                out.length = place.count
                return 0
            at = (at + 1) & self.known.mask
        self.put(content, length, out)
        self.known.take(place, digest, out.offset, out.length)
        bit = filter_bit(content, length)
        self.found[bit >> 6] |= <uint64_t> 1 << (bit & 63)
        return 0

    cdef int put(self, const void *content, size_t length, fanion_text *out) except -1:
        if self.blob.size + length > self.bytes_max:
            raise ValueError(f"{self.blob.size + length} bytes of text", f"at most {self.bytes_max}")
        out.offset = <uint32_t> self.blob.size
        out.length = <uint32_t> length
        return self.blob.put(content, length)

    cdef int append(self, const void *content, size_t length, fanion_text *out) except -1:
        """Of a text of at least a byte that isn't there yet, as the caller knows, so that it isn't looked for."""
        cdef void *moved
        self.put(content, length, out)
        if self.fresh_count == self.fresh_room:
            moved = PyMem_RawRealloc(self.fresh, 2 * (self.fresh_room + 512) * sizeof(fanion_text))
            if moved == NULL:
                raise MemoryError
            self.fresh = <fanion_text *> moved
            self.fresh_room = 2 * (self.fresh_room + 512)
        self.fresh[self.fresh_count] = out[0]
        self.fresh_count += 1
        return 0

    cdef bint may_have(self, const void *content, size_t length) noexcept:
        """False: `find` has put none like this into the blob; what `append` put there is not said."""
        cdef uint32_t bit = filter_bit(content, length)
        return (self.found[bit >> 6] >> (bit & 63)) & 1

    cdef int know_fresh(self) except -1:
        cdef size_t n
        cdef fanion_text *text
        for n in range(self.fresh_count):
            text = &self.fresh[n]
            self.known.add(fanion_hash_xxh64(self.blob.data + text.offset, text.length), text.offset, text.length)
        self.fresh_count = 0
        return 0

    def span(self, bytes content not None):
        """(offset, length) of this content. ValueError beyond the limit."""
        cdef fanion_text found
        self.find(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), &found)
        return found.offset, found.length


@cython.final
cdef class KeyIndex:
    """The entries of one table on their way to `rows`, and where each is found by its key."""

    def __cinit__(self, Rows rows not None, size_t count):
        self.rows = rows
        self.first = rows.size // sizeof(fanion_entry)
        self.capacity = 4
        while self.capacity < 2 * count + 1:
            self.capacity *= 2
        self.places = <uint32_t *> PyMem_RawCalloc(self.capacity, sizeof(uint32_t))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self.places)

    cdef int add(self, const fanion_entry *entry, const char *key, size_t length) except -1:
        """ValueError with None, what was found and what is allowed. No more than `count` are added."""
        cdef size_t at = fanion_hash_xxh64(key, length) & (self.capacity - 1)
        cdef const fanion_entry *other
        while self.places[at]:
            other = <const fanion_entry *> self.rows.data + self.first + self.places[at] - 1
            if other.key.offset == entry.key.offset and other.key.length == entry.key.length:
                raise ValueError(None, "a key stands twice", "keys are unique in a table")
            at = (at + 1) & (self.capacity - 1)
        self.added += 1
        self.places[at] = self.added
        return self.rows.put(entry, sizeof(fanion_entry))

    cdef int finish(self, Rows index) except -1:
        return index.put(self.places, self.capacity * sizeof(uint32_t))


@cython.final
cdef class Fragments:
    """Runs of fragments, each a run of ropes. `hole`: the class of pieces that the request fills."""

    def __cinit__(self, Texts texts not None, Rows ropes not None, Rows fragments not None, hole,
                  uint32_t pieces_max, uint32_t holes_max):
        self.texts = texts
        self.ropes = ropes
        self.fragments = fragments
        self.known = Places()
        self.hole = hole
        self.pieces_max = pieces_max
        self.holes_max = holes_max

    def __dealloc__(self):
        PyMem_RawFree(self.draft)
        PyMem_RawFree(self.fresh)

    cdef int expect(self, size_t fragments) except -1:
        """Makes room for so many, where there is none yet, so that it needn't grow step by step."""
        cdef size_t count = 4096
        while count < 2 * fragments:
            count *= 2
        if not self.known.used and count > self.known.mask:
            self.known.grow(count)
        if not self.texts.known.used and 2 * count > self.texts.known.mask:
            self.texts.known.grow(2 * count)
        return 0

    def add(self, tuple fragments not None):
        """The number of the first of these, stored as a run. ValueError."""
        return self.number(fragments)

    cdef long number(self, tuple fragments) except -1:
        if not fragments:
            return self.fragments.size // sizeof(fanion_fragment)
        return self.drafted_number(self.drafted(fragments), <uint32_t> len(fragments))

    cdef long drafted_number(self, size_t words, uint32_t fragments) except -1:
        """Of the run that `draft` says in its first words."""
        cdef uint64_t digest = fanion_hash_xxh64(self.draft, words * sizeof(uint32_t))
        cdef size_t at, first
        cdef Place *place
        if self.fresh_count:
            self.know_fresh()
        at = <uint32_t> digest & self.known.mask
        while True:
            place = &self.known.places[at]
            if place.count == 0:
                break
            if place.tag == <uint32_t> digest and place.count == fragments and self.is_run(place.number, place.count):
                return place.number
            at = (at + 1) & self.known.mask
        first = self.put_drafted(words)
        self.known.take(place, digest, <uint32_t> first, fragments)
        self.found[(digest >> 38) & 1023] |= <uint64_t> 1 << ((digest >> 32) & 63)
        return first

    cdef long drafted_new(self, size_t words, uint32_t fragments) except -1:
        """The same of a run of at least one fragment that no other call of this added, as the caller knows."""
        cdef uint64_t digest = fanion_hash_xxh64(self.draft, words * sizeof(uint32_t))
        cdef void *moved
        cdef Place *place
        cdef size_t first
        if (self.found[(digest >> 38) & 1023] >> ((digest >> 32) & 63)) & 1:
            return self.drafted_number(words, fragments)
        if self.fresh_count == self.fresh_room:
            moved = PyMem_RawRealloc(self.fresh, 2 * (self.fresh_room + 512) * sizeof(Place))
            if moved == NULL:
                raise MemoryError
            self.fresh = <Place *> moved
            self.fresh_room = 2 * (self.fresh_room + 512)
        first = self.put_drafted(words)
        place = &self.fresh[self.fresh_count]
        place.tag = <uint32_t> digest
        place.number = <uint32_t> first
        place.count = fragments
        self.fresh_count += 1
        return first

    cdef int know_fresh(self) except -1:
        cdef size_t n
        cdef Place *place
        for n in range(self.fresh_count):
            place = &self.fresh[n]
            self.known.add(place.tag, place.number, place.count)
        self.fresh_count = 0
        return 0

    cdef size_t put_drafted(self, size_t words) except? 0:
        """The number of the first fragment."""
        cdef size_t first = self.fragments.size // sizeof(fanion_fragment), n = 0
        cdef uint32_t count
        cdef fanion_fragment fragment
        while n < words:
            count = self.draft[n]
            fragment.rope_first = <uint32_t> (self.ropes.size // sizeof(fanion_text))
            fragment.rope_count = count
            self.fragments.put(&fragment, sizeof(fragment))
            self.ropes.put(self.draft + n + 1, count * sizeof(fanion_text))
            n += 1 + 2 * count
        return first

    def forget(self):
        """Gives the memory back by which equal texts and fragments are found, of a bundle that is complete."""
        self.fresh_count = self.texts.fresh_count = 0
        self.known = Places()
        self.texts.known = Places()

    cdef bint is_run(self, size_t first, size_t count) noexcept:
        """Whether the fragments from `first` are the drafted ones."""
        cdef const fanion_fragment *known = <const fanion_fragment *> self.fragments.data + first
        cdef const fanion_text *ropes = <const fanion_text *> self.ropes.data
        cdef size_t n, size, at = 0
        for n in range(count):
            if known[n].rope_count != self.draft[at]:
                return False
            size = known[n].rope_count * sizeof(fanion_text)
            if size and memcmp(ropes + known[n].rope_first, self.draft + at + 1, size):
                return False
            at += 1 + 2 * known[n].rope_count
        return True

    cdef size_t drafted(self, tuple fragments) except? 0:
        """The words of `draft` that say these fragments."""
        cdef size_t at = 0, start
        cdef tuple pieces
        cdef fanion_text rope
        for pieces in fragments:
            if <size_t> len(pieces) > self.pieces_max:
                raise ValueError(f"a fragment of {len(pieces)} pieces", f"at most {self.pieces_max}")
            self.draft_reserve(at + 1 + 2 * len(pieces))
            start = at
            at += 1
            for piece in pieces:
                if type(piece) is bytes:
                    if PyBytes_GET_SIZE(piece) == 0:
                        continue
                    self.texts.find(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece), &rope)
                elif type(piece) is self.hole:
                    number = piece.number
                    if not 0 <= number < self.holes_max:
                        raise ValueError(f"hole {number}", f"0 to {self.holes_max - 1}")
                    rope.offset = FANION_NONE
                    rope.length = number
                else:
                    raise TypeError(f"a piece of type {type(piece).__name__}")
                self.draft[at] = rope.offset
                self.draft[at + 1] = rope.length
                at += 2
            self.draft[start] = <uint32_t> ((at - start - 1) // 2)
        return at

    cdef int draft_reserve(self, size_t words) except -1:
        cdef void *moved
        if words > self.draft_room:
            moved = PyMem_RawRealloc(self.draft, 2 * words * sizeof(uint32_t))
            if moved == NULL:
                raise MemoryError
            self.draft = <uint32_t *> moved
            self.draft_room = 2 * words
        return 0

    def entries(self, Rows rows not None, Rows index not None, tuple given not None, list outcomes not None,
                long overlay, encode):
        """Appends a table's entries and the index of their keys. `outcomes`: how many each decision has; `overlay`:
        rows of the table; `encode`: text to JSON. ValueError with the key, what was found and what is allowed."""
        cdef KeyIndex keys = KeyIndex(rows, len(given))
        cdef fanion_entry entry
        cdef const char *text
        cdef Py_ssize_t length
        for one in given:
            key = one.key
            text = PyUnicode_AsUTF8AndSize(key, &length)
            self.entry(one, key, text, length, outcomes, overlay, encode, &entry)
            keys.add(&entry, text, length)
        keys.finish(index)

    cdef int entry(self, one, key, const char *text, Py_ssize_t length, list outcomes, long overlay, encode,
                   fanion_entry *out) except -1:
        cdef long decision = one.decision, row = one.row
        cdef tuple fragments = one.fragments
        if not 0 <= decision < len(outcomes):
            raise ValueError(key, f"decision {decision}", f"there are {len(outcomes)}")
        if len(fragments) != outcomes[decision]:
            raise ValueError(key, f"{len(fragments)} fragments", f"one per outcome: {outcomes[decision]}")
        cdef bytes json = encode(key)
        try:
            self.texts.find(PyBytes_AS_STRING(json), PyBytes_GET_SIZE(json), &out.json)
            out.fragment_first = <uint32_t> self.number(fragments)
            self.texts.find(text, length, &out.key)
        except ValueError as error:
            raise ValueError(key, *error.args) from None
        if not -1 <= row < overlay:
            raise ValueError(key, f"row {row}", f"there are {overlay}")
        out.decision = <uint32_t> decision
        out.client_safe = 1 if one.client_safe else 0
        out.row = FANION_NONE if one.guest else <uint32_t> (row + 1)
        return 0
