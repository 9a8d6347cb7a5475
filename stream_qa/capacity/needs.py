"""From what one application costs to what a whole marketplace needs: arithmetic alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_qa.capacity.sample import Sample, Sent
from stream_qa.durations import DAY
from stream_qa.events import TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.topics import TopicDeclaration

DAY_SECONDS = 86_400
_MEGABYTE = 1_000_000

#: Events per CPU second of a worker, exactly once, beside the same stages in one process (docs/benchmarks.md).
WORKER_SHARE = 0.69
#: Changelog records that a worker without local state reads in a second (docs/benchmarks.md).
RESTORED_A_SECOND = 186_000
#: Resident memory of a worker without its caches and buffers: Python, numpy, clients, a chunk on its way.
WORKER_BYTES = 250 * _MEGABYTE
#: What Redis needs for an entity beside its coefficients: 301 bytes with 17 of them (docs/benchmarks.md).
REDIS_ENTITY_BYTES = 165
#: Until a compacted topic is compacted it may have as much again of what was replaced (``min.cleanable.dirty.ratio``).
COMPACTED_OVERHEAD = 2.0
#: So that there is room for as many workers as this times those needed: partitions cannot be added later.
PARTITIONS_A_WORKER = 4
#: Label, member and job; notify where notifications are on.
_STAGES = 3
_MINUTE = 60
_BUFFERS_A_TABLE = 2
_COEFFICIENT_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Load:
    """A marketplace's size."""

    applications_per_day: float
    members: int
    """With coefficients: those who have applied within ``STREAM_QA_IDLE_DAYS``."""
    jobs: int
    features: int
    """A side, without the intercept."""
    peak: float = 3.0
    """The busiest hour against the mean."""
    utilisation: float = 0.6
    """Share of a core that a worker may need in the busiest hour: the rest is for catching up."""
    restore_minutes: float = 30.0
    """Within which a worker whose disk has vanished must go on."""
    replication: int = 3
    servers: int = 2
    """Serving hosts that follow the coefficients."""
    groups: int = 8
    """``STREAM_QA_GROUPS``."""
    notify: bool = False
    """Whether ``STREAM_QA_NOTIFY_PER_JOB_AND_DAY`` asks for notifications: a fourth stage, which reads the scores."""
    cache_bytes: int = 256 << 20
    """``STREAM_QA_STATE_CACHE_BYTES``."""
    write_buffer_bytes: int = 8 << 20
    """``STREAM_QA_STATE_WRITE_BUFFER_BYTES``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What it takes. Bytes are bytes, rates are a second."""

    events_a_second: float
    """Applications and engagements, in the busiest hour."""
    worker_events_a_second: float
    """What a worker does at the utilisation that was asked for."""
    workers_for_events: int
    workers_for_restoring: int
    """So many that none has more state than it reads back in time."""
    groups: int
    """``STREAM_QA_GROUPS``, so that each worker has as many: at least as it is set, and a multiple of the workers."""
    partitions: int
    """A multiple of the groups."""
    broker_disk: dict[str, float]
    """By topic, with all replicas."""
    broker_bytes_in: float
    """In the busiest hour, replicas among them."""
    broker_bytes_out: float
    """In the busiest hour, to workers and servers; what replicas fetch is in ``broker_bytes_in``."""
    state: float
    """State of all workers together."""
    worker_disk: float
    worker_memory: float
    restore_seconds: float
    """Until a worker without local state goes on."""
    redis_memory: float
    """Where servers keep coefficients in one Redis."""

    @property
    def workers(self) -> int:
        """Worker processes, each of one core."""
        return max(self.workers_for_events, self.workers_for_restoring)

    @property
    def broker_disk_total(self) -> float:
        """Bytes on all brokers together."""
        return sum(self.broker_disk.values())


_TOPICS = TopicNames()


def needs(
    load: Load,
    sample: Sample,
    policy: LabelPolicy,
    declarations: Sequence[TopicDeclaration],
    topics: TopicNames = _TOPICS,
) -> Needs:
    """Return what a load needs.

    Parameters
    ----------
    load
        The marketplace.
    sample
        What one application of it costs.
    policy
        For how long an application is open, and for how long its id is remembered.
    declarations
        The topics, for how long each keeps what it has.
    topics
        Their names in the sample.
    """
    a_second = load.applications_per_day / DAY_SECONDS * load.peak
    events = a_second * (1 + sample.engagements)
    a_worker = sample.events_per_cpu_second * WORKER_SHARE * load.utilisation
    entities = load.members + load.jobs
    still_open = load.applications_per_day * policy.retention / DAY
    over = load.applications_per_day * policy.memory / DAY
    state = still_open * sample.open_state.bytes + over * sample.over_state.bytes + entities * sample.entity_bytes
    state_records = still_open * sample.open_state.records + over * sample.over_state.records + entities
    for_events = max(1, math.ceil(events / a_worker))
    for_restoring = max(1, math.ceil(state_records / RESTORED_A_SECOND / (load.restore_minutes * _MINUTE)))
    workers = max(for_events, for_restoring)
    # Whole groups move, so only then every worker has an equal share of events and of state.
    groups = math.ceil(load.groups / workers) * workers
    partitions = math.ceil(workers * PARTITIONS_A_WORKER / groups) * groups
    tables = partitions // workers * (_STAGES + load.notify)
    written = sum(sent.bytes for sent in sample.sent.values())
    read = {topics.applications, topics.engagements, topics.labels, topics.examples, topics.ticks}
    if load.notify:
        read.add(topics.scores)
    served = {topics.coefficients, topics.coefficient_snapshots}
    return Needs(
        events_a_second=events,
        worker_events_a_second=a_worker,
        workers_for_events=for_events,
        workers_for_restoring=for_restoring,
        groups=groups,
        partitions=partitions,
        broker_disk=_disk(load, sample.sent, declarations, topics, state=state),
        broker_bytes_in=a_second * written * load.replication,
        broker_bytes_out=a_second * (_bytes(sample.sent, read) + load.servers * _bytes(sample.sent, served)),
        state=state,
        worker_disk=state / workers,
        worker_memory=WORKER_BYTES + load.cache_bytes + tables * _BUFFERS_A_TABLE * load.write_buffer_bytes,
        restore_seconds=state_records / workers / RESTORED_A_SECOND,
        redis_memory=entities * (REDIS_ENTITY_BYTES + _COEFFICIENT_BYTES * (1 + load.features)),
    )


def _bytes(sent: Mapping[str, Sent], topics: set[str]) -> float:
    return sum(of_topic.bytes for topic, of_topic in sent.items() if topic in topics)


def _disk(
    load: Load, sent: Mapping[str, Sent], declarations: Sequence[TopicDeclaration], topics: TopicNames, *, state: float
) -> dict[str, float]:
    """Return the bytes of each topic: as long as it keeps its records, or what is left of them when compacted."""
    disk: dict[str, float] = {}
    entities = load.members + load.jobs
    of_state = (topics.label_changelog, topics.member_changelog, topics.job_changelog, topics.notify_changelog)
    changelogs = {name: sent[name].bytes for name in of_state if name in sent}
    for declaration in declarations:
        name = topics.of_declared(declaration.name)
        if name not in sent:
            continue
        if (retention := declaration.config.get("retention.ms")) is not None:
            kept = load.applications_per_day * sent[name].bytes * int(retention) / DAY
        elif name in changelogs:
            # Together the changelogs have what the tables have; each by its share of what is written.
            kept = state * changelogs[name] / sum(changelogs.values()) * COMPACTED_OVERHEAD
        else:
            kept = entities * sent[name].bytes / sent[name].records * COMPACTED_OVERHEAD
        disk[name] = kept * load.replication
    return disk
