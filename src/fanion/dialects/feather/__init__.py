"""Feather's wire shapes. Its semantics are in the definitions; the contract's sections are named below.

routes   endpoints, statuses, the error envelope
schema   request bodies, and where a refused one is wrong
emit     result fragments at publish time
"""
