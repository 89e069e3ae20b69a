/* The bundle's sections, in the order of the header's table: the one list, from which the enum, the sizes of records
 * and the pointers into a mapped bundle come. `fanion.bundle.format` writes by a list of its own, which a test holds
 * equal to this one.
 *
 * X(NAME, member, type of a record). Do not add, drop or reorder a line without a new FANION_BUNDLE_VERSION. */
#ifndef FANION_SECTIONS_H
#define FANION_SECTIONS_H

/* clang-format off */
#define FANION_SECTIONS(X) \
    X(BLOB, blob, char) \
    X(SLOTS, slots, fanion_slot) \
    X(DECISIONS, decisions, fanion_decision) \
    X(NODES, nodes, fanion_node) \
    X(PIECES, pieces, fanion_piece) \
    X(RANGES, ranges, fanion_range) \
    X(WEIGHTS, weights, fanion_weight) \
    X(SETS, sets, fanion_set) \
    X(SET_ITEMS, set_items, fanion_set_item) \
    X(VERSIONS, versions, fanion_version_record) \
    X(COMPARATORS, comparators, fanion_comparator) \
    X(EXTERNALS, externals, fanion_external) \
    X(TABLES, tables, fanion_table) \
    X(ENTRIES, entries, fanion_entry) \
    X(INDEX, index, uint32_t) \
    X(FRAGMENTS, fragments, fanion_fragment) \
    X(ROPES, ropes, fanion_text) \
    X(DOCUMENTS, documents, fanion_document) \
    X(META, meta, char) \
    X(NUMBERS, numbers, double) \
    X(TARGETS, targets, uint32_t) \
    X(VECTORS, vectors, fanion_vector) \
    X(KEYED, keyed, fanion_keyed) \
    X(MODELS, models, fanion_model) \
    X(ALTERNATIVES, alternatives, fanion_alternative) \
    X(TERMS, terms, fanion_term) \
    X(VALUES, values, fanion_value) \
    X(OVERLAYS, overlays, fanion_overlay) \
    X(ROWS, rows, fanion_row) \
    X(ROW_OUTCOMES, row_outcomes, fanion_row_outcome) \
    X(PATCHES, patches, fanion_patch) \
    X(EXPRESSIONS, expressions, fanion_expression) \
    X(STEPS, steps, fanion_step) \
    X(CONSTANTS, constants, fanion_constant) \
    X(SPLITS, splits, fanion_split) \
    X(REACHED, reached, fanion_reached)
/* clang-format on */

#define FANION_SECTION_NUMBER(NAME, member, type) FANION_SECTION_##NAME,
enum fanion_section_kind { FANION_SECTIONS(FANION_SECTION_NUMBER) FANION_SECTION_COUNT };
#undef FANION_SECTION_NUMBER

#endif
