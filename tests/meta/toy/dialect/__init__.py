"""A toy of a dialect: see `tests/meta/test_meta_toy.py`.

words      what others have to know of it
canonical  how its events read
rendering  what is rendered when definitions are published
routes     endpoints, credentials, the shape of its errors
"""
