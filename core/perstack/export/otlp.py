"""Spans to an OpenTelemetry collector, over OTLP/HTTP. Needs the optional extra `otel`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from perstack import __version__
from perstack.domain.ids import JobId
from perstack.errors import ConfigError, PerstackError, UsageError
from perstack.projection.spans import SpanView

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

INSTALL: Final = "pip install 'perstack[otel]'"
_TIMEOUT_S: Final = 10.0
_TRACES: Final = "/v1/traces"
_NS: Final = 1_000_000


class OtlpSender:
    """Sends one job's spans. Blocks; each `send` takes about ten seconds at most.

    Ids follow from the job's, so that a job that is sent again is the same trace.
    """

    def __init__(self, job_id: JobId, *, endpoint: str | None = None) -> None:
        """Open the exporter.

        Without an `endpoint` the OTEL_EXPORTER_OTLP_ variables say where to send.

        Raises:
            ConfigError: OpenTelemetry is not installed.
            UsageError: the endpoint is no http(s) address.
        """
        # Its loggers would write to the terminal; what matters of it is in our error.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        url = traces_url(endpoint) if endpoint is not None else None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        except ImportError as error:
            raise ConfigError("OpenTelemetry is not installed", hint=INSTALL) from error
        named = {"service.name": "perstack", "service.version": __version__}
        self._job_id = job_id
        self._resource = Resource.create(named)
        self._scope = InstrumentationScope("perstack", __version__)
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)

    def send(self, spans: Sequence[SpanView]) -> None:
        """Send some spans.

        Raises:
            PerstackError: the collector did not take them.
        """
        from opentelemetry.sdk.trace.export import SpanExportResult

        if not spans:
            return
        result = self._exporter.export([self._span(span) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise PerstackError(
                "the OpenTelemetry collector did not take the spans",
                hint="check that it listens for OTLP over HTTP, and --otel-endpoint",
            )

    def close(self) -> None:
        """Close the exporter; idempotent."""
        self._exporter.shutdown()

    def _span(self, span: SpanView) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        return ReadableSpan(
            name=span.name,
            context=self._context(span.key),
            parent=self._context(span.parent) if span.parent is not None else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(self._context(key)) for key in span.links],
            kind=SpanKind.CLIENT if span.is_client else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=span.start_ms * _NS,
            end_time=max(span.start_ms, span.end_ms) * _NS,
            instrumentation_scope=self._scope,
        )

    def _context(self, key: str) -> SpanContext:
        from opentelemetry.trace import SpanContext, TraceFlags

        return SpanContext(
            trace_id=_number(self._job_id, 16),
            span_id=_number(f"{self._job_id}:{key}", 8),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )


def traces_url(endpoint: str) -> str:
    """Return where traces go: `endpoint` itself, or its path for traces where it has none.

    Raises:
        UsageError: it is no http(s) address.
    """
    path = _path(endpoint)
    if path is None:
        raise UsageError(
            f"{endpoint[:80]!a} is no address to send to", hint="for example http://127.0.0.1:4318"
        )
    return endpoint if path.strip("/") else endpoint.rstrip("/") + _TRACES


def _path(url: str) -> str | None:
    """The path of an http(s) address, None when it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return parts.path if usable else None


def _number(text: str, digest_bytes: int) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=digest_bytes).digest()
    return int.from_bytes(digest, "big") or 1
