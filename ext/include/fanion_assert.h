/* FANION_ASSERT(condition): a range that was proven when the bytes were verified, asserted again where they are read.
 *
 * Under FANION_DEBUG a broken one ends the process and names its place; in a release it is nothing, and the condition is
 * not evaluated. For what verification has proven only: what a caller may get wrong is an error, not an assertion.
 * Does not need the GIL.
 */
#ifndef FANION_ASSERT_H
#define FANION_ASSERT_H

#ifdef FANION_DEBUG
#include <stdio.h>
#include <stdlib.h>

static inline void fanion_assert_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}

#define FANION_ASSERT(condition) ((condition) ? (void)0 : fanion_assert_failed(#condition, __FILE__, __LINE__))
#else
#define FANION_ASSERT(condition) ((void)sizeof(!(condition)))
#endif

#endif
