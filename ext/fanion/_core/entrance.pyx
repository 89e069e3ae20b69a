"""A request's usual way through a worker, from its headers to its answer, without a step of Python between.

What is usual: a path that its table has, a method of it, headers that stand once each, a key that is known, a body of
declared length that is no coding of another. Nothing is decided here that `fanion.http.app`'s handler wouldn't decide
alike, in the same order: whatever isn't as usual goes to that handler before anything was done for it, and what turns
out on the way to the same functions that it asks, which are `Steps`. The handler is the reference;
`tests/property/test_entrance.py` holds the two equal.

Event loop only, as everything that it is given.
"""

from types import CoroutineType

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_DelItem, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact

from fanion._core.lane cimport Lane, Out
from fanion._core.request_headers cimport RequestHeaders, of_pairs, of_text, sure_key, text_span

cdef enum:
    LENGTH_DIGITS_MAX = 15

cdef bytes LENGTH = b"content-length"
cdef bytes ENCODING = b"content-encoding"
cdef bytes NOTHING = b""
cdef str BODY_MESSAGE = "http.response.body"


@cython.final
cdef class Door:
    """One method of one path. `own`, `bearer`, `folded`: where its key stands, as `sure_key` asks. `limited`: None,
    or how long a key has to wait. `scanned`: a body above `Steps.free_bytes` is looked through before the handler.
    `query`: the handler gets the query string in the body's place."""

    cdef object dialect, endpoint, handler, limited
    cdef str dialect_name, name, scope
    cdef bytes own
    cdef bint bearer, folded, scanned, query
    cdef Py_ssize_t bytes_max

    def __init__(
        self, dialect, endpoint, *, str dialect_name not None, str name not None, str scope, handler, limited,
        bytes own, bint bearer, bint folded, bint scanned, bint query, Py_ssize_t bytes_max,
    ):
        self.dialect, self.endpoint, self.handler, self.limited = dialect, endpoint, handler, limited
        self.dialect_name, self.name, self.scope = dialect_name, name, scope
        self.own, self.bearer, self.folded, self.scanned = own, bearer, folded, scanned
        self.query, self.bytes_max = query, bytes_max


@cython.final
cdef class Steps:
    """What a request is asked for beside, each a function of the worker's: `fanion.http.entrance` says how it is
    called. `turns`: exceptions of a handler that `again` knows an answer to. `lane`: what may step coroutines, or
    None; `taskless`: the code of those that a handler may return and that it may step, too."""

    cdef object current, answered, current_task, loop, watch, turns, again, explain, renew, check_rate, check_body
    cdef object rest, large, start_of, text_of, taskless
    cdef Lane lane
    cdef dict waiting
    cdef Py_ssize_t free_bytes, piece_bytes

    def __init__(
        self, *, current, answered, current_task, loop, watch, dict waiting not None, tuple turns not None, again,
        explain, renew, check_rate, check_body, rest, large, start_of, text_of, Py_ssize_t free_bytes,
        Py_ssize_t piece_bytes, taskless=None, Lane lane=None,
    ):
        self.current, self.answered, self.current_task, self.loop = current, answered, current_task, loop
        self.watch, self.waiting, self.turns, self.again, self.explain = watch, waiting, turns, again, explain
        self.renew, self.check_rate, self.check_body, self.rest = renew, check_rate, check_body, rest
        self.large, self.taskless, self.lane = large, taskless, lane
        self.start_of, self.text_of, self.free_bytes, self.piece_bytes = start_of, text_of, free_bytes, piece_bytes


@cython.final
@cython.freelist(32)
@cython.no_gc
cdef class Visit:
    """A request that was let in, and what is known of it."""

    cdef Door door
    cdef RequestHeaders headers
    cdef object snapshot, record
    cdef bytes raw_key, tail
    cdef Py_ssize_t length


@cython.final
cdef class Entrance:
    """`exact`: path -> (credential header, method -> Door), one or several; `below`: path -> (target, tail), as a
    router remembers it; `targets`: id of such a target -> method -> Door. Paths are of the interface's own type."""

    cdef Steps steps
    cdef dict exact, below, targets
    cdef object otherwise

    def __init__(
        self, Steps steps not None, dict exact not None, dict below not None, dict targets not None, otherwise
    ):
        self.steps, self.exact, self.below, self.targets, self.otherwise = steps, exact, below, targets, otherwise

    cdef Visit enter(self, object path, object method, RequestHeaders headers):
        """None: the way isn't the usual one. Nothing was done for the request yet."""
        cdef Door door
        cdef Visit visit
        cdef Steps steps = self.steps
        cdef dict methods = None
        cdef bytes tail = NOTHING
        cdef bytes key
        cdef Py_ssize_t length = 0
        cdef PyObject *found = PyDict_GetItemWithError(self.exact, path)
        if not headers.plain:
            return None
        if found != NULL:
            for header, offered in <tuple> found:
                if header is None or headers.last(<bytes> header) >= 0:
                    methods = <dict> offered
                    break
        else:
            if isinstance(path, str):
                path = (<str> path).encode()
                if b"%" in path:
                    return None
            found = PyDict_GetItemWithError(self.below, path)
            if found != NULL:
                tail = <bytes> (<tuple> found)[1]
                found = PyDict_GetItemWithError(self.targets, id((<tuple> found)[0]))
                if found != NULL:
                    methods = <dict> found
        if methods is None:
            return None
        found = PyDict_GetItemWithError(methods, method)
        if found == NULL:
            return None
        door = <Door> found
        key = sure_key(headers, door.own, door.bearer, door.folded)
        if PyBytes_GET_SIZE(key) == 0:
            return None
        if door.bytes_max:
            length = declared(headers)
            if length < 0 or length > door.bytes_max or (length and headers.last(ENCODING) >= 0):
                return None
        try:
            snapshot = steps.current()
            record = snapshot.known_key(key)
        except Exception:
            return None
        if record is None or (record.dialects and door.dialect_name not in record.dialects):
            return None
        if door.scope is not None and record.scopes and door.scope not in record.scopes:
            return None
        visit = Visit.__new__(Visit)
        visit.door, visit.headers, visit.snapshot, visit.record = door, headers, snapshot, record
        visit.raw_key, visit.tail, visit.length = key, tail, length
        return visit

    cdef object answer(self, Visit visit, bytes body, scope):
        """What the handler says: a reply, or an awaitable of one."""
        cdef Steps steps = self.steps
        cdef Door door = visit.door
        if door.bytes_max:
            if door.scanned and PyBytes_GET_SIZE(body) > steps.free_bytes:
                body = steps.check_body(door.endpoint, body)
            later = steps.current()
            if later is not visit.snapshot:
                visit.record = steps.renew(door.dialect, door.endpoint, scope, visit.headers, later, visit.raw_key)
                visit.snapshot = later
        try:
            return door.handler(visit.snapshot, visit.record, body, visit.tail, visit.headers)
        except steps.turns as turn:
            return steps.again(
                turn, door.endpoint, visit.snapshot, visit.record, body, visit.tail, visit.headers
            )

    async def by_asgi(self, scope, receive, send):
        """An ASGI application for HTTP requests."""
        cdef Steps steps = self.steps
        cdef Visit visit = self.enter(scope["raw_path"], scope["method"], of_pairs(scope["headers"]))
        if visit is None:
            await self.otherwise(scope, receive, send)
            return
        cdef Door door = visit.door
        body = scope["query_string"] if door.query else NOTHING
        try:
            if door.limited is not None:
                steps.check_rate(door.limited(visit.record))
            if visit.length:
                task = steps.current_task(steps.loop)
                PyDict_SetItem(steps.waiting, task, steps.watch.now)
                try:
                    message = await receive()
                finally:
                    PyDict_DelItem(steps.waiting, task)
                body = message.get("body", NOTHING)
                if len(body) != visit.length and message.get("more_body", True):
                    body = await steps.rest(receive, message, body, task, door.bytes_max)
            reply = self.answer(visit, body, scope)
            if not PyTuple_CheckExact(reply):
                reply = await reply
        except BaseException as error:
            reply = steps.explain(error, scope, visit.headers, door.endpoint)
        if len((<tuple> reply)[1]) > steps.piece_bytes:
            reply = await steps.large(door.dialect, door.endpoint, reply, receive, send)
            if reply is None:
                return
        head, payload = <tuple> reply
        steps.answered(door.dialect_name, door.name, head.status)
        await send(head.start or steps.start_of(head))
        await send({"type": BODY_MESSAGE, "body": payload})

    async def by_rsgi(self, scope, proto):
        """An RSGI application for HTTP requests. In a lane, what needs a task goes on as one."""
        cdef Steps steps = self.steps
        cdef Lane lane = steps.lane
        cdef Visit visit = self.enter(scope.path, scope.method, of_text(scope.headers))
        if visit is None:
            await self.otherwise(scope, proto)
            return
        cdef Door door = visit.door
        body = scope.query_string.encode() if door.query else NOTHING
        try:
            if door.limited is not None:
                steps.check_rate(door.limited(visit.record))
            if visit.length:
                if lane is not None and lane.inside:
                    proto.__aiter__()
                    body = await proto.__anext__()
                else:
                    task = steps.current_task(steps.loop)
                    PyDict_SetItem(steps.waiting, task, steps.watch.now)
                    try:
                        proto.__aiter__()
                        body = await proto.__anext__()
                    finally:
                        PyDict_DelItem(steps.waiting, task)
                if len(body) != visit.length:
                    if lane is not None and lane.inside:
                        await Out()
                    body = await steps.rest(proto, None, body, steps.current_task(steps.loop), door.bytes_max)
            reply = self.answer(visit, body, scope)
            if not PyTuple_CheckExact(reply):
                if lane is not None and lane.inside and (
                    type(reply) is not CoroutineType or reply.cr_code is not steps.taskless
                ):
                    await Out()
                reply = await reply
        except BaseException as error:
            reply = steps.explain(error, scope, visit.headers, door.endpoint)
        if len((<tuple> reply)[1]) > steps.piece_bytes:
            if lane is not None and lane.inside:
                await Out()
            reply = await steps.large(door.dialect, door.endpoint, reply, proto, proto)
            if reply is None:
                return
        head, payload = <tuple> reply
        steps.answered(door.dialect_name, door.name, head.status)
        proto.response_bytes(head.status, head.text or steps.text_of(head), payload)


cdef Py_ssize_t declared(RequestHeaders headers) noexcept:
    """The declared length of the body; -1 where it isn't plain digits."""
    cdef Py_ssize_t at, length = 0, index = headers.last(LENGTH)
    cdef text_span text
    if index < 0:
        return -1
    text = headers.span(index, 1)
    if not 0 < text.size <= LENGTH_DIGITS_MAX:
        return -1
    for at in range(text.size):
        if not c"0" <= text.start[at] <= c"9":
            return -1
        length = length * 10 + (text.start[at] - c"0")
    return length
