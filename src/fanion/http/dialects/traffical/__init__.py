"""Traffical's wire shapes. Its semantics are in the definitions; the contract's sections are named below.

emit     parameters and layer rows at publish time
"""
