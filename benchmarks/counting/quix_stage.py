"""The stage in Quix Streams: exactly-once, with a transactional id that stays the same for a place of work."""

import os
from typing import Any

from quixstreams import Application, State

PREFIX = os.environ["COUNTING_PREFIX"]
consumer: dict[str, Any] = {"session.timeout.ms": int(float(os.environ["COUNTING_SESSION_SECONDS"]) * 1000)}
if "COUNTING_INSTANCE_ID" in os.environ:
    consumer["group.instance.id"] = os.environ["COUNTING_INSTANCE_ID"]

app = Application(
    broker_address=os.environ["COUNTING_BROKER"],
    consumer_group=f"{PREFIX}counting",
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    # As often as Kafka Streams commits with exactly-once; by default it would be every 5 s.
    commit_interval=0.1,
    state_dir=os.environ["COUNTING_DIRECTORY"],
    auto_create_topics=True,
    consumer_extra_config=consumer,
    # By default it is another one at each start: then a transaction that a kill has left open holds everybody up until
    # the broker gives it up, after a minute.
    producer_extra_config={"transactional.id": f"{PREFIX}{os.environ['COUNTING_PLACE']}"},
)
events = app.topic(f"{PREFIX}events", key_deserializer="str", value_deserializer="json")
counts = app.topic(f"{PREFIX}counts", key_serializer="str", value_serializer="json")


def count(_event: Any, state: State) -> dict[str, int]:  # noqa: ANN401 # whatever was in the message
    """Count an event of its key."""
    version: int = state.get("version", 0) + 1
    state.set("version", version)
    return {"version": version}


app.dataframe(events).apply(count, stateful=True).to_topic(counts)

if __name__ == "__main__":
    app.run()
