"""What readers of the console do: `python -m fanion.app.answering DIRECTORY PARENT`, one question after the other.

__main__    the process: its bounds, the loop, what is said of faults
answers     which answer is to which question; words: parts that several of them have
programs    environments as they are served, lowered again and kept while they stay the same
flags       found by a text, and one with its rules as sentences
whatif      one flag for one context, and the way to its answer
records     what the store and the journal hold besides
events      the newest events, and one whole
preview     what another text of a served file would change
"""
