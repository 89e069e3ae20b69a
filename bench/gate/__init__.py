"""The instruction gate: how many instructions an operation takes, and whether that grew.

    python -m bench.gate                    measures every row and compares it with figures.json
    python -m bench.gate --update           writes figures.json anew, on purpose; commit it with what changed it
    python -m bench.gate --add              adds rows that have no figures yet, and leaves those of the others
    python -m bench.gate --groups core      only the rows of these groups
    python -m bench.gate --against FILE     compares with figures that were kept elsewhere, as of an older commit

Instructions are counted by callgrind, not timed: a shared machine gives the same figures as a quiet one. Hash seed
0, address randomisation off, an empty environment, the collector off, one thread; counting begins by a client
request after a warm-up, lasts `INSTRUCTIONS_MIN` a row, and the least of three counts; the first does where it is
within what is allowed, as the least can't be above it. Requests go through the application of a real worker without
a socket; its journal is a stand-in, so that no writer thread runs beside.

What an operation costs depends on the interpreter, the compiler, libc, the packages and the processor's features
too. figures.json says with which it was measured; with others its own commit is built and measured beside.

    rows         what is measured, one function a row         entry     the parts of Fanion that rows are made of
    worlds       definitions, requests, batches               counting  one process under callgrind
    comparison   figures, versions, what grew
"""
