"""Deciding: `evaluator` is the facade over the compiled core, `reference` its plain-Python twin.

The twin runs the lowered program as it stands in `fanion.model.program`; the core runs the same program out
of a bundle. Tests hold the two equal over random programs and contexts, so neither is changed alone. `expression`
is the twin's run of a computed slot.
"""
