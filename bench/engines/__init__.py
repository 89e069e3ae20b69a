"""Engines that one would otherwise pick, each asked for the same flag in an environment of its own.

`python -m bench.engines NAME [--quick]` makes the environment of that engine where it isn't there yet (in
`build/engines/NAME`, by the versions of `versions.json`), checks that the engine decides as it should, and prints
how much processor time one flag takes. Modules: `environments`; one script an engine, `ask_NAME.py` or `.mjs`,
which runs in its own environment and so imports nothing but the engine and `timing`.

The flag is one of 50: country in DE, AT, CH and plan is pro, both met, then half of the people. A script that can't
say the flag in its engine's words says how it differs. What this can't show: threads, other shapes of flags, what
the engines take for a refresh.
"""
