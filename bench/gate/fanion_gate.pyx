"""Valgrind's client requests, for `bench.gate` alone: built with FANION_GATE=1, in no wheel.

Outside of Valgrind every one of them does nothing.
"""

cdef extern from *:
    """
    #include <valgrind/callgrind.h>

    static void fanion_collection_start(void) {
        CALLGRIND_START_INSTRUMENTATION;
        CALLGRIND_ZERO_STATS;
    }

    static void fanion_collection_stop(const char *name) {
        CALLGRIND_DUMP_STATS_AT(name);
        CALLGRIND_STOP_INSTRUMENTATION;
    }

    static int fanion_is_counted(void) { return RUNNING_ON_VALGRIND != 0; }
    """
    void fanion_collection_start()
    void fanion_collection_stop(const char *name)
    bint fanion_is_counted()


def is_running():
    """Whether this process runs under Valgrind."""
    return fanion_is_counted()


def count(run, const char *name):
    """Calls `run` with collection on, and has the counts written as a dump of this name."""
    fanion_collection_start()
    run()
    fanion_collection_stop(name)
