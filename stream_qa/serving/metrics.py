"""What the service counts, for Prometheus. No id of a member or a job is ever a label."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream_qa.coefficients import Verdict
from stream_qa.serving.served import Served

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ServiceMetrics:
    """The numbers of one service.

    Parameters
    ----------
    served
        Returns the generation that answers now.
    not_ready
        Returns why the service is not ready; ``None`` where it is.
    """

    def __init__(self, served: Callable[[], Served], not_ready: Callable[[], str | None]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "stream_qa_serve_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self.request_seconds = Histogram(
            "stream_qa_serve_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.look_up_seconds = Histogram(
            "stream_qa_serve_look_up_seconds",
            "One query for the coefficients of a request.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.scores = Counter("stream_qa_serve_scores", "Pairs scored.", registry=self._registry)
        self.degraded = Counter(
            "stream_qa_serve_degraded", "Requests scored by the global model alone.", registry=self._registry
        )
        self._registry.register(_StoreCollector(served, not_ready))

    def exposition(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self._registry)


class _StoreCollector(Collector):
    def __init__(self, served: Callable[[], Served], not_ready: Callable[[], str | None]) -> None:
        self._served = served
        self._not_ready = not_ready

    def collect(self) -> Iterator[Metric]:
        served = self._served()
        store = served.store.metrics
        yield GaugeMetricFamily("stream_qa_serve_generation", "The generation that answers.", served.generation)
        changes = CounterMetricFamily(
            "stream_qa_store_changes", "Changes of coefficients, by what became of them.", labels=["verdict"]
        )
        for verdict in Verdict:
            changes.add_metric([str(verdict)], store.changes[verdict])
        yield changes
        for name, what, value in (
            ("looked_up", "Entities asked for.", store.looked_up),
            ("found", "Entities asked for that were held.", store.found),
            ("cached", "Entities asked for that the cache knew.", store.cached),
        ):
            yield CounterMetricFamily(f"stream_qa_store_{name}", what, value)
        yield GaugeMetricFamily(
            "stream_qa_store_ready",
            "Whether the coefficients are followed and were read to where the topics ended.",
            float(self._not_ready() is None),
        )
        staleness = served.followed.staleness
        if staleness is not None:
            yield GaugeMetricFamily(
                "stream_qa_store_stale_seconds", "Since the coefficients were seen to be up to date.", staleness
            )
        # Before this process has applied any change it would be 1970, and an age of decades.
        if store.newest_at > 0:
            yield GaugeMetricFamily(
                "stream_qa_store_newest_label_seconds",
                "Event time of the newest label of which this process has applied a change, since the epoch.",
                store.newest_at / 1000,
            )


class Measured:
    """Counts and times the requests of an application."""

    def __init__(self, application: ASGIApp, metrics: ServiceMetrics) -> None:
        self._application = application
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        try:
            await self._application(scope, receive, noting)
        finally:
            # A path that nobody declared is not a label: clients could make up any number of them.
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.request_seconds.labels(path).observe(perf_counter() - began)
