"""Rows as columns (docs/rows.md), and how they leave: by the Arrow C data interface, or as Python tuples.

`Columns` owns its buffers. Whoever takes an array by `__arrow_c_array__` or `__arrow_c_stream__` reads the same
memory, and keeps the object until it releases what it took. `_core.rows` fills one, then it never changes, but for
the keys, which are made when it leaves.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fanion._core.exposure_body cimport DIGEST_BYTES, hexadecimal
from fanion._core.hash cimport fanion_hash_xxh64, fanion_sha256_two


cdef extern from "fanion_arrow.h" nogil:
    struct ArrowSchema:
        const char *format
        const char *name
        const char *metadata
        int64_t flags
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept nogil
        void *private_data

    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary
        void (*release)(ArrowArray *) noexcept nogil
        void *private_data

    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream *, ArrowSchema *) noexcept nogil
        int (*get_next)(ArrowArrayStream *, ArrowArray *) noexcept nogil
        const char *(*get_last_error)(ArrowArrayStream *) noexcept nogil
        void (*release)(ArrowArrayStream *) noexcept nogil
        void *private_data

cdef enum:
    NULLABLE = 2  # of ArrowSchema's flags
    ROOM_FIRST = 1024
    NO_MEMORY = 12

NAMES = (
    b"machine", b"writer", b"epoch", b"sequence", b"index", b"part", b"received_at", b"event_at", b"time_from",
    b"sent_at", b"environment", b"dialect", b"kind", b"disposition", b"counts", b"verified", b"event_id",
    b"unit_kind", b"unit", b"unit_hashed", b"flag", b"parameter", b"variant", b"metric", b"value", b"value_text",
    b"reason", b"run", b"generation", b"attributes", b"unit_key", b"event_key",
)
cdef tuple HELD = NAMES  # the schemas' names point into these
cdef const char *FORMATS[7]
FORMATS[:] = ["i", "u", "tsu:UTC", "L", "I", "g", "b"]
cdef uint64_t[7] WIDTHS = [4, 0, 8, 8, 4, 8, 1]

cdef int[COLUMN_COUNT] TYPES = [
    NAME_TYPE, INTEGER_TYPE, LONG_TYPE, LONG_TYPE, INTEGER_TYPE, INTEGER_TYPE, TIME_TYPE, TIME_TYPE, NAME_TYPE,
    TIME_TYPE, NAME_TYPE, NAME_TYPE, NAME_TYPE, NAME_TYPE, BOOLEAN_TYPE, BOOLEAN_TYPE, TEXT_TYPE, NAME_TYPE,
    TEXT_TYPE, BOOLEAN_TYPE, NAME_TYPE, NAME_TYPE, NAME_TYPE, NAME_TYPE, DOUBLE_TYPE, TEXT_TYPE, NAME_TYPE,
    NAME_TYPE, LONG_TYPE, TEXT_TYPE, LONG_TYPE, LONG_TYPE,
]


# What columns that are gone leave to the next ones, as fresh memory is a fifth of an expansion's time: of what was
# used well only, so that who has little to do gives it back. Under the GIL.
cdef enum:
    SPARE_MAX = 2
    SPARE_PART = 8
    SPARE_ROWS_MAX = 1 << 19
    SPARE_TEXT_MAX = 32 << 20
    SPARE_NAMES_MAX = 1 << 16

cdef struct Spare:
    Column columns[COLUMN_COUNT]
    uint64_t room

cdef Spare[SPARE_MAX] spare
cdef uint32_t spare_count = 0


cdef inline uint64_t text_key(const fanion_texts *texts, uint64_t row) noexcept:
    cdef int32_t *ends = <int32_t *>texts.offsets.at
    return fanion_hash_xxh64(texts.text.at + ends[row], ends[row + 1] - ends[row])


cdef void add_id_keys(const fanion_texts *texts, const uint64_t *rows, uint64_t *keys) noexcept:
    """Of ids in two rows: XXH64 of their SHA-256 as digits."""
    cdef int32_t *ends = <int32_t *>texts.offsets.at
    cdef const uint8_t *ids[2]
    cdef size_t[2] lengths
    cdef uint8_t[2 * DIGEST_BYTES] digests
    cdef char[2 * DIGEST_BYTES] digits
    cdef int n
    for n in range(2):
        ids[n], lengths[n] = texts.text.at + ends[rows[n]], ends[rows[n] + 1] - ends[rows[n]]
    fanion_sha256_two(ids, lengths, digests)
    for n in range(2):
        hexadecimal(digests + n * DIGEST_BYTES, DIGEST_BYTES, digits)
        keys[rows[n]] = fanion_hash_xxh64(digits, 2 * DIGEST_BYTES)


cdef bint may_be_null(int place) noexcept:
    return place == SENT_AT or place == VERIFIED or (place >= EVENT_ID and place != UNIT_HASHED)


cdef class Columns:
    def __cinit__(self):
        global spare_count
        cdef int place
        memset(self.columns, 0, sizeof(self.columns))
        if spare_count:
            spare_count -= 1
            memcpy(self.columns, spare[spare_count].columns, sizeof(self.columns))
            self.room = spare[spare_count].room
        for place in range(COLUMN_COUNT):
            if TYPES[place] == NAME_TYPE and not fanion_dictionary_begin(&self.columns[place].names):
                raise MemoryError
            if TYPES[place] == TEXT_TYPE and not fanion_texts_begin(&self.columns[place].texts):
                raise MemoryError
        if not self.room:
            self.make_room()

    def __dealloc__(self):
        global spare_count
        cdef Column *column
        cdef int place
        if spare_count < SPARE_MAX and self.room <= SPARE_ROWS_MAX and self.rows * SPARE_PART > self.room:
            for place in range(COLUMN_COUNT):
                column = &self.columns[place]
                column.data.used = column.valid.used = column.nulls = 0
                if column.texts.text.room > SPARE_TEXT_MAX:
                    fanion_bytes_free(&column.texts.text)
                if column.names.count > SPARE_NAMES_MAX or column.names.texts.text.room > SPARE_TEXT_MAX:
                    fanion_dictionary_free(&column.names)
            memcpy(spare[spare_count].columns, self.columns, sizeof(self.columns))
            spare[spare_count].room = self.room
            spare_count += 1
            return
        for place in range(COLUMN_COUNT):
            column = &self.columns[place]
            fanion_bytes_free(&column.data)
            fanion_bytes_free(&column.valid)
            fanion_bytes_free(&column.bits)
            fanion_bytes_free(&column.truth)
            fanion_texts_free(&column.texts)
            fanion_dictionary_free(&column.names)

    def __len__(self):
        return self.rows

    cdef int make_room(self) except -1:
        """For twice as many rows."""
        cdef int place
        cdef Column *column
        cdef uint64_t room = self.room * 2 if self.room else ROOM_FIRST
        for place in range(COLUMN_COUNT):
            column = &self.columns[place]
            column.data.used = column.valid.used = 0
            if not fanion_bytes_reserve(&column.data, room * WIDTHS[TYPES[place]]):
                raise MemoryError
            if may_be_null(place) and TYPES[place] != NAME_TYPE and not fanion_bytes_reserve(&column.valid, room):
                raise MemoryError
        self.room = room
        return 0

    cdef int cut(self, uint64_t rows) except -1:
        """Takes back all behind these rows."""
        cdef int place
        for place in range(COLUMN_COUNT):
            if TYPES[place] == TEXT_TYPE:
                fanion_texts_cut(&self.columns[place].texts, rows)
        self.rows = rows
        return 0

    cdef uint64_t text_bytes(self) noexcept:
        """Of the column that has the most."""
        cdef int place
        cdef uint64_t most = 0
        for place in range(COLUMN_COUNT):
            most = max(most, self.columns[place].texts.text.used, self.columns[place].names.texts.text.used)
        return most

    cdef int finish(self) except -1:
        cdef int place
        cdef Column *column
        for place in range(UNIT_KEY):  # those behind it are made of these
            column = &self.columns[place]
            if TYPES[place] == NAME_TYPE and may_be_null(place):
                if not fanion_bytes_reserve(&column.valid, self.rows + 1):
                    raise MemoryError
                fanion_numbers_finish(<int32_t *>column.data.at, column.valid.at, self.rows)
            if may_be_null(place):
                if not fanion_bytes_reserve(&column.bits, self.rows // 8 + 1):
                    raise MemoryError
                column.nulls = self.rows - fanion_pack_bits(column.bits.at, column.valid.at, self.rows)
            if TYPES[place] == BOOLEAN_TYPE:
                if not fanion_bytes_reserve(&column.truth, self.rows // 8 + 1):
                    raise MemoryError
                fanion_pack_bits(column.truth.at, column.data.at, self.rows)
        self.finished = True
        return 0

    cdef int add_keys(self) except -1:
        """Of units and ids of events, when the columns leave: who only counts rows doesn't pay for them."""
        cdef Column *units = &self.columns[UNIT]
        cdef Column *events = &self.columns[EVENT_ID]
        cdef uint64_t *unit_keys = <uint64_t *>self.columns[UNIT_KEY].data.at
        cdef uint64_t *event_keys = <uint64_t *>self.columns[EVENT_KEY].data.at
        cdef uint8_t *hashed = self.columns[UNIT_HASHED].data.at
        cdef uint64_t[2] ids  # rows of two, whose digests are made at once
        cdef uint64_t row
        cdef int waiting = 0
        if not self.finished:
            raise ValueError("the columns are still being filled")
        if self.keyed:
            return 0
        self.copy_nulls(UNIT, UNIT_KEY)
        self.copy_nulls(EVENT_ID, EVENT_KEY)
        for row in range(self.rows):
            event_keys[row] = text_key(&events.texts, row) if events.valid.at[row] else 0
            unit_keys[row] = 0
            if units.valid.at[row] and hashed[row]:  # digits already
                unit_keys[row] = text_key(&units.texts, row)
            elif units.valid.at[row]:
                ids[waiting] = row
                waiting += 1
                if waiting == 2:
                    add_id_keys(&units.texts, ids, unit_keys)
                    waiting = 0
        if waiting:
            ids[1] = ids[0]
            add_id_keys(&units.texts, ids, unit_keys)
        self.keyed = True
        return 0

    cdef int copy_nulls(self, int source, int target) except -1:
        cdef Column *column = &self.columns[target]
        if not fanion_bytes_reserve(&column.bits, self.rows // 8 + 1):
            raise MemoryError
        memcpy(column.valid.at, self.columns[source].valid.at, self.rows)
        fanion_pack_bits(column.bits.at, column.valid.at, self.rows)
        column.nulls = self.columns[source].nulls
        return 0

    def tuples(self):
        """Each row as a tuple of Python values, in the order of `fanion.journal.rows.Row`; for tests."""
        self.add_keys()
        return list(zip(*[self.values(place) for place in range(COLUMN_COUNT)]))

    cdef list values(self, int place):
        cdef Column *column = &self.columns[place]
        cdef uint64_t row
        cdef list texts, found = []
        texts = texts_of(&column.names.texts if TYPES[place] == NAME_TYPE else &column.texts)
        for row in range(self.rows):
            if may_be_null(place) and not column.valid.at[row]:
                found.append(None)
            elif TYPES[place] == NAME_TYPE:
                found.append(texts[(<int32_t *>column.data.at)[row]])
            elif TYPES[place] == TEXT_TYPE:
                found.append(texts[row])
            elif TYPES[place] == TIME_TYPE:
                found.append((<int64_t *>column.data.at)[row])
            elif TYPES[place] == LONG_TYPE:
                found.append((<uint64_t *>column.data.at)[row])
            elif TYPES[place] == INTEGER_TYPE:
                found.append((<uint32_t *>column.data.at)[row])
            elif TYPES[place] == DOUBLE_TYPE:
                found.append((<double *>column.data.at)[row])
            else:
                found.append(column.data.at[row] != 0)
        return found

    def __arrow_c_schema__(self):
        cdef ArrowSchema *schema = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
        if schema == NULL:
            raise MemoryError
        capsule = PyCapsule_New(schema, "arrow_schema", drop_schema)
        if not fill_schema(schema):
            raise MemoryError
        return capsule

    def __arrow_c_array__(self, requested_schema=None):
        """One struct array; it ignores what schema was asked for, as the interface allows."""
        self.add_keys()
        cdef ArrowArray *array = <ArrowArray *>calloc(1, sizeof(ArrowArray))
        if array == NULL:
            raise MemoryError
        capsule = PyCapsule_New(array, "arrow_array", drop_array)
        if not fill_array(array, self):
            raise MemoryError
        return self.__arrow_c_schema__(), capsule

    def __arrow_c_stream__(self, requested_schema=None):
        """A stream of that one array."""
        self.add_keys()
        cdef ArrowArrayStream *stream = <ArrowArrayStream *>calloc(1, sizeof(ArrowArrayStream))
        if stream == NULL:
            raise MemoryError
        capsule = PyCapsule_New(stream, "arrow_array_stream", drop_stream)
        left = [self]
        Py_INCREF(left)
        stream.private_data = <void *>left
        stream.get_schema, stream.get_next = stream_schema, stream_next
        stream.get_last_error, stream.release = stream_error, release_stream
        return capsule


cdef list texts_of(const fanion_texts *texts):
    cdef uint64_t n
    cdef int32_t *ends = <int32_t *>texts.offsets.at
    return [
        (<const char *>texts.text.at)[ends[n]:ends[n + 1]].decode() for n in range(fanion_texts_count(texts))
    ]


# The interface's structs. Each is released by its own function; one that was moved has none any more.

cdef struct Held:
    PyObject *owner
    const void *buffers[3]


cdef void release_schema(ArrowSchema *schema) noexcept nogil:
    for n in range(schema.n_children):
        if schema.children[n] != NULL:
            if schema.children[n].release != NULL:
                schema.children[n].release(schema.children[n])
            free(schema.children[n])
    free(schema.children)
    if schema.dictionary != NULL:
        if schema.dictionary.release != NULL:
            schema.dictionary.release(schema.dictionary)
        free(schema.dictionary)
    schema.release = NULL


cdef void release_array(ArrowArray *array) noexcept with gil:
    cdef Held *held = <Held *>array.private_data
    for n in range(array.n_children):
        if array.children[n] != NULL:
            if array.children[n].release != NULL:
                array.children[n].release(array.children[n])
            free(array.children[n])
    free(array.children)
    if array.dictionary != NULL:
        if array.dictionary.release != NULL:
            array.dictionary.release(array.dictionary)
        free(array.dictionary)
    Py_DECREF(<object>held.owner)
    free(held)
    array.release = NULL


cdef void release_stream(ArrowArrayStream *stream) noexcept with gil:
    Py_DECREF(<object>stream.private_data)
    stream.release = NULL


cdef void drop_schema(object capsule) noexcept:
    cdef ArrowSchema *schema = <ArrowSchema *>PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release != NULL:
        schema.release(schema)
    free(schema)


cdef void drop_array(object capsule) noexcept:
    cdef ArrowArray *array = <ArrowArray *>PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release != NULL:
        array.release(array)
    free(array)


cdef void drop_stream(object capsule) noexcept:
    cdef ArrowArrayStream *stream = <ArrowArrayStream *>PyCapsule_GetPointer(capsule, "arrow_array_stream")
    if stream.release != NULL:
        stream.release(stream)
    free(stream)


cdef bint fill_schema(ArrowSchema *schema) noexcept:
    """False: no memory; what there is by then is released with the schema."""
    cdef ArrowSchema *child
    cdef int place
    schema.format, schema.name, schema.release = "+s", "", release_schema
    schema.children = <ArrowSchema **>calloc(COLUMN_COUNT, sizeof(ArrowSchema *))
    if schema.children == NULL:
        return False
    schema.n_children = COLUMN_COUNT
    for place in range(COLUMN_COUNT):
        child = schema.children[place] = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
        if child == NULL:
            return False
        child.format, child.name = FORMATS[TYPES[place]], <const char *><bytes>HELD[place]
        child.flags, child.release = NULLABLE if may_be_null(place) else 0, release_schema
        if TYPES[place] == NAME_TYPE:
            child.dictionary = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
            if child.dictionary == NULL:
                return False
            child.dictionary.format, child.dictionary.name = "u", ""
            child.dictionary.release = release_schema
    return True


cdef bint hold(ArrowArray *array, Columns owner, int64_t length, int64_t buffers) noexcept:
    cdef Held *held = <Held *>calloc(1, sizeof(Held))
    if held == NULL:
        return False
    held.owner = <PyObject *>owner
    Py_INCREF(owner)
    array.length, array.n_buffers, array.buffers = length, buffers, held.buffers
    array.private_data, array.release = held, release_array
    return True


cdef bint fill_array(ArrowArray *array, Columns owner) noexcept:
    """As `fill_schema`."""
    cdef ArrowArray *child
    cdef Column *column
    cdef int type
    cdef int place
    if not hold(array, owner, owner.rows, 1):
        return False
    array.children = <ArrowArray **>calloc(COLUMN_COUNT, sizeof(ArrowArray *))
    if array.children == NULL:
        return False
    array.n_children = COLUMN_COUNT
    for place in range(COLUMN_COUNT):
        column, type = &owner.columns[place], TYPES[place]
        child = array.children[place] = <ArrowArray *>calloc(1, sizeof(ArrowArray))
        if child == NULL or not hold(child, owner, owner.rows, 3 if type == TEXT_TYPE else 2):
            return False
        child.null_count = column.nulls
        child.buffers[0] = column.bits.at if column.nulls else NULL
        if type == TEXT_TYPE:
            child.buffers[1], child.buffers[2] = column.texts.offsets.at, column.texts.text.at
        else:
            child.buffers[1] = column.truth.at if type == BOOLEAN_TYPE else column.data.at
        if type == NAME_TYPE:
            child.dictionary = <ArrowArray *>calloc(1, sizeof(ArrowArray))
            if child.dictionary == NULL or not hold(child.dictionary, owner, column.names.count, 3):
                return False
            child.dictionary.buffers[1] = column.names.texts.offsets.at
            child.dictionary.buffers[2] = column.names.texts.text.at
    return True


cdef int stream_schema(ArrowArrayStream *stream, ArrowSchema *out) noexcept with gil:
    memset(out, 0, sizeof(ArrowSchema))
    if fill_schema(out):
        return 0
    out.release(out)
    return NO_MEMORY


cdef int stream_next(ArrowArrayStream *stream, ArrowArray *out) noexcept with gil:
    cdef list left = <list>stream.private_data
    memset(out, 0, sizeof(ArrowArray))
    if not left or fill_array(out, left.pop()):
        return 0
    if out.release != NULL:
        out.release(out)
    return NO_MEMORY


cdef const char *stream_error(ArrowArrayStream *stream) noexcept with gil:
    return "there is no memory for the columns"
