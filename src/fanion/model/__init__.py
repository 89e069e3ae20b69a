"""The nouns: msgspec structs only. Imports nothing of ours.

`program` is the meeting point of the whole system: definitions are lowered to it, the bundle compiler
writes it, the compiled core and the reference twin run it. `expression` has the steps of slots that are
computed. `context` is what a request brings.
"""
