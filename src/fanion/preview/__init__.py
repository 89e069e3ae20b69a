"""What a publication would change, before it is made: which flags, how, and for whom (docs/preview.md).

contents   what a decision comes to, whatever numbers it has in its program
changes    flags of two programs beside each other
contexts   who is asked for: contexts from a file, made up from what rules look at, or units that were seen
moves      how many of them get another variant, from which to which
shares     whether lots fall as they are written
report     all of it as one object, and as text

Decision, 2026-11. Both sides are programs that were just lowered, the served one from the definitions that the
store keeps: a bundle has no names of variants, and answers in every API's words instead of one.
"""
