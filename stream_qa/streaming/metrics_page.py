"""``GET /metrics``: the worker's numbers in Prometheus' text format. No id of a member or a job is ever a label."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import faust
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_qa.errors import StateError
from stream_qa.events import TopicNames
from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning.drift import Feature
from stream_qa.learning.guard import REASONS, Sums
from stream_qa.stages.label import LabelStage
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.metrics import Distribution
from stream_qa.streaming.table import Sizes

PATH = "/metrics"

Values = Iterable[tuple[tuple[str, ...], float]]
"""Values with those of their labels."""


class WorkerCollector(Collector):
    """Makes metrics of what a worker has counted, and of what it is at this moment.

    Parameters
    ----------
    lanes
        The worker's lanes.
    label
        The stage that keeps event time.
    topics
        Their names on the broker; in the metrics are those of the declarations, so that rules fit all groups.
    """

    def __init__(self, lanes: Lanes, label: LabelStage, topics: TopicNames) -> None:
        self._lanes = lanes
        self._label = label
        self._topics = topics
        self.lag: Mapping[tuple[str, str], int] | None = None
        """Records that are not processed yet, by stage and topic; ``None`` where no broker said."""
        self.ready = False

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, those without a value too."""
        yield from self._counted()
        yield from self._present()

    def _counted(self) -> Iterator[Metric]:
        counts = self._lanes.counts
        yield _counter("events", "Records that a stage has processed.", ["stage"], _by_one(counts.events))
        yield _counter(
            "events_without_effect",
            "Input that was used and changes nothing.",
            ["stage"],
            _by_one(counts.without_effect),
        )
        written = ((self._topics.declared(topic), count) for topic, count in counts.messages.items())
        yield _counter("messages", "Records that were written, by topic.", ["topic"], _by_one(dict(written)))
        yield _counter("labels", "Revisions of labels, by what they say.", ["reason"], _by_one(counts.labels))
        yield HistogramMetricFamily(
            "stream_qa_label_age_seconds",
            "Event time from an application to what its label says, of labels with a value.",
            counts.label_ages.buckets(),
            counts.label_ages.sum,
        )
        yield from self._drift()
        yield _counter(
            "guard_entities",
            "Members and jobs that were newly held back, by why, and that were released.",
            ["stage", "reason"],
            counts.held_back.items(),
        )
        yield _counter("dead_letters", "Input that could not be used.", ["stage", "reason"], counts.dead.items())
        yield _histogram(
            "delay_seconds",
            "Time from when a record came into its topic until a stage had processed it, and that was committed.",
            counts.delays,
        )
        yield _histogram(
            "event_to_delta_seconds",
            "Time from the newest event in a delta until the delta was committed.",
            counts.event_to_delta,
        )
        yield HistogramMetricFamily(
            "stream_qa_transaction_seconds",
            "Time that a transaction took to be written and committed.",
            counts.transaction_seconds.buckets(),
            counts.transaction_seconds.sum,
        )
        yield _counter(
            "interruptions",
            "Times at which partitions went back to what is committed, by error.",
            ["reason"],
            _by_one(counts.interruptions),
        )
        yield _counter("fenced", "Times at which another took this worker's place.", [], [((), counts.fenced)])
        yield _counter("restored_records", "Changelog records read back.", [], [((), counts.restored)])

    def _drift(self) -> Iterator[Metric]:
        drift = self._lanes.counts.drift.counted(round(time.time() * 1000))
        distances = drift.distances
        yield _counter(
            "profiled_applications",
            "Applications whose features were compared with those of the training.",
            [],
            [((), drift.applications)],
        )
        yield _counter(
            "feature_outside_range",
            "Values of a feature that are outside of the training's range.",
            ["side", "feature"],
            drift.outside.items(),
        )
        yield _gauge(
            "feature_distance",
            "Largest distance between a feature's distribution and that of the training.",
            ["side", "feature"],
            distances.features.items(),
        )
        yield _counter(
            "closed_labels", "Applications whose window has closed, by their label.", ["value"], _by_one(drift.closed)
        )
        yield _gauge(
            "positive_share_difference",
            "Share of positives less that of the training.",
            [],
            _known(distances.positives),
        )
        yield _gauge(
            "answer_distance",
            "Largest distance between how soon positives are answered and how soon they were in training.",
            [],
            _known(distances.answers),
        )
        yield _gauge(
            "drifted",
            "Whether something is further from the training than it should be, as it was judged last.",
            ["what", "side", "feature"],
            (
                (("feature", *about) if isinstance(about, Feature) else (about, "", ""), float(is_too_far))
                for about, is_too_far in distances.too_far.items()
            ),
        )

    def _present(self) -> Iterator[Metric]:
        lanes = self._lanes.all()
        yield _gauge("restoring_records", "Changelog records still to read.", [], [((), self._lanes.counts.restoring)])
        yield _gauge("ready", "Whether records are being processed, as /readyz says.", [], [((), float(self.ready))])
        yield _gauge(
            "model_refused",
            "Whether the model that was published last cannot be used here.",
            [],
            [((), float(self._lanes.model_is_refused))],
        )
        states = Counter("open" if lane.is_open else "closed" for lane in lanes)
        yield _gauge(
            "lanes",
            "Stages' partitions that are this worker's, by whether they are processed.",
            ["state"],
            [((state,), states[state]) for state in ("open", "closed")],
        )
        yield _gauge(
            "watermark_seconds",
            "Event time of a partition, since the epoch.",
            ["partition"],
            ((partition, moment / 1000) for partition, moment in self._watermarks()),
        )
        yield _gauge(
            "lag_records",
            "Records of a stage's input that are not processed yet.",
            ["stage", "topic"],
            (((stage, self._topics.declared(topic)), lag) for (stage, topic), lag in (self.lag or {}).items()),
        )
        sizes: defaultdict[str, Sizes] = defaultdict(lambda: Sizes(0, 0, 0))
        for lane in lanes:
            sizes[lane.stage] = Sizes(*map(sum, zip(sizes[lane.stage], lane.table.sizes(), strict=True)))
        yield from self._guarded()
        for name, what, values in (
            ("table_disk_bytes", "What the tables of a stage take on disk.", (each.disk for each in sizes.values())),
            ("table_buffer_bytes", "What their write buffers take.", (each.buffers for each in sizes.values())),
            ("table_records", "How many records they have, about.", (each.records for each in sizes.values())),
        ):
            yield _gauge(name, what, ["stage"], (((stage,), value) for stage, value in zip(sizes, values, strict=True)))

    def _guarded(self) -> Iterator[Metric]:
        stopped: Counter[tuple[str, str]] = Counter()
        held: Counter[str] = Counter()
        recent: defaultdict[str, Sums] = defaultdict(Sums)
        for lane, standing in self._lanes.standings():
            stopped.update({(lane.stage, reason): int(reason in standing.reasons) for reason in REASONS})
            held[lane.stage] += standing.held
            recent[lane.stage] = recent[lane.stage].and_those_of(standing.recent)
        yield _gauge(
            "guard_stopped",
            "Partitions of a stage of which no coefficients are published, by reason.",
            ["stage", "reason"],
            stopped.items(),
        )
        yield _gauge("guard_held", "Entities that have moved and were not published.", ["stage"], _by_one(held))
        judged = {stage: sums for stage, sums in recent.items() if sums.weight > 0}
        yield _gauge(
            "guard_log_loss",
            "Log-loss of recent labels by the global model alone, with one side's part or the other's, and with both.",
            ["stage", "score"],
            (
                ((stage, score), getattr(sums, score) / sums.weight)
                for stage, sums in judged.items()
                for score in ("alone", "own", "other", "both")
            ),
        )
        yield _gauge(
            "guard_calibration",
            "Positives that the whole model expected of recent labels, over those that came.",
            ["stage"],
            (((stage,), sums.expected / sums.outcomes) for stage, sums in judged.items() if sums.outcomes > 0),
        )

    def _watermarks(self) -> Iterator[tuple[tuple[str], int]]:
        for lane in self._lanes.all():
            if lane.stage == self._label.name and lane.is_open:
                try:
                    moment = self._label.watermark(lane.table)
                except StateError:
                    # Damage that reading has met is mended before the group's next step.
                    continue
                if moment != NOT_BEGUN:
                    yield (str(lane.partition),), moment


def add_metrics(app: faust.App, lanes: Lanes, label: LabelStage, topics: TopicNames) -> None:
    """Add the page to Faust's web server."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    collector = WorkerCollector(lanes, label, topics)
    registry.register(collector)

    async def metrics(view: Any, _request: Any) -> Any:  # noqa: ANN401 # Faust's own
        collector.lag = await lanes.lag()
        collector.ready = await lanes.problem() is None
        return view.bytes(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.page(PATH)(metrics)


def _by_one(counts: Mapping[str, float]) -> Values:
    return (((name,), count) for name, count in counts.items())


def _known(value: float | None) -> Values:
    return [] if value is None else [((), value)]


def _counter(name: str, what: str, labels: list[str], values: Values) -> Metric:
    family = CounterMetricFamily(f"stream_qa_{name}", what, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, what: str, by_stage: Mapping[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(f"stream_qa_{name}", what, labels=["stage"])
    for stage, distribution in by_stage.items():
        family.add_metric([stage], distribution.buckets(), distribution.sum)
    return family


def _gauge(name: str, what: str, labels: list[str], values: Values) -> Metric:
    family = GaugeMetricFamily(f"stream_qa_{name}", what, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family
