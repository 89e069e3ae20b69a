"""A mapped bundle: one owner of the buffer, typed pointers to its sections. See `fanion.bundle` for the format."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint32_t, uint64_t

from fanion._core.layout cimport (
    fanion_alternative,
    fanion_bundle_header,
    fanion_comparator,
    fanion_decision,
    fanion_document,
    fanion_entry,
    fanion_external,
    fanion_fragment,
    fanion_keyed,
    fanion_model,
    fanion_node,
    fanion_overlay,
    fanion_patch,
    fanion_piece,
    fanion_range,
    fanion_row,
    fanion_row_outcome,
    fanion_set,
    fanion_set_item,
    fanion_slot,
    fanion_table,
    fanion_term,
    fanion_text,
    fanion_value,
    fanion_vector,
    fanion_version_record,
    fanion_weight,
)


cdef struct bundle_sections:
    # All borrowed from the buffer of the BundleView that holds this struct, until it is closed.
    const char *blob
    const fanion_slot *slots
    const fanion_decision *decisions
    const fanion_node *nodes
    const fanion_piece *pieces
    const fanion_range *ranges
    const fanion_weight *weights
    const fanion_set *sets
    const fanion_set_item *set_items
    const fanion_version_record *versions
    const fanion_comparator *comparators
    const fanion_external *externals
    const fanion_table *tables
    const fanion_entry *entries
    const uint32_t *index
    const fanion_fragment *fragments
    const fanion_text *ropes
    const fanion_document *documents
    const char *meta
    const double *numbers
    const uint32_t *targets
    const fanion_vector *vectors
    const fanion_keyed *keyed
    const fanion_model *models
    const fanion_alternative *alternatives
    const fanion_term *terms
    const fanion_value *values
    const fanion_overlay *overlays
    const fanion_row *rows
    const fanion_row_outcome *row_outcomes
    const fanion_patch *patches
    uint32_t counts[31]  # records per section, by section number


cdef class BundleView:
    cdef Py_buffer buffer        # owned; held from __cinit__ until close()
    cdef bint held
    cdef bundle_sections s
    cdef uint32_t memo_count     # decisions that others ask
    cdef uint32_t slot_count
    cdef uint32_t external_count

    cdef int require(self) except -1
    cdef str text(self, fanion_text place)
    cdef const fanion_entry *find(self, const fanion_table *table, const char *key, size_t length) noexcept nogil
