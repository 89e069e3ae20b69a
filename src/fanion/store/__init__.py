"""LMDB: transactions, lists, pinned generations, recovery. What a bundle looks like inside is `fanion.bundle`."""
