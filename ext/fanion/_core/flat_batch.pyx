"""A quick yes for batches of plain JSON objects; see `fanion_flat_batch.h`. Knows no API: a dialect names the fields.

The schema's texts are borrowed from `_texts`, its objects from `_objects`; both live as long as the batch.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp


cdef extern from "fanion_flat_batch.h" nogil:
    enum:
        FANION_FLAT_TEXT
        FANION_FLAT_CHOICE
        FANION_FLAT_TIME
        FANION_FLAT_NUMBER
        FANION_FLAT_INTEGER
        FANION_FLAT_FRACTION
        FANION_FLAT_BOOLEAN
        FANION_FLAT_NULL
        FANION_FLAT_OBJECT
        FANION_FLAT_MAP
        FANION_FLAT_LIST
        FANION_FLAT_UNSURE
        FANION_FLAT_FIELDS_MAX
        FANION_FLAT_CHOICES_MAX
        FANION_FLAT_MEMBERS_MAX
        FANION_FLAT_NUMBER_MAX

    ctypedef struct fanion_flat_text:
        const char *text
        uint32_t length

    ctypedef struct fanion_flat_object

    ctypedef struct fanion_flat_field:
        uint32_t kinds, items, bit
        uint8_t free
        int32_t fixed, note
        uint32_t choice_count
        fanion_flat_text *choices
        fanion_flat_object *object
        fanion_flat_field *after

    ctypedef struct fanion_flat_object:
        uint32_t field_count
        int32_t tag
        uint32_t *required
        uint32_t *allowed
        fanion_flat_field *first
        fanion_flat_field *fields

    ctypedef struct fanion_flat_schema:
        fanion_flat_text list_name
        uint32_t count_max, note_count
        fanion_flat_object *object

    void fanion_flat_name(fanion_flat_field *field, fanion_flat_text name) noexcept
    int64_t fanion_flat_check(
        const fanion_flat_schema *schema, const uint8_t *body, uint64_t length, const fanion_flat_text *fixed,
        fanion_flat_text *notes,
    ) noexcept


TEXT = FANION_FLAT_TEXT
CHOICE = FANION_FLAT_CHOICE
TIME = FANION_FLAT_TIME
NUMBER = FANION_FLAT_NUMBER
INTEGER = FANION_FLAT_INTEGER
FRACTION = FANION_FLAT_FRACTION
BOOLEAN = FANION_FLAT_BOOLEAN
NULL_VALUE = FANION_FLAT_NULL
OBJECT = FANION_FLAT_OBJECT
MAP = FANION_FLAT_MAP
LIST = FANION_FLAT_LIST
MEMBERS_MAX = FANION_FLAT_MEMBERS_MAX
NUMBER_CHARACTERS_MAX = FANION_FLAT_NUMBER_MAX

cdef enum:
    FIXED_MAX = 8
    NOTES_MAX = 16
    RECENT_MAX = 8  # groups that an object's is compared with


cdef class FlatObject:
    """What one object may hold.

    `fields`: (name, kinds, kinds of its items, choices, FlatObject or None), in the order in which clients mostly
    write them. `variants`: (names that have to be there, names that may), one for each choice of the field `tag`, or
    one alone where there is no tag.
    """

    cdef fanion_flat_object native
    cdef readonly dict numbers  # name -> number of the field
    cdef list _texts
    cdef list _objects

    def __init__(self, list fields not None, list variants not None, str tag=None):
        cdef uint32_t n, m
        cdef fanion_flat_field *field
        if not 0 < len(fields) <= FANION_FLAT_FIELDS_MAX:
            raise ValueError(f"{len(fields)} fields; 1 to {FANION_FLAT_FIELDS_MAX} are allowed")
        self._texts, self._objects, self.numbers = [], [], {}
        self.native.field_count = <uint32_t>len(fields)
        for n, (name, kinds, items, choices, inner) in enumerate(fields):
            if len(choices) > FANION_FLAT_CHOICES_MAX:
                raise ValueError(f"field {name}: more than {FANION_FLAT_CHOICES_MAX} choices")
            if bool((kinds | items) & FANION_FLAT_OBJECT) != (inner is not None):
                raise ValueError(f"field {name}: an object needs a schema, and only an object has one")
            field = &self.native.fields[n]
            fanion_flat_name(field, self.borrow(f'"{name}":'))
            field.kinds, field.items = kinds, items
            field.fixed = field.note = -1
            field.bit = <uint32_t>1 << n
            field.free = bool(kinds & FANION_FLAT_TEXT)
            field.choice_count = <uint32_t>len(choices)
            for m, choice in enumerate(choices):
                field.choices[m] = self.borrow(choice)
            if inner is not None:
                self._objects.append(inner)
                field.object = &(<FlatObject?>inner).native
            self.numbers[name] = n
            field.after = &self.native.fields[n + 1 if n + 1 < self.native.field_count else 0]
        self.native.first = &self.native.fields[0]
        self.native.tag = -1 if tag is None else self.numbers[tag]
        if len(variants) != (1 if tag is None else self.native.fields[self.native.tag].choice_count):
            raise ValueError("there must be one variant for each choice of the tag, or one alone")
        for m, (required, allowed) in enumerate(variants):
            self.native.required[m] = self.bits(required) | (0 if tag is None else self.bits([tag]))
            self.native.allowed[m] = self.bits(allowed) | self.native.required[m]

    cdef uint32_t bits(self, names) except? 0:
        cdef uint32_t found = 0
        for name in names:
            found |= <uint32_t>1 << <uint32_t>self.numbers[name]
        return found

    cdef fanion_flat_text borrow(self, str text):
        cdef bytes raw = text.encode()
        cdef fanion_flat_text borrowed
        self._texts.append(raw)
        borrowed.text = raw
        borrowed.length = <uint32_t>len(raw)
        return borrowed

    cdef fanion_flat_field *find(self, str path) except NULL:
        """A field by its path, as `user.id`."""
        name, _, rest = path.partition(".")
        if name not in self.numbers:
            raise ValueError(f"there is no field {name}")
        cdef fanion_flat_field *field = &self.native.fields[<uint32_t>self.numbers[name]]
        if not rest:
            return field
        for inner in self._objects:
            if field.kinds & FANION_FLAT_OBJECT and &(<FlatObject>inner).native == field.object:
                return (<FlatObject>inner).find(rest)
        raise ValueError(f"field {name} is no object")


cdef class FlatBatch:
    """What one kind of batch looks like: `{"LIST_NAME": [ITEM, ...]}`, 1 to `count_max` of them. Owns `item`.

    `fixed`: paths of texts that `check` compares with the caller's. `grouped`, `noted`: paths of texts that it
    tells, different combinations and for each object. `measured`: of those only `lengths` tells, which makes no
    texts of them. One thread at a time.
    """

    cdef fanion_flat_schema schema
    cdef FlatObject _item
    cdef bytes _list_name
    cdef fanion_flat_text *notes  # of a whole batch; owned
    cdef uint32_t fixed_count, group_count, noted_count
    cdef uint32_t count  # of the batch that was taken last; its notes' texts may be gone, their lengths are there

    def __cinit__(
        self, str list_name not None, FlatObject item not None, uint32_t count_max, *, list fixed not None,
        list grouped not None, list noted not None, list measured=None,
    ):
        cdef uint32_t n
        cdef size_t room
        cdef fanion_flat_field *field
        self.notes = NULL
        measured = measured or []
        if len(fixed) > FIXED_MAX or len(grouped) + len(noted) + len(measured) > NOTES_MAX:
            raise ValueError(f"{FIXED_MAX} texts can be fixed and {NOTES_MAX} told")
        if not 0 < count_max <= 100_000:
            raise ValueError(f"{count_max} objects; 1 to 100,000 are allowed")
        self._item = item
        self._list_name = list_name.encode()
        self.schema.list_name.text = self._list_name
        self.schema.list_name.length = <uint32_t>len(self._list_name)
        self.schema.count_max = count_max
        self.schema.object = &item.native
        self.fixed_count = <uint32_t>len(fixed)
        self.group_count, self.noted_count = <uint32_t>len(grouped), <uint32_t>len(noted)
        self.schema.note_count = self.group_count + self.noted_count + <uint32_t>len(measured)
        self.count = 0
        for n, path in enumerate(fixed):
            field = item.find(path)
            field.fixed, field.free = n, False
        for n, path in enumerate(grouped + noted + measured):
            field = item.find(path)
            field.note, field.free = n, False
        room = <size_t>count_max * self.schema.note_count
        self.notes = <fanion_flat_text *>PyMem_Malloc(room * sizeof(fanion_flat_text) + 1)
        if self.notes == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.notes)

    def check(self, bytes body not None, tuple fixed not None = ()):
        """None where the full decoder has to be asked, else (count, groups, numbers, columns).

        `groups`: combinations of the `grouped` texts (None where one is not there or null), all that occur, some
        perhaps twice; `numbers`: each object's among them (empty where `grouped` is). `columns`: for each of
        `noted` the objects' texts, or None where no object has one.
        """
        cdef fanion_flat_text texts[FIXED_MAX]
        cdef uint32_t n
        cdef int64_t count
        cdef bytes text
        if len(fixed) != <Py_ssize_t>self.fixed_count:
            raise ValueError(f"{len(fixed)} fixed texts; {self.fixed_count} are needed")
        for n in range(self.fixed_count):
            text = fixed[n]  # kept by the tuple
            texts[n].text = text
            texts[n].length = <uint32_t>len(text)
        count = fanion_flat_check(
            &self.schema, <const uint8_t *><const char *>body, <uint64_t>len(body), texts, self.notes
        )
        self.count = 0 if count == FANION_FLAT_UNSURE else <uint32_t>count
        if count == FANION_FLAT_UNSURE:
            return None
        groups, numbers = self.group(<uint32_t>count) if self.group_count else ([], [])
        return count, groups, numbers, [self.column(<uint32_t>count, n) for n in range(self.noted_count)]

    def lengths(self, uint32_t number):
        """(how many objects have it, the shortest, the longest) of the batch that `check` took last, in characters;
        0, 0 where none has it. `number`: of `noted` and, behind those, `measured`. IndexError for another one.
        """
        cdef uint32_t index, length, found = 0, least = 0, most = 0
        cdef const fanion_flat_text *first = self.first(number)
        for index in range(self.count):
            if first[index * self.schema.note_count].text != NULL:
                length = first[index * self.schema.note_count].length
                least = length if not found or length < least else least
                most = max(most, length)
                found += 1
        return found, least, most

    def both(self, uint32_t number, uint32_t other):
        """How many objects of that batch have these two. As above."""
        cdef uint32_t index, at, found = 0
        cdef const fanion_flat_text *one = self.first(number)
        cdef const fanion_flat_text *two = self.first(other)
        for index in range(self.count):
            at = index * self.schema.note_count
            found += one[at].text != NULL and two[at].text != NULL
        return found

    cdef const fanion_flat_text *first(self, uint32_t number) except NULL:
        """The first object's text of this number."""
        if number >= self.schema.note_count - self.group_count:
            raise IndexError(f"text {number} of {self.schema.note_count - self.group_count}")
        return self.notes + self.group_count + number

    cdef group(self, uint32_t count):
        cdef uint32_t places[RECENT_MAX]  # an object of each of the last groups, the last at (found - 1) % RECENT_MAX
        cdef uint32_t index, back, found = 0, at
        cdef list groups = [], numbers = []
        for index in range(count):
            for back in range(1, min(found, <uint32_t>RECENT_MAX) + 1):
                if self.alike(index, places[(found - back) % RECENT_MAX]):
                    at = found - back
                    break
            else:
                at = found
                places[found % RECENT_MAX] = index
                found += 1
                groups.append(tuple([
                    self.text(index * self.schema.note_count + n) for n in range(self.group_count)
                ]))
            numbers.append(at)
        return groups, numbers

    cdef bint alike(self, uint32_t one, uint32_t other) noexcept:
        cdef uint32_t n
        cdef const fanion_flat_text *a = self.notes + one * self.schema.note_count
        cdef const fanion_flat_text *b = self.notes + other * self.schema.note_count
        for n in range(self.group_count):
            if a[n].length != b[n].length or (a[n].text == NULL) != (b[n].text == NULL):
                return False
            if a[n].length and memcmp(a[n].text, b[n].text, a[n].length):
                return False
        return True

    cdef column(self, uint32_t count, uint32_t number):
        cdef uint32_t index, step = self.schema.note_count, first = self.group_count + number
        for index in range(count):
            if self.notes[index * step + first].text != NULL:
                return [self.text(index * step + first) for index in range(count)]
        return None

    cdef text(self, uint32_t at):
        if self.notes[at].text == NULL:
            return None
        return PyUnicode_DecodeLatin1(self.notes[at].text, self.notes[at].length, NULL)
