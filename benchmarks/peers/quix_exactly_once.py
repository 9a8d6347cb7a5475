"""The pipeline in Quix Streams, exactly-once.

Choices: events and examples must share a state, because labels look at the job's coefficients, and a state is that of a
dataframe; so the events, as bytes, are sent on to the topic in which the examples are. The other way, `concat` of three
topics, takes as much CPU and three times as long: it waits for each of them in turn to have something. JSON, of
messages and of state, is its own (orjson). It commits every 100 ms, as Kafka Streams does, and not every 5 s, since
readers see nothing before; the transactional id stays the same.
"""

import os
from typing import Any

from quixstreams import Application, State

from peers import per_event

PREFIX = os.environ["PEERS_PREFIX"]

app = Application(
    broker_address=os.environ["PEERS_BROKER"],
    consumer_group=f"{PREFIX}group",
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=0.1,
    state_dir=os.environ["PEERS_DIRECTORY"],
    producer_extra_config={"transactional.id": f"{PREFIX}worker"},
)


def _topic(name: str) -> Any:  # noqa: ANN401 # its own
    return app.topic(
        f"{PREFIX}{name}",
        key_deserializer="str",
        key_serializer="str",
        value_deserializer="json",
        value_serializer="json",
    )


applications, engagements = (
    app.topic(f"{PREFIX}{name}", key_deserializer="bytes", value_deserializer="bytes")
    for name in ("applications", "engagements")
)
job_events, labels = map(_topic, ("job-events", "labels"))
scores, coefficients = map(_topic, ("scores", "coefficients"))


def take_of_job(event: per_event.Message, state: State) -> list[per_event.Message]:
    """Label an application, or learn from an example: return labels or a delta."""
    job = state.get("job")
    if "value" in event:
        job, delta = per_event.take_example(event, job)
        state.set("job", job)
        return [delta]
    take = per_event.take_application if "applied_at" in event else per_event.take_engagement
    known, new = take(state.get(event["application_id"]), event, job)
    state.set(event["application_id"], known)
    return new


def take_label(label: per_event.Message, state: State) -> list[per_event.Message]:
    """Score what opens, learn the rest: return a score, or an example and a delta."""
    member = state.get("member")
    if label["value"] is None:
        return [per_event.score(label, member)]
    member, example, delta = per_event.take_label(label, member)
    state.set("member", member)
    return [example, delta]


def _is_delta(message: per_event.Message) -> bool:
    return "change" in message


def _is_score(message: per_event.Message) -> bool:
    return "probability" in message


def _entity(delta: per_event.Message) -> str:
    return f"{delta['entity_kind']}:{delta['entity_id']}"


forwarded = app.topic(f"{PREFIX}job-events", key_serializer="bytes", value_serializer="bytes")
for source in (applications, engagements):
    app.dataframe(source).to_topic(forwarded)
of_job = app.dataframe(job_events)
of_job = of_job.apply(take_of_job, stateful=True, expand=True)
of_job.filter(_is_delta).to_topic(coefficients, key=_entity)
of_job.filter(lambda message: not _is_delta(message)).to_topic(labels, key=lambda label: label["member_id"])

of_member = app.dataframe(labels).apply(take_label, stateful=True, expand=True)
of_member.filter(_is_delta).to_topic(coefficients, key=_entity)
of_member.filter(_is_score).to_topic(scores, key=lambda score: score["job_id"])
of_member.filter(lambda message: not _is_delta(message) and not _is_score(message)).to_topic(
    job_events, key=lambda example: example["job_id"]
)

if __name__ == "__main__":
    app.run()
