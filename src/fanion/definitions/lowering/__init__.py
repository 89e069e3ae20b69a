"""What every source lowers with.

builder     the environment that is being made: slots, decisions, parameters, lists, documents
assembler   the nodes of one decision, with labels where a target is not there yet
spread      outcomes told apart by the recorded splits before them
recording   which splits are recorded, and what a run of one is
overriding  what stands in a flag's place
expressions the steps of one computed slot, likewise
values      operands and values as text
conditions  trees of tests; segments: audiences as decisions of their own
rules       flags of rules, rollouts and splits
"""
