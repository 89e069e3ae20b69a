"""Bundles: one flat value per environment, kept in LMDB, read by every worker straight from the memory map.

Limits first. A bundle is at most 2 GiB; 1,000,000 decisions; 65,535 nodes to a decision; decisions ask each
other at most 32 deep; a fragment has at most 64 pieces. `format` holds each number.

Layout (little-endian, every section 8-aligned; the C structs stand in `ext/include/fanion_bundle.h`)

    offset  size  member
         0     8  magic       89 46 41 4E 49 4F 4E 0A  ("\\x89FANION\\n")
         8     4  version     of the format: 4
        12     4  sections    how many entries the table below has: 36
        16     8  total size  of the bundle in bytes; the value in the store is exactly this long
        24     8  checksum    xxh64, seed 0, of bytes 32 .. total size
        32    16  section 0   {u64 offset, u32 count, u32 record size}; then sections 1 .. 35
       608     -  the sections themselves, in the order of the table

    section         record  what it holds
     0 blob              1  every text, literal, fragment piece and document, back to back, equal ones once
     1 slots            24  name, context type, source, profile, dotted, needs (text, number), expression
     2 decisions        32  key, nodes, outcome count, memo cell, depth
     3 nodes            32  tests, hashes, branches, outcomes and causes; a target is a later node of the decision
     4 pieces           16  parts of hash inputs
     5 ranges           24  inclusive bucket ranges with their targets
     6 weights          16  weights with their targets
     7 sets             16  sets of texts: up to 8 side by side, more as an open-addressing table
     8 set items        16  {text, hash}
     9 versions         40  SemVer constants
    10 comparators      40  bounds of version requirements
    11 externals        16  leaves answered outside the kernel: operator, slot, operand
    12 tables           32  one per dialect: name, entries, key index, the fragment for absent keys
    13 entries          32  key, key as JSON, decision, first fragment, client_safe, row
    14 index             4  open addressing by xxh64 of the key: entry number + 1, 0 = empty
    15 fragments         8  a run of ropes: one fragment per outcome of an entry's decision
    16 ropes             8  piece of the blob, or a hole that the request fills
    17 documents        16  whole answers and records by name
    18 meta              1  JSON: environment, identifiers, list names
    19 numbers           8  doubles: the weights of vectors
    20 targets           4  runs of node numbers
    21 vectors          24  weights under a key, with a note; the keys of one choice in ascending order
    22 keyed            32  choices by weights under a key that the request makes
    23 models           24  choices by scores: temperature, floor, alternatives
    24 alternatives     24  base score, terms, target
    25 terms            32  a number's coefficient or the values of texts, and what a missing one counts
    26 values           16  {text, double}, ascending within a term
    27 overlays         16  the rows of a table (layers; see `fanion.model.layers`)
    28 rows             16  decision, its outcomes, a slot
    29 row outcomes     16  a fragment per view, patches, note
    30 patches           8  {entry, fragment}
    31 expressions      16  slot, steps, how deep it loads others; by slot, ascending
    32 steps             8  operation and operand; a jump leads to a later step of the expression
    33 constants        16  null, truth values, numbers, texts, lists of constants before them
    34 splits           32  flag, run, the unit's kind and slot where it isn't the request's
    35 reached          16  split, whether in its shares, variant: what an outcome is recorded as

Modules. `format` has the structs and limits; `sections` is how they grow and how they are read; `operands`,
`nodes`, `choices`, `expressions`, `splits`, `tables` and `overlays` write and read back one kind of record
each; `compiler` and `reader` are the two ways through them; `describe`, `sentences` and its `wording` are for
people; `grafting` puts other weights into a bundle without compiling it.

Reading. A bundle is verified whole, once, when it is mapped: magic, version, size, checksum, then every offset,
count, target and number against its range. After that the kernel uses them without a check. A bundle that does
not verify is refused and the last good generation goes on being served.

Versioning. `version` moves when any struct changes; there is no in-place migration. The store keeps the
validated definitions, so a server that knows another format recompiles them when it starts.
    2           an outcome's cause; the context shapes of the sources (a document)
    3           computed slots: sections 31 to 33, a slot's expression
    4           splits that are recorded: sections 34 and 35, an outcome's splits

Decisions written here
    2026-11-21  Targets only point forward. Options: a step budget in the kernel, or an order that makes a
                loop impossible. The order costs nothing at run time and a verifier can prove it.
    2026-11-21  One table per dialect with ready fragments. Options: render per request, one fragment per
                (value, dialect), or ropes. Ropes share a value between its wrappers, and an answer is a few
                memcpy calls.
    2026-11-21  Values of layers are patches over entries. Options: a decision per parameter that asks all
                layers, or patches. Layers may override any key that is asked for and later ones win, so a
                decision per parameter would ask every layer; patches touch what an outcome overrides.
    2026-11-21  Sets up to eight items are scanned, larger ones hashed: below eight, a scan of lengths and
                bytes beats hashing the attribute.
    2026-11-21  The kernel asks for a slot when a node reads it. Options: bind all slots of a decision before
                it runs, or each at its first use. First use makes a flag whose first condition fails pay for
                one slot, and no list of slots has to be stored or proven.
"""
