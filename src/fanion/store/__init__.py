"""LMDB: generations of bundles, keys and lists. What a bundle looks like inside is `fanion.bundle`.

handles       LMDB's objects, for type checkers
database      the open environment: rights, places of readers, whether it still lies where it was opened
transactions  one writer at a time, the manifest, numbers of generations
generation    layout and seals of what is stored; a pinned generation and the views into the map under it
publication   what is published at once
store         what commands and the server's start do: publish, roll back, keys, copies
lists         list segments in blocks; list_writer changes them, spool reads members before a lock is taken
reload        a worker's side: following generations, the keys and views of one
onlooker      one environment for a process that evaluates by itself; pins hold what it reads
revocations   revoked keys beside the store, so that no older copy revives one; key_ids: which keys have an id
signing       the keys of trace tokens; unit_keys: those of units' digests
forgetting    members leave the lists, and what the file still shows of them
verify        reading a store through; recovery puts its copy in place
console       tokens of the console, this store's own
weights       weights that were applied to policies, by environment
installation  a generation of another machine, as it is
replacement   bundles compiled again from the same sources, in the place of others
upgrade       bundles of an older format, compiled again
"""
