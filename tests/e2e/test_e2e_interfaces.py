"""The same requests to a server of each interface: the same bytes, but for what `http.rsgi` lists."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import select
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.e2e.server import Running, publish, read_all, start, wait_until
from tests.e2e.test_e2e_hardening import status_of

VARIES = re.compile(
    rb"(?m)^date: .*\r\n|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    rb"|20\d\d-\d\d-\d\dT[0-9:.]+Z|\"cacheAge\":\d+|dec_[0-9A-Z]+|eyJ[\w.-]+|channel=[\w-]+|etag: .*\r\n"
)
"""Times, random ids, tokens, and tags of answers that hold such."""

FEATHER = b"Authorization: Bearer sk_demo_server\r\n"
OFREP = b"Authorization: Bearer ofrep_demo_server\r\n"
PENNON = b"X-API-Key: 00000000-0000-0000-0000-000000000000\r\n"
TRAFFICAL = b"Authorization: Bearer traffical_sk_demo\r\n"
STITCHD = b"X-SDK-Key: sdk_live_demo\r\n"
STITCHD_ID = b"5b1f6a52-0000-4000-8000-000000000001"
BULK = b'{"flags":["new-checkout","absent"],"context":{"targetingKey":"a","country":"DE"}}'
CONTEXT = b'{"context":{"targetingKey":"a","country":"DE"}}'
LONG = b'{"flags":[%b],"context":{}}' % b",".join(b'"flag-%d"' % number for number in range(20_000))

LARGE = 12_000_000

Pair = tuple[Running, Running]


def request(
    path: bytes,
    body: bytes | None = None,
    headers: bytes = FEATHER,
    *,
    method: bytes = b"POST",
    version: bytes = b"1.1",
    host: bytes = b"Host: a\r\n",
    length: bool = True,
) -> bytes:
    declared = b"Content-Length: %d\r\n" % len(body) if body is not None and length else b""
    line = b"%b %b HTTP/%b\r\n" % (method, path, version)
    return line + host + headers + declared + b"Connection: close\r\n\r\n" + (body or b"")


def pieces(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


CHUNKED = FEATHER + b"Transfer-Encoding: chunked\r\n"
FLAGS, ONE, ALL = b"/v1/evaluate/bulk", b"/v1/evaluate", b"/ofrep/v1/evaluate/flags"
SAME: dict[str, bytes] = {
    "bulk": request(FLAGS, BULK),
    "bulk of many": request(FLAGS, LONG),
    "own prefix": request(b"/feather" + FLAGS, BULK),
    "two slashes": request(b"/" + FLAGS, BULK),
    "one flag": request(ONE, b'{"flag":"new-checkout","context":{}}'),
    "no JSON": request(FLAGS, b"{"),
    "no body": request(FLAGS),
    "empty body": request(FLAGS, b""),
    "other method": request(FLAGS, method=b"GET"),
    "no such path": request(b"/nowhere", BULK),
    "no such path of a dialect's": request(b"/ofrep/nowhere", CONTEXT, OFREP),
    "query": request(FLAGS + b"?a=%C3%A9&b=/%2F", BULK),
    "absolute form": request(b"http://elsewhere.example" + FLAGS, BULK),
    "preflight": request(FLAGS, headers=b"Access-Control-Request-Headers: a, b\r\n", method=b"OPTIONS"),
    "healthz": request(b"/healthz", method=b"GET"),
    "healthz, head": request(b"/healthz", method=b"HEAD"),
    "healthz, posted": request(b"/healthz", b""),
    "context": request(b"/v1/sdk/context", method=b"GET"),
    "no key": request(FLAGS, BULK, b""),
    "wrong key": request(FLAGS, BULK, b"Authorization: Bearer sk_wrong\r\n"),
    "two keys": request(FLAGS, BULK, FEATHER + FEATHER),
    "no host": request(FLAGS, BULK, host=b""),
    "two hosts": request(FLAGS, BULK, host=b"Host: a\r\nHost: b\r\n"),
    "empty host": request(FLAGS, BULK, host=b"Host: \r\n"),
    "HTTP/1.0": request(FLAGS, BULK, version=b"1.0", host=b""),
    "a header twice": request(FLAGS, BULK, FEATHER + b"X-A: 1\r\nX-A: 2\r\n"),
    "continue": request(FLAGS, BULK, FEATHER + b"Expect: 100-continue\r\n"),
    "two lengths": request(FLAGS, BULK, FEATHER + b"Content-Length: 3\r\n"),
    "length and chunks": request(FLAGS, pieces(BULK), CHUNKED),
    "other coding": request(FLAGS, BULK, FEATHER + b"Transfer-Encoding: gzip, chunked\r\n", length=False),
    "chunks": request(FLAGS, pieces(BULK[:10], BULK[10:]), CHUNKED, length=False),
    "no chunk": request(FLAGS, pieces(), CHUNKED, length=False),
    "broken chunk": request(FLAGS, pieces(BULK, end=b"zz\r\n\r\n"), CHUNKED, length=False),
    "too many chunks": request(FLAGS, pieces(*[b" "] * 3_000, BULK), CHUNKED, length=False),
    "too long": request(FLAGS, b" " * (1 << 20) + BULK),
    "too long in chunks": request(FLAGS, pieces(*[b" " * 65_536] * 17), CHUNKED, length=False),
    "far too long": request(FLAGS, headers=FEATHER + b"Content-Length: 99999999\r\n"),
    "gzip": request(FLAGS, gzip.compress(BULK), FEATHER + b"Content-Encoding: gzip\r\n"),
    "half a gzip": request(FLAGS, gzip.compress(BULK)[:-9], FEATHER + b"Content-Encoding: gzip\r\n"),
    "deflate": request(FLAGS, zlib.compress(BULK), FEATHER + b"Content-Encoding: deflate\r\n"),
    "zstd": request(FLAGS, zstandard.compress(BULK), FEATHER + b"Content-Encoding: zstd\r\n"),
    "brotli": request(FLAGS, BULK, FEATHER + b"Content-Encoding: br\r\n"),
    "events": request(b"/v1/telemetry/events", b'{"events":[]}'),
    "no events": request(b"/v1/telemetry/events", b"[]"),
    "OFREP, all": request(ALL, CONTEXT, OFREP),
    "OFREP, all, unchanged": request(ALL, CONTEXT, OFREP + b"If-None-Match: *\r\n"),
    "OFREP, one": request(ALL + b"/checkout-copy", CONTEXT, OFREP),
    "OFREP, a key with a slash": request(ALL + b"/a/b", CONTEXT, OFREP),
    "OFREP, an encoded key": request(ALL + b"/%63heckout%2Dcopy", CONTEXT, OFREP),
    "OFREP, a key twice encoded": request(ALL + b"/a%252Fb%25", CONTEXT, OFREP),
    "OFREP, a key of many bytes": request(ALL + b"/%C3%A9%3F%23+%2B", CONTEXT, OFREP),
    "OFREP, manifest": request(b"/openfeature/v0/manifest", None, OFREP, method=b"GET"),
    "Red Pennon, all": request(b"/v1/variables", b'{"user_id":"a"}', PENNON),
    "Red Pennon, one": request(b"/v1/variables/a%20b", b'{"user_id":"a"}', PENNON),
    "Red Pennon, events": request(b"/v1/events", b"{}", PENNON),
    "Traffical, resolve": request(b"/v1/resolve", b'{"context":{"userId":"a"}}', TRAFFICAL),
    "Traffical, config": request(b"/v1/config/a%2Db", None, TRAFFICAL, method=b"GET"),
    "Traffical, events": request(b"/v1/events", b"{}", TRAFFICAL),
    "stitchd": request(b"/v1/environments/" + STITCHD_ID + b"/evaluate", b"{}", STITCHD),
    "stitchd, another": request(b"/v1/environments/x/evaluate", b"{}", STITCHD),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A demo server of each interface: it has a key of every API."""
    log = tmp_path_factory.mktemp("interfaces") / "log"
    with contextlib.ExitStack() as up:
        made: list[Running] = []
        for interface in ("asgi", "rsgi"):
            made.append(start(log, "--demo", "--workers", "1", "--interface", interface))
            up.callback(made[-1].stop)
        yield made[0], made[1]
    assert "raised an exception" not in log.read_text()


def answers(both: Pair, sent: bytes) -> tuple[bytes, bytes]:
    asgi, rsgi = (VARIES.sub(b"", server.talk(sent)) for server in both)
    return asgi, rsgi


@pytest.mark.parametrize("name", SAME)
def test_the_answer_has_the_same_bytes(both: Pair, name: str) -> None:
    asgi, rsgi = answers(both, SAME[name])
    assert b" " in asgi[:9]
    assert asgi == rsgi


@pytest.mark.parametrize(
    ("sent", "asgi", "rsgi"),
    [
        (request(b"/v1%2Fevaluate%2fbulk", BULK), 404, 200),
        (request(b"/v1/evaluate/bul%6b", BULK), 404, 200),
        (request(FLAGS, BULK, FEATHER + b"User-Agent: \xc3\xa9\r\n"), 200, 400),
        (request(FLAGS, BULK, b"Authorization: Bearer \xff\r\n"), 401, 400),
        (request(FLAGS, BULK, b"Authorization: Bearer \xff\r\n" + FEATHER), 400, 200),
        (request(FLAGS, BULK, FEATHER + b"Authorization: Bearer \xff\r\n"), 400, 200),
        (request(FLAGS, pieces(BULK, end=b"0\r\na: b\r\n\r\n"), CHUNKED, length=False), 200, 400),
    ],
)
def test_what_differs_is_what_is_listed(both: Pair, sent: bytes, asgi: int, rsgi: int) -> None:
    assert tuple(map(status_of, answers(both, sent))) == (asgi, rsgi)


def test_bytes_of_a_key_that_are_not_text_are_replaced(both: Pair) -> None:
    asgi, rsgi = answers(both, request(ALL + b"/a%ff", CONTEXT, OFREP))
    assert b'"a%ff"' in asgi
    assert '"a\ufffd"'.encode() in rsgi
    assert status_of(asgi) == status_of(rsgi) == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_ends_early_is_refused(both: Pair, chunked: bool) -> None:
    whole = b'{"flags":[],"context":{}}'  # as it stands it would do
    body = b"%x\r\n%b\r\n" % (len(whole), whole) if chunked else whole
    headers = CHUNKED if chunked else FEATHER + b"Content-Length: 100\r\n"
    sent = request(FLAGS, body, headers, length=False)
    asgi, rsgi = (VARIES.sub(b"", server.talk(sent, then_close=True)) for server in both)
    assert status_of(asgi) == 400
    assert asgi == rsgi


def test_requests_follow_one_another_on_a_connection(both: Pair) -> None:
    sent = b"".join(
        SAME[name].replace(b"Connection: close\r\n", b"") for name in ("bulk", "OFREP, one", "chunks")
    )
    asgi, rsgi = answers(both, sent + SAME["healthz"])
    assert asgi.count(b"HTTP/1.1 200 OK") == 4
    assert asgi == rsgi


@pytest.mark.parametrize(
    "arguments",
    [
        ("asgi", "auto", "1"),
        pytest.param(("asgi", "mt", "2"), marks=pytest.mark.heavy),
        pytest.param(("asgi", "st", "2"), marks=pytest.mark.heavy),
        pytest.param(("rsgi", "auto", "1"), marks=pytest.mark.heavy),
        pytest.param(("rsgi", "mt", "2"), marks=pytest.mark.heavy),
        ("rsgi", "st", "2"),
    ],
)
def test_a_worker_answers_as_many_connections_as_it_may_whatever_its_threads(
    serve: Callable[..., Running], data: Path, arguments: tuple[str, str, str]
) -> None:
    """Each runtime of one thread counts for itself, and they fill up unevenly."""
    interface, mode, threads = arguments
    most, all_ = 40, 100
    server = serve(
        *("--workers", "1", "--interface", interface),
        data=data,
        environment={
            "FANION_SERVER_BACKPRESSURE": str(most),
            "FANION_SERVER_RUNTIME_MODE": mode,
            "FANION_SERVER_RUNTIME_THREADS": threads,
        },
    )
    with contextlib.ExitStack() as open_:
        asked = [open_.enter_context(server.connect()) for _ in range(all_)]
        for connection in asked:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        while asked:
            taken = answered(asked, min(most, len(asked)))
            assert len(taken) == min(most, len(asked))
            for connection in taken:
                connection.close()
            asked = [connection for connection in asked if connection not in taken]


def answered(asked: list[socket.socket], most: int) -> list[socket.socket]:
    """Those that have an answer: `most` at least, and what comes in a second after that where more could."""
    wait_until(lambda: len(readable(asked, 1_000)) >= most)
    if len(asked) > most:
        time.sleep(1)
    return readable(asked, 0)


def readable(asked: list[socket.socket], wait_ms: int) -> list[socket.socket]:
    poller = select.poll()  # `select.select` takes no descriptor from 1,024 on
    for connection in asked:
        poller.register(connection, select.POLLIN)
    found = {descriptor for descriptor, _ in poller.poll(wait_ms)}
    return [connection for connection in asked if connection.fileno() in found]


@pytest.mark.parametrize("interface", ["asgi", pytest.param("rsgi", marks=pytest.mark.heavy)])
def test_large_answers_that_nobody_reads_are_bounded_and_read_ones_make_room(
    serve: Callable[..., Running], tmp_path: Path, interface: str
) -> None:
    publish(tmp_path / "data", large_world(tmp_path))
    server = serve(
        *("--workers", "1", "--interface", interface),
        data=tmp_path / "data",
        environment={"FANION_LIMITS_ANSWERS_BYTES_MAX": str(1 << 20)},
    )
    sent = request(ALL, CONTEXT, b"Authorization: Bearer large_key\r\n")
    with contextlib.closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", server.port))
        slow.settimeout(60)
        slow.sendall(sent)
        wait_until(lambda: readable([slow], 0))
        assert status_of(server.talk(sent)) == 503
        assert server.ask("GET", "/healthz").status == 200
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        whole = read_all(slow)
    assert status_of(whole) == 200
    assert len(whole) > LARGE
    wait_until(lambda: status_of(server.talk(sent)) == 200)


def large_world(directory: Path) -> Path:
    """One environment whose flags' values come to more than any socket's buffers."""
    flags = {
        f"flag-{number}": {
            "state": "ENABLED",
            "variants": {"on": "x" * (LARGE // 1_000)},
            "defaultVariant": "on",
        }
        for number in range(1_000)
    }
    (directory / "flags.flagd.json").write_text(json.dumps({"flags": flags}))
    environment = {
        "id": "env_large",
        "dialects": ["ofrep"],
        "keys": [{"key": f"sha256:{hashlib.sha256(b'large_key').hexdigest()}"}],
        "sources": [{"format": "flagd", "path": "flags.flagd.json"}],
    }
    project = {"environments": {"production": environment}}
    world = {"fanion": 1, "organisations": {"org_large": {"projects": {"large": project}}}}
    (directory / "world.json").write_text(json.dumps(world))
    return directory / "world.json"
