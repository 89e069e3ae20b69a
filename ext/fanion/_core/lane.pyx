"""A request without a turn of the event loop: its coroutine is stepped in the thread that hands it over.

Granian calls `loop.call_soon_threadsafe` for each request, and for each body that has come, from threads of its own,
which have the GIL then. A thread's wake-up costs more than most requests. So the loop of `fanion.process.lane` has
its `Lane` called instead, which takes the `Turn` and steps the coroutine there and then. The loop has the turn
whenever it runs and gives it away while it waits, so that still one thread at a time runs a worker's Python, as if
there were but one: nothing of a worker's state needs to know. What is said to belong to the event loop, or to its
thread, belongs to whoever has the turn.

A coroutine that is stepped belongs to no task. It may await what the HTTP server gives it, and futures; before it
does anything that needs a task (a time limit, being cancelled) it awaits an `Out` and goes on as a task of the loop.
"""

import asyncio
from asyncio import Future
from types import CoroutineType

cimport cython
from cpython.dict cimport PyDict_DelItem, PyDict_SetItem
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_get_thread_ident,
    PyThread_release_lock, PyThread_type_lock, WAIT_LOCK,
)

cdef object run_by = asyncio._set_running_loop


@cython.final
cdef class Waiter:
    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError
        PyThread_acquire_lock(self.lock, WAIT_LOCK)

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(self.lock)


@cython.final
cdef class Turn:
    """Whose turn it is: one thread's at a time, first come, first served. Not to be taken twice.

    Its state is guarded by the GIL, which both calls need and which is let go of while one waits.
    """

    def __cinit__(self):
        self.waiting = []

    @property
    def waiters(self):
        """How many threads wait for it."""
        return len(self.waiting)

    cpdef int take(self) except -1:
        cdef Waiter waiter
        if self.held:
            waiter = Waiter()
            self.waiting.append(waiter)
            with nogil:
                PyThread_acquire_lock(waiter.lock, WAIT_LOCK)
            PyThread_release_lock(waiter.lock)
        self.held = True
        self.owner = PyThread_get_thread_ident()
        return 0

    cpdef int give(self) except -1:
        """To whoever waits longest, or nobody."""
        cdef Waiter first
        self.owner = 0
        if self.waiting:
            first = <Waiter> self.waiting.pop(0)
            PyThread_release_lock(first.lock)
        else:
            self.held = False
        return 0


@cython.final
cdef class Lane:
    """`loop`: asyncio's. `later`: its own `call_soon_threadsafe`. `ready`: what it has to do.

    `open`: coroutines are stepped, not any more once what requests need is closed. `inside`: the one that runs now is
    stepped here. `steps`: those that wait, and are no task.
    """

    def __init__(self, loop, later, ready):
        self.loop, self.later, self.ready, self.scheduled = loop, later, ready, loop._scheduled
        self.turn = Turn()
        self.steps = {}

    def wait(self, select, timeout):
        """What `select(timeout)` says, for which the turn is given away."""
        self.scheduled = self.loop._scheduled  # now and then it is another list
        self.timers = len(self.scheduled)
        self.asleep = True
        self.turn.give()
        try:
            return select(timeout)
        finally:
            self.asleep = False
            self.turn.take()

    def call_soon_threadsafe(self, callback, *args, context=None):
        """In the place of the loop's own. What is of the lane's is done when it returns, without a handle."""
        cdef Step step
        if self.turn.owner == PyThread_get_thread_ident():
            pass
        elif type(callback) is Step:
            step = <Step> callback
            self.turn.take()
            try:
                if self.open:  # else nobody waits for a body any more
                    self.run(step, True)
            finally:
                self.turn.give()
            return None
        elif self.open and len(args) == 2 and type(args[0]) is CoroutineType:
            step = Step.__new__(Step)
            step.lane, step.coroutine, step.callback, step.context = self, args[0], callback, context
            step.more = args[1:]
            self.turn.take()
            try:
                if self.open:  # still
                    self.run(step, False)
                    return None
            finally:
                self.turn.give()
        return self.later(callback, *args, context=context)

    async def leave(self):
        """What comes next is run by a task."""
        if self.inside:
            await Out()

    cdef int run(self, Step step, bint begun) except -1:
        """What can't be stepped ends, and the loop's handler is told: Granian doesn't look at what is raised here, so
        the request would have no answer, and the thread's next one an error that isn't its own."""
        try:
            if begun:
                step.wake()
            else:
                self.step(step)
        except BaseException as error:
            self.steps.pop(step, None)
            self.loop.call_exception_handler({"message": "a request can't be stepped", "exception": error})
        self.notice()
        return 0

    cdef int notice(self) except -1:
        """Wakes the loop if there is something for it to do that it doesn't know; once awake, it looks itself."""
        if self.asleep and (self.ready or len(self.scheduled) != self.timers):
            self.asleep = False
            self.loop._write_to_self()
        return 0

    cdef int step(self, Step step) except -1:
        """Runs it until it waits, or to its end."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        if thread != self.thread:
            run_by(self.loop)  # whoever asks for it in this thread, finds it
            self.thread = thread
        self.inside = True
        try:
            awaited = step.coroutine.send(None)
        except StopIteration:
            return 0
        finally:
            self.inside = False
        if awaited is None:
            step.leave(step.coroutine)
        elif awaited._asyncio_future_blocking:
            awaited._asyncio_future_blocking = False
            step.body = not isinstance(awaited, Future)
            PyDict_SetItem(self.steps, step, None)
            awaited.add_done_callback(step, context=step.context)
        return 0


@cython.final
@cython.freelist(64)
cdef class Step:
    """A coroutine that is stepped, as the callback of what it awaits. `body`: that is of the HTTP server, not
    a future of the loop's. `woken`: set where a task awaits that now."""

    def __call__(self, future):
        """In the loop's own thread."""
        self.wake()

    cdef int wake(self) except -1:
        if self.woken is not None:
            if not self.woken.done():
                self.woken.set_result(None)
            return 0
        self.lane.steps.pop(self, None)
        self.lane.step(self)
        return 0

    def waited(self):
        """How often it was asked this."""
        self.looks += 1
        return self.looks

    def hand_over(self, make):
        """What it awaits is awaited by a task from now on: that of the coroutine `make(its own, a future)`. In the
        loop's own thread."""
        PyDict_DelItem(self.lane.steps, self)
        self.woken = self.lane.loop.create_future()
        self.leave(make(self.coroutine, self.woken))

    cdef int leave(self, coroutine) except -1:
        self.lane.loop.call_soon(self.callback, coroutine, *self.more, context=self.context)
        return 0


@cython.final
cdef class Out:
    """Awaited once: what comes next is run by a task."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.gone:
            raise StopIteration
        self.gone = True
