"""Spans of requests with a sampled `traceparent`, as a collector takes them, by both interfaces."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fanion import app
from fanion.config import Config, Tracing
from fanion.errors import ConfigError
from fanion.telemetry import spans
from fanion.telemetry.spans import Parent, sampled_parent
from tests.e2e.server import CLIENT_KEY, WORLD, Running, publish, run, start, wait_until

service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EVALUATE = "/v1/evaluate"


class Collector:
    """What spans are sent to."""

    def __init__(self) -> None:
        self.resources: list[Any] = []
        taken = self.resources

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.extend(service.ExportTraceServiceRequest.FromString(body).resource_spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Taking)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"

    @property
    def spans(self) -> list[Any]:
        return [span for one in self.resources for scope in one.scope_spans for span in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(folder: Path, interface: str, url: str) -> Iterator[Running]:
    publish(folder / "data", WORLD)
    variables = {
        "FANION_SERVER_INTERFACE": interface,
        "FANION_TRACING_URL": url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    server = start(folder / "log", "--workers", "1", data=folder / "data", environment=variables)
    try:
        yield server
    finally:
        assert server.stop() == 0


def asked(server: Running, parent: str | None, *, key: str = CLIENT_KEY, path: str = EVALUATE) -> int:
    headers = {"traceparent": parent} if parent else {}
    document = {"flagKey": "no-such", "context": {"userId": "u"}}
    return server.ask("POST", path, document, key=key, headers=headers).status


@pytest.mark.parametrize("interface", ["asgi", pytest.param("rsgi", marks=pytest.mark.heavy)])
def test_a_sampled_request_has_a_span_below_its_caller_s_and_no_other_has(
    tmp_path: Path, interface: str
) -> None:
    collector = Collector()
    with serving(tmp_path, interface, collector.url) as server:
        statuses = [
            asked(server, None),
            asked(server, f"00-{TRACE}-{CALLER}-00"),
            asked(server, f"00-{TRACE}-{'0' * 16}-01"),
            asked(server, "not one"),
        ]
        assert set(statuses) == {200}
        assert asked(server, f"00-{TRACE}-{CALLER}-01") == 200
        assert asked(server, f"00-{TRACE}-{CALLER}-03", key="sk_unknown") == 401
        assert asked(server, f"00-{TRACE}-{CALLER}-01", path="/nowhere") == 404
        wait_until(lambda: len(collector.spans) == 3)
    collector.close()
    found = collector.spans
    assert [span.name for span in found] == ["feather evaluate", "feather evaluate", "none"]
    for span, status in zip(found, (200, 401, 404), strict=True):
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, CALLER, 2)
        assert span.end_time_unix_nano > span.start_time_unix_nano
        attributes = {one.key: one.value for one in span.attributes}
        assert attributes.keys() == {"http.request.method", "http.response.status_code"}
        assert attributes["http.response.status_code"].int_value == status
    named = {one.key: one.value.string_value for one in collector.resources[0].resource.attributes}
    assert named["service.name"] == "fanion"


@pytest.mark.heavy
def test_nobody_waits_for_a_collector_that_is_not_there(tmp_path: Path) -> None:
    with serving(tmp_path, "asgi", "http://127.0.0.1:9/v1/traces") as server:
        assert asked(server, f"00-{TRACE}-{CALLER}-01") == 200


def test_an_address_of_another_scheme_is_refused(tmp_path: Path) -> None:
    publish(tmp_path / "data", WORLD)
    said = run(
        ["serve", "--data", str(tmp_path / "data")], environment={"FANION_TRACING_URL": "grpc://collector"}
    )
    assert said.returncode == 1
    assert "tracing.url is 'grpc://collector'; http:// or https:// is allowed" in said.stderr


def test_a_server_without_the_library_does_not_start_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spans.missing_library() == ""
    monkeypatch.setattr(spans, "NEEDS", (*spans.NEEDS, ("opentelemetry.nowhere.at_all", "some-package")))
    with pytest.raises(ConfigError, match=r"some-package isn't installed; pip install 'fanion\[otel\]'"):
        app.serve(tmp_path, Config(tracing=Tracing(url="http://collector/v1/traces")))


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{CALLER}-01", Parent(int(TRACE, 16), int(CALLER, 16))),
        (f"cc-{TRACE}-{CALLER}-01-what-is-to-come", Parent(int(TRACE, 16), int(CALLER, 16))),
        (f"00-{TRACE}-{CALLER}-02", None),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (f"00-{TRACE}-{CALLER}-01\n", None),
        ("", None),
    ],
)
def test_what_counts_as_a_sampled_parent(header: str, parent: Parent | None) -> None:
    assert sampled_parent(header.encode()) == parent
