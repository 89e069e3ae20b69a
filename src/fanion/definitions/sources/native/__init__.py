"""The native format: its worlds, their checks, their lowering."""
