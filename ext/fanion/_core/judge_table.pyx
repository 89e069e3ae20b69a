"""The table that a native judge goes by, made of what a dialect describes; see `fanion_judge_table.h`. Knows no API.

Texts of the description are borrowed from `_texts`.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint32_t

INTEGER = FANION_JUDGE_INTEGER
FLOAT = FANION_JUDGE_FLOAT
TEXT = FANION_JUDGE_TEXT
BOOLEAN = FANION_JUDGE_BOOLEAN
NULL_VALUE = FANION_JUDGE_NULL
OBJECT = FANION_JUDGE_OBJECT
LIST = FANION_JUDGE_LIST
MAP = FANION_JUDGE_MAP
CHOICE = FANION_JUDGE_CHOICE
ANY = FANION_JUDGE_ANY
FIELDS_MAX = FANION_JUDGE_FIELDS_MAX
NO_PATTERN = FANION_JUDGE_NO_PATTERN
MOMENT = FANION_JUDGE_MOMENT
DIGEST = FANION_JUDGE_DIGEST
INT64 = FANION_JUDGE_INT64
ABOVE_ZERO = FANION_JUDGE_ABOVE_ZERO
FROM_ZERO = FANION_JUDGE_FROM_ZERO
UP_TO_ONE = FANION_JUDGE_UP_TO_ONE
NO_LIMIT = <uint32_t>0xFFFFFFFF

cdef enum:
    COUNT_MAX = 100_000


cdef class JudgeTable:
    """What one kind of batch looks like: `{"LIST_NAME": [ITEM, ...]}`, 1 to `count_max` of them, ITEM the first of
    `types`. One thread at a time.

    `types`: (kinds, unsure kinds, pattern, bounds, shortest, longest, most members, choices, number of its items'
    type, number of its shape), -1 for none. `structs`: (fields, tag, required, exactly one, closed, moments), fields
    as (name, number of its type, note or -1), required and exactly one as bits, moments as numbers of fields.
    `shapes`: (name of the tag or "", numbers of structs). `notes`: of each item, the first `fixed` of them the
    caller's texts. `quotes_moments`: whether the words of what is no moment end with it. `bounds`: depth, members,
    digits, tokens of one item, tokens of the whole body. `decode`: JSON text to str.
    """

    def __cinit__(
        self, str list_name not None, list types not None, list structs not None, list shapes not None,
        uint32_t count_max, *, uint32_t notes, uint32_t fixed, bint open, bint whole, bint text_first,
        bint quotes_moments, tuple bounds not None, decode,
    ):
        self._texts, self._words, self._decode = [], {}, decode
        self.quotes_moments = quotes_moments
        if not 0 < count_max <= COUNT_MAX or not fixed < notes <= NOTES_MAX:
            raise ValueError(f"1 to {COUNT_MAX} items have 1 to {NOTES_MAX} notes that aren't fixed")
        self.types = <fanion_judge_type *>self.block(len(types), sizeof(fanion_judge_type))
        self.structs = <fanion_judge_struct *>self.block(len(structs), sizeof(fanion_judge_struct))
        self.shapes = <fanion_judge_shape *>self.block(len(shapes), sizeof(fanion_judge_shape))
        self.items = <fanion_judge_item *>self.block(count_max, sizeof(fanion_judge_item))
        self.notes = <fanion_judge_text *>self.block(<size_t>count_max * notes, sizeof(fanion_judge_text))
        for number, one in enumerate(types):
            self.make_type(<uint32_t>number, one, len(types), len(shapes))
        for number, one in enumerate(structs):
            self.make_struct(<uint32_t>number, one, len(types), notes)
        for number, one in enumerate(shapes):
            self.make_shape(<uint32_t>number, one, len(structs))
        self.schema.list_name = self.borrow(list_name)
        self.schema.item = &self.types[0]
        self.schema.count_max, self.schema.note_count, self.schema.fixed_count = count_max, notes, fixed
        self.schema.open, self.schema.whole, self.schema.text_first = open, whole, text_first
        self.bounds.depth_max, self.bounds.keys_max, self.bounds.digits_max, self.bounds.tokens_max = bounds[:4]
        self.bounds.batch_tokens_max = bounds[4]

    def __dealloc__(self):
        cdef size_t n
        for n in range(self.block_count):
            PyMem_Free(self.blocks[n])
        PyMem_Free(self.blocks)

    cdef void *block(self, size_t count, size_t size) except NULL:
        cdef void **blocks = <void **>PyMem_Realloc(self.blocks, (self.block_count + 1) * sizeof(void *))
        if blocks == NULL:
            raise MemoryError
        self.blocks = blocks
        cdef void *made = PyMem_Calloc(count + 1, size)
        if made == NULL:
            raise MemoryError
        self.blocks[self.block_count] = made
        self.block_count += 1
        return made

    cdef fanion_flat_text borrow(self, str text):
        cdef bytes raw = text.encode()
        cdef fanion_flat_text borrowed
        self._texts.append(raw)
        borrowed.text = raw
        borrowed.length = <uint32_t>len(raw)
        return borrowed

    cdef int make_type(self, uint32_t number, tuple one, Py_ssize_t types, Py_ssize_t shapes) except -1:
        cdef fanion_judge_type *made = &self.types[number]
        cdef fanion_flat_text *choices
        cdef uint32_t n
        kinds, unsure, pattern, bounds, shortest, longest, most, words, items, shape = one
        if not -1 <= items < types or not -1 <= shape < shapes:
            raise ValueError("a type names what isn't there")
        if bool(kinds & (FANION_JUDGE_LIST | FANION_JUDGE_MAP) & ~unsure) != (items >= 0):
            raise ValueError("lists and maps have items, and nothing else has")
        if bool(kinds & FANION_JUDGE_OBJECT & ~unsure) != (shape >= 0):
            raise ValueError("objects have a shape, and nothing else has")
        made.number = number
        made.kinds, made.unsure, made.pattern, made.bounds = kinds, unsure, pattern, bounds
        made.length_min, made.length_max, made.count_max = shortest, longest, most
        made.items = &self.types[<uint32_t>items] if items >= 0 else NULL
        made.shape = &self.shapes[<uint32_t>shape] if shape >= 0 else NULL
        choices = <fanion_flat_text *>self.block(len(words), sizeof(fanion_flat_text))
        for n, word in enumerate(words):
            choices[n] = self.borrow(word)
        made.choices, made.choice_count = choices, <uint32_t>len(words)
        return 0

    cdef int make_struct(self, uint32_t number, tuple one, Py_ssize_t types, uint32_t notes) except -1:
        cdef fanion_judge_struct *made = &self.structs[number]
        cdef uint32_t n
        fields, tag, required, exactly_one, closed, moments = one
        if not 0 < len(fields) <= FANION_JUDGE_FIELDS_MAX or len(moments) > FANION_JUDGE_MOMENTS_MAX:
            raise ValueError(f"{len(fields)} fields and {len(moments)} moments are too many")
        made.number = number
        made.fields = <fanion_judge_field *>self.block(len(fields), sizeof(fanion_judge_field))
        made.field_count = <uint32_t>len(fields)
        for n, (name, type, note) in enumerate(fields):
            if not 0 <= type < types or not -1 <= note < <int64_t>notes:
                raise ValueError("a field names what isn't there")
            if not is_plain(name):
                raise ValueError(f"{name!r} is written in other ways too")
            made.fields[n].name = self.borrow(name)
            made.fields[n].type = &self.types[<uint32_t>type]
            made.fields[n].note = note
            made.fields[n].kept = moments.index(n) if n in moments else -1
            made.after[n] = <uint8_t>(n + 1)
        made.after[FANION_JUDGE_FIELDS_MAX] = 0
        made.tag = self.borrow(tag)
        made.required, made.exactly_one, made.closed = required, exactly_one, closed
        made.moment_count = <uint32_t>len(moments)
        for n, field in enumerate(moments):
            made.moments[n] = field
        return 0

    cdef int make_shape(self, uint32_t number, tuple one, Py_ssize_t structs) except -1:
        cdef fanion_judge_shape *made = &self.shapes[number]
        cdef fanion_judge_struct **among
        cdef uint32_t n
        tag_name, numbers = one
        if not numbers or (len(numbers) > 1 and not tag_name):
            raise ValueError("several structs are told apart by a tag")
        made.number = number
        made.tag_name = self.borrow(tag_name)
        among = <fanion_judge_struct **>self.block(len(numbers), sizeof(void *))
        for n, struct in enumerate(numbers):
            if not 0 <= struct < structs:
                raise ValueError("a shape names what isn't there")
            among[n] = &self.structs[<uint32_t>struct]
        made.structs, made.struct_count = among, <uint32_t>len(numbers)
        return 0


cdef bint is_plain(str name):
    """Whether JSON has it as it is: the judge compares what is written."""
    return name.isprintable() and not any(mark in name for mark in '"\\')
