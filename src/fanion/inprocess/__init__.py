"""Evaluating in a process of one's own, straight from the store's memory map (docs/in-process.md).

evaluator  one environment: following its publishes, asking its flags
answers    what an evaluation gives back, read from the ready answers of the dialect of flat contexts
"""
