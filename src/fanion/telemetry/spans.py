"""Spans to an OpenTelemetry collector, of requests whose caller samples them (docs/operating.md: Traces).

The SDK is the extra `fanion[otel]`, imported where `tracing.url` is set and nowhere else. Spans are sent in
batches by a thread of each worker; what the collector doesn't take is dropped, and never waited for. The SDK's own
variables (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_...`) hold.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

NEEDS: Final = (
    ("opentelemetry.sdk", "opentelemetry-sdk"),
    ("opentelemetry.exporter.otlp.proto.http", "opentelemetry-exporter-otlp-proto-http"),
)
SEND_TIMEOUT_S: Final = 3.0
TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
INVALID: Final = b"ff"


class Parent(NamedTuple):
    """The caller's span."""

    trace_id: int
    span_id: int


def missing_library() -> str:
    """The package that isn't installed; "": none is."""
    if find_spec("opentelemetry") is None:
        return NEEDS[0][1]
    for module, package in NEEDS:
        try:
            if find_spec(module) is None:
                return package
        except ModuleNotFoundError:
            return package
    return ""


def sampled_parent(header: bytes) -> Parent | None:
    """What a `traceparent` says where it is one, and its caller records the trace (W3C Trace Context, version 00
    and what later versions add to it)."""
    found = TRACEPARENT.fullmatch(header)
    if found is None or found[1] == INVALID or (found[1] == b"00" and found[5]) or not int(found[4], 16) & 1:
        return None
    parent = Parent(int(found[2], 16), int(found[3], 16))
    return parent if parent.trace_id and parent.span_id else None


def _version() -> str:
    try:
        return version("fanion")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


class Span:
    """One that was begun."""

    def __init__(self, span: Any, failed: Any) -> None:
        self._span = span
        self._failed = failed

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(self._failed)

    def end(self) -> None:
        self._span.end()


class Spans:
    """Those of one worker. `url`: of the collector, the whole path."""

    def __init__(self, url: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        self._trace: Any = trace
        resource = Resource.create({"service.name": "fanion", "service.version": _version()})
        self._provider: Any = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        exporter: Any = OTLPSpanExporter(endpoint=url, timeout=SEND_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Any = self._provider.get_tracer("fanion", _version())

    def begin(self, name: str, parent: Parent, method: str) -> Span:
        """`name`: of what is asked for, nothing of who asks."""
        trace = self._trace
        remote = trace.SpanContext(*parent, is_remote=True, trace_flags=trace.TraceFlags(1))
        context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        attributes = {"http.request.method": method}
        made = self._tracer.start_span(
            name, context=context, kind=trace.SpanKind.SERVER, attributes=attributes
        )
        return Span(made, trace.StatusCode.ERROR)

    def close(self) -> None:
        """Sends what is left, for `SEND_TIMEOUT_S` at most."""
        self._provider.force_flush(round(1000 * SEND_TIMEOUT_S))
        self._provider.shutdown()
