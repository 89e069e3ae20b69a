"""stitchd's wire shapes. Its semantics are in the definitions; the contract's sections are named below.

routes     endpoints, credentials, the error envelope
evaluate   one flag
segments   membership of one context, and of many
events     metric events: who is counted, who is rejected
served     what the endpoints keep at hand of one environment
schema     request bodies, and where a refused one is wrong
emit       answers at publish time
"""
