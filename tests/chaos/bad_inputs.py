"""Which inputs must be in the dead letters by now."""

from collections.abc import Iterable

import orjson
from ground import PARTITIONS

from chaos.evidence import Evidence
from chaos.log import BAD, ORPHAN, time_of
from stream_qa.streaming.partitioner import partition_of

_NEVER = -1


def bad_inputs(evidence: Evidence) -> Iterable[tuple[tuple[str, int, int], tuple[bytes | None, bytes | None]]]:
    """Yield the place, key and value of every input that is to be a dead letter by now."""
    reached = _reached(evidence)
    orphans: set[bytes | None] = set()
    topics = evidence.settings.topics
    for topic in (topics.applications, topics.engagements):
        for record in evidence.records(topic):
            kind = dict(record.headers).get(BAD, b"").decode()
            if not kind:
                continue
            if kind == ORPHAN:
                # It waits for its application; the same one again is nothing new.
                given_up = orjson.loads(record.value)["engaged_at"] + evidence.pipeline.label.policy.orphan_wait
                if record.value in orphans or given_up > reached[record.partition]:
                    continue
                orphans.add(record.value)
            yield (topic, record.partition, record.offset), (record.key, record.value)


def _reached(evidence: Evidence) -> dict[int, int]:
    """Return the event time of every partition: the smaller of what its inputs have reached."""
    topics = evidence.settings.topics
    reached = {topic: dict.fromkeys(range(PARTITIONS), _NEVER) for topic in (topics.applications, topics.engagements)}
    for delivery in evidence.delivered:
        if delivery.bad in (None, ORPHAN):
            partition = partition_of(delivery.key, PARTITIONS)
            time = time_of(orjson.loads(delivery.value or b""))
            reached[delivery.topic][partition] = max(reached[delivery.topic][partition], time)
    return {number: min(by_topic[number] for by_topic in reached.values()) for number in range(PARTITIONS)}
