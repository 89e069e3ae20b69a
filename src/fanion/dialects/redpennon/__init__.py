"""Red Pennon's wire shapes. Its semantics are in the definitions; the contract's sections are named below.

routes     endpoints, credentials, the error shape
schema     request bodies, the ten rules of events
evaluate   one variable, many variables
events     de-duplication, traces, the journal
refusals   governance in the API's own words
emit       result fragments and the catalogue, at publish time
"""
