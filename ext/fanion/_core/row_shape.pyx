"""Which members of an API's events fill which columns, compiled for `rows.pyx`."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memset

MEMBERS_MAX = FANION_ROWS_FIELDS_MAX
PART_MEMBERS_MAX = FANION_ROWS_PART_SLOTS

TARGETS = (
    "sent_us", "event_id", "unit_kind", "unit", "flag", "parameter", "variant", "metric", "value", "reason",
)

cdef enum:
    NO_SLOT = 255


cdef class Shape:
    """`fanion.model.rows.RowShape`, compiled. ValueError where it holds more than fits.

    `members`, `parts`: (path, column, reads, kind of unit or None, whether a unit is hashed). `variants`: (tag or
    None for all others, kind, columns left out, whether parts make rows), the one of all others last.
    """

    def __init__(
        self, list members not None, str tag not None, list variants not None, str parts not None,
        list part_members not None, tuple kinds not None, *, bint units_hashed, bint traced, bint resolves,
    ):
        cdef uint32_t n
        self._texts, self._outer = [], {}
        memset(&self.of_event, 0, sizeof(Sources))
        memset(&self.of_part, 0, sizeof(Sources))
        memset(self.unit_kinds, 0, sizeof(self.unit_kinds))
        self.units_hashed, self.traced, self.resolves = units_hashed, traced, resolves
        if len(members) + (tag != "") > FANION_ROWS_FIELDS_MAX or len(part_members) > FANION_ROWS_PART_SLOTS:
            raise ValueError(f"{FANION_ROWS_FIELDS_MAX} members and {FANION_ROWS_PART_SLOTS} of parts are allowed")
        if not 0 < len(variants) <= VARIANTS_MAX:
            raise ValueError(f"{len(variants)} variants; 1 to {VARIANTS_MAX} are allowed")
        self.hashed = 0
        for n, (path, column, reads, unit_kind, hashed) in enumerate(members):
            self.add(&self.event, &self.of_event, n, path, column, reads, unit_kind)
            self.hashed |= <uint32_t>bool(hashed) << n
        for n, (path, column, reads, unit_kind, hashed) in enumerate(part_members):
            if "." in path or unit_kind is not None or hashed:
                raise ValueError(f"{path}: a part's members are plain")
            self.add(&self.part, &self.of_part, n, path, column, reads, None)
        self.tag_slot = NO_SLOT
        if tag:
            self.tag_slot = <uint8_t>len(members)
            self.field(&self.event, tag, FANION_ROWS_TEXT).slot = self.tag_slot
        if parts:
            self.field(&self.event, parts, FANION_ROWS_PARTS).object = &self.part
        self.variant_count = <uint32_t>len(variants)
        for n, (name, kind, without, rows) in enumerate(variants):
            self.tags[n] = self.borrow(name or "", &self.tag_lengths[n])
            self.kinds[n] = kinds.index(kind)
            if {"unit", "unit_kind"} & set(without):
                raise ValueError(f"{name}: a unit can't be left out")
            self.without[n] = sum([1 << TARGETS.index(column) for column in without])
            self.with_parts[n] = rows

    cdef const char *borrow(self, str text, uint32_t *length) except NULL:
        cdef bytes raw = text.encode()
        self._texts.append(raw)
        length[0] = <uint32_t>len(raw)
        return raw

    cdef fanion_rows_field *field(self, fanion_rows_object *object, str name, int reads) except NULL:
        cdef fanion_rows_field *field
        if object.field_count == FANION_ROWS_FIELDS_MAX:
            raise ValueError(f"an object has {FANION_ROWS_FIELDS_MAX} members at most")
        field = &object.fields[object.field_count]
        field.name.text = self.borrow(f'"{name}"', &field.name.length)
        field.reads = <uint8_t>reads
        object.after[object.field_count] = <uint8_t>object.field_count
        object.field_count += 1
        return field

    cdef int add(
        self, fanion_rows_object *object, Sources *sources, uint32_t slot, str path, str column, int reads, unit_kind
    ) except -1:
        cdef int target = TARGETS.index(column)
        outer, _, inner = path.partition(".")
        if inner:
            if outer not in self._outer:
                if len(self._outer) == 2:
                    raise ValueError("members of two objects at most")
                self.field(object, outer, FANION_ROWS_OBJECT).object = &self.inner[len(self._outer)]
                self._outer[outer] = len(self._outer)
            object, path = &self.inner[<uint32_t>self._outer[outer]], inner
        self.field(object, path, reads).slot = <uint8_t>slot
        if sources.counts[target] == CANDIDATES_MAX:
            raise ValueError(f"{column}: {CANDIDATES_MAX} members at most")
        sources.slots[target][sources.counts[target]] = <uint8_t>slot
        sources.counts[target] += 1
        if unit_kind is not None:
            self.unit_kinds[slot] = self.borrow(unit_kind, &self.unit_kind_lengths[slot])
        return 0

    cdef uint32_t variant(self, const fanion_rows_value *values) noexcept:
        cdef uint32_t n
        cdef const fanion_rows_value *tag
        if self.tag_slot != NO_SLOT:
            tag = &values[self.tag_slot]
            for n in range(self.variant_count - 1):
                if tag.said == FANION_SAID_TEXT and tag.text.length == self.tag_lengths[n]:
                    if memcmp(tag.text.text, self.tags[n], tag.text.length) == 0:
                        return n
        return self.variant_count - 1
