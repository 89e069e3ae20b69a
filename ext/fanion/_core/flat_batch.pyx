"""A quick yes for batches of flat JSON objects; see `fanion_flat_batch.h`. Knows no API: a dialect names the fields.

The schema's texts are borrowed from `_texts`, which lives as long as the object.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "fanion_flat_batch.h" nogil:
    ctypedef enum fanion_flat_kind:
        FANION_FLAT_TEXT
        FANION_FLAT_CHOICE
        FANION_FLAT_TIME
        FANION_FLAT_SCALAR

    enum:
        FANION_FLAT_UNSURE
        FANION_FLAT_FIELDS_MAX
        FANION_FLAT_CHOICES_MAX

    ctypedef struct fanion_flat_text:
        const char *text
        uint32_t length

    ctypedef struct fanion_flat_field:
        fanion_flat_text name
        fanion_flat_kind kind
        uint32_t choice_count
        fanion_flat_text *choices

    ctypedef struct fanion_flat_schema:
        fanion_flat_text list_name
        uint32_t field_count
        uint32_t required
        uint32_t count_max
        uint32_t own_field
        fanion_flat_field *fields

    int64_t fanion_flat_check(
        const fanion_flat_schema *schema, const uint8_t *body, uint64_t length, fanion_flat_text own
    ) noexcept


TEXT = FANION_FLAT_TEXT
CHOICE = FANION_FLAT_CHOICE
TIME = FANION_FLAT_TIME
SCALAR = FANION_FLAT_SCALAR
UNSURE = FANION_FLAT_UNSURE


cdef class FlatBatch:
    """What one kind of batch looks like.

    `fields`: (name, kind, required, choices), in the order in which clients mostly write them. `own_field`: the
    name of a TEXT field that `check` compares.
    """

    cdef fanion_flat_schema schema
    cdef list _texts  # keeps every text that `schema` points into

    def __init__(self, str list_name not None, list fields not None, uint32_t count_max, str own_field not None):
        cdef uint32_t n, m
        if not 0 < len(fields) <= FANION_FLAT_FIELDS_MAX:
            raise ValueError(f"{len(fields)} fields; 1 to {FANION_FLAT_FIELDS_MAX} are allowed")
        self._texts = []
        self.schema.list_name = self.borrow(list_name)
        self.schema.field_count = <uint32_t>len(fields)
        self.schema.count_max = count_max
        self.schema.required = 0
        self.schema.own_field = FANION_FLAT_FIELDS_MAX
        for n, (name, kind, required, choices) in enumerate(fields):
            if not TEXT <= kind <= SCALAR or len(choices) > FANION_FLAT_CHOICES_MAX:
                raise ValueError(f"field {name}: no such kind, or more than {FANION_FLAT_CHOICES_MAX} choices")
            self.schema.fields[n].name = self.borrow(name)
            self.schema.fields[n].kind = kind
            self.schema.fields[n].choice_count = <uint32_t>len(choices)
            for m, choice in enumerate(choices):
                self.schema.fields[n].choices[m] = self.borrow(choice)
            if required:
                self.schema.required |= <uint32_t>1 << n
            if name == own_field:
                if kind != TEXT:
                    raise ValueError(f"field {name} is compared, so it must be text")
                self.schema.own_field = n
        if self.schema.own_field == FANION_FLAT_FIELDS_MAX:
            raise ValueError(f"there is no field {own_field}")

    cdef fanion_flat_text borrow(self, str text):
        cdef bytes raw = text.encode()
        cdef fanion_flat_text borrowed
        self._texts.append(raw)
        borrowed.text = raw
        borrowed.length = <uint32_t>len(raw)
        return borrowed

    def check(self, bytes body not None, bytes own not None):
        """How many objects say something else than `own` in the own field; UNSURE: ask the full decoder."""
        cdef fanion_flat_text text
        text.text = own
        text.length = <uint32_t>len(own)
        return fanion_flat_check(&self.schema, <const uint8_t *><const char *>body, <uint64_t>len(body), text)
