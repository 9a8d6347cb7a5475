"""The pipeline in stock Faust: an agent a topic, an event at a time, tables in RocksDB, as its documentation has it.

Choices: values are JSON, Faust's own and with orjson, which is installed, the fastest of its codecs; dictionaries and
not Records, which cost more; the settings are the defaults, at_least_once among them, because exactly_once loses and
repeats (docs/decisions/0008-exactness-beside-others.md) and is slower. Without web server and standby replicas.
"""

import os
from typing import Any

import faust

from peers import per_event

PREFIX = os.environ["PEERS_PREFIX"]
PARTITIONS = int(os.environ["PEERS_PARTITIONS"])

app = faust.App(
    f"{PREFIX}group",
    broker=f"kafka://{os.environ['PEERS_BROKER']}",
    store="rocksdb://",
    datadir=os.environ["PEERS_DIRECTORY"],
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    table_standby_replicas=0,
    web_enabled=False,
)


def _topic(name: str) -> Any:  # noqa: ANN401 # Faust is not typed
    return app.topic(f"{PREFIX}{name}", key_type=str, value_serializer="json")


applications, engagements, labels, examples = map(_topic, ("applications", "engagements", "labels", "examples"))
scores, coefficients = map(_topic, ("scores", "coefficients"))
known_applications = app.Table("known-applications", partitions=PARTITIONS)
members = app.Table("members", partitions=PARTITIONS)
jobs = app.Table("jobs", partitions=PARTITIONS)


@app.agent(applications)  # type: ignore[untyped-decorator] # Faust is not typed
async def label_applications(stream: Any) -> None:  # noqa: ANN401
    """Open applications."""
    async for application in stream:
        await _label(per_event.take_application, application)


@app.agent(engagements)  # type: ignore[untyped-decorator]
async def label_engagements(stream: Any) -> None:  # noqa: ANN401
    """Label applications."""
    async for engagement in stream:
        await _label(per_event.take_engagement, engagement)


async def _label(take: Any, event: per_event.Message) -> None:  # noqa: ANN401
    application_id = event["application_id"]
    known, new = take(known_applications.get(application_id), event, jobs.get(event["job_id"]))
    known_applications[application_id] = known
    for label in new:
        await labels.send(key=label["member_id"], value=label)


@app.agent(labels)  # type: ignore[untyped-decorator]
async def learn_members(stream: Any) -> None:  # noqa: ANN401
    """Score what opens, learn the rest."""
    async for label in stream:
        member_id = label["member_id"]
        member = members.get(member_id)
        if label["value"] is None:
            await scores.send(key=label["job_id"], value=per_event.score(label, member))
            continue
        members[member_id], example, delta = per_event.take_label(label, member)
        await examples.send(key=label["job_id"], value=example)
        await coefficients.send(key=f"member:{member_id}", value=delta)


@app.agent(examples)  # type: ignore[untyped-decorator]
async def learn_jobs(stream: Any) -> None:  # noqa: ANN401
    """Learn from examples."""
    async for example in stream:
        job_id = example["job_id"]
        jobs[job_id], delta = per_event.take_example(example, jobs.get(job_id))
        await coefficients.send(key=f"job:{job_id}", value=delta)
