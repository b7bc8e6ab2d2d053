"""A span for each request, for OpenTelemetry, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says where to.

Its standard variables do the rest, such as ``OTEL_SERVICE_NAME`` and ``OTEL_TRACES_SAMPLER``. The
libraries are the extra ``tracing``; nothing of them is imported where nobody asks for spans.
"""

import os
import time
from typing import TYPE_CHECKING

from starlette.types import Scope

from features.errors import ConfigError
from serving.metrics import OTHER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Spans:
    """Makes a span of each finished request, under the trace that its headers name.

    It holds what the metrics hold: method, route, status, and the request id; no value, no caller.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._trace = provider, trace
        self._tracer = provider.get_tracer("perennial.serving")
        self._context = TraceContextTextMapPropagator()

    def add(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Note a request that has just been answered."""
        ended = time.time_ns()
        carried = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        method = scope["method"] if route != OTHER else "_OTHER"
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._context.extract(carried),
            kind=self._trace.SpanKind.SERVER,
            start_time=ended - int(seconds * 1e9),
            attributes={
                "http.request.method": method, "http.route": route,
                "http.response.status_code": status,
                "perennial.request_id": scope["state"]["request_id"],
            },
        )  # fmt: skip
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_time=ended)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def wanted() -> bool:
    """Whether spans are asked for.

    Raises
    ------
    ConfigError
        If they are and the libraries are not installed.
    """
    if not os.environ.get(ENDPOINT):
        return False
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{ENDPOINT} is set and {error.name} is not installed: install the extra "
            "'tracing', or unset it"
        ) from None
    return True


def open_spans() -> Spans | None:
    """What makes spans; None where nobody asks for them.

    Raises
    ------
    ConfigError
        As :func:`wanted`.
    """
    if not wanted():
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)
