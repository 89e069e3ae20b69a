"""A toy of a source: see `tests/meta/test_meta_toy.py`."""
