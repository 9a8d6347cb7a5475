"""The lanes of the three stages: what each reads, where its table and its changelog are."""

import logging
from collections.abc import Sequence
from pathlib import Path

from stream_qa.durations import HOUR
from stream_qa.events import SourceRecord
from stream_qa.settings import Settings
from stream_qa.stages.label import Belongs
from stream_qa.stages.pipeline import Pipeline
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.streaming.bugs import Process, guarded
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.partitioner import partition_of, share_of
from stream_qa.streaming.replay_steps import ReplaySteps
from stream_qa.streaming.sources import Order
from stream_qa.streaming.table import Table, block_cache

_log = logging.getLogger(__name__)

#: Where the tables are, in the data directory: one directory each, named by stage and partition.
_TABLES = "tables"


def partitions_on_disk(state_directory: Path) -> set[int]:
    """Return the partitions of which there are tables."""
    return {int(path.name.rpartition("-")[2]) for path in (state_directory / _TABLES).glob("label-*")}


class StageLanes:
    """Makes lanes.

    Parameters
    ----------
    settings
        The worker's settings.
    pipeline
        The stages.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._cache = block_cache(settings.state_cache_bytes)
        self.label = pipeline.label
        self.partitions = 0
        """How many partitions the inputs have; known when lanes are opened."""
        self._warned = False
        self._dead_letters = settings.topics.dead_letters if settings.on_bug == "dead-letter" else None

    def open(self, partition: int) -> list[Lane]:
        """Return the lanes of a partition in the order of the flow, with open tables.

        Raises
        ------
        DiskError
            A table cannot be opened.
        """
        topics, stages = self._settings.topics, self._pipeline
        label, member, job = (self._table(f"{stage}-{partition}") for stage in ("label", "member", "job"))
        steps = ReplaySteps(round(self._settings.replay_step_hours * HOUR), self._settings.order_seconds)

        def make_labels(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
            outcome = stages.label.process(partition, records, state, job, self._belongs(partition))
            steps.sent(outcome.lessons)
            return outcome

        def learn_members(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
            return stages.member.process(partition, records, state, share_of(partition, self.partitions))

        def learn_jobs(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
            steps.came_back(len(records))
            return stages.job.process(partition, records, state, share_of(partition, self.partitions))

        lanes = [
            Lane(
                stage="label",
                partition=partition,
                sources=(topics.applications, topics.engagements, topics.ticks),
                changelog=topics.label_changelog,
                table=label,
                process=self._guarded("label", make_labels),
                order=Order(
                    stages.label.event_times,
                    self._settings.order_seconds,
                    steps,
                    companions=frozenset({topics.applications, topics.engagements}),
                ),
                # A later tick, or event, says what one that is gone would have said. A busy partition sends none for as
                # long as they are kept, and the end of the last one's transaction, then gone too, is in no position.
                may_miss=frozenset({topics.ticks}),
            ),
            Lane(
                stage="member",
                partition=partition,
                sources=(topics.labels,),
                changelog=topics.member_changelog,
                table=member,
                process=self._guarded("member", learn_members),
            ),
            Lane(
                stage="job",
                partition=partition,
                sources=(topics.examples,),
                changelog=topics.job_changelog,
                table=job,
                process=self._guarded("job", learn_jobs),
            ),
        ]
        notify = stages.notify
        if notify is not None:
            lanes.append(
                Lane(
                    stage=notify.name,
                    partition=partition,
                    sources=(topics.scores,),
                    changelog=topics.notify_changelog,
                    table=self._table(f"{notify.name}-{partition}"),
                    process=self._guarded(notify.name, notify.process),
                    # Those that came while nobody was to be notified may have been kept no longer.
                    may_miss=frozenset({topics.scores}),
                )
            )
        return lanes

    def _belongs(self, partition: int) -> Belongs | None:
        """Return what tells whether a job's events belong into a partition; ``None`` where that is not to be asked."""
        if self._settings.partitioner == "unchecked":
            return None

        def belongs(job_id: str) -> bool:
            found = partition_of(job_id.encode(), self.partitions) == partition
            if not found and not self._warned:
                self._warned = True
                _log.warning(
                    "events are in other partitions than those of their keys; they go to the dead letters. "
                    "Set the producer's partitioner to murmur2, as Kafka's own client has it (librdkafka: "
                    "partitioner=murmur2_random), or STREAM_QA_PARTITIONER=unchecked if one of its own is meant"
                )
            return found

        return belongs

    def _guarded(self, stage: str, process: Process) -> Process:
        return guarded(stage, process, self._dead_letters)

    def _table(self, name: str) -> Table:
        path = self._settings.state_directory / _TABLES / name
        return Table(path, self._cache, self._settings.state_write_buffer_bytes)
