"""The stage as a plain Faust agent with a table, as Faust's documentation has it."""

import os
from collections.abc import AsyncIterator
from typing import Any

import faust

PREFIX = os.environ["COUNTING_PREFIX"]
PARTITIONS = int(os.environ["COUNTING_PARTITIONS"])

app = faust.App(
    f"{PREFIX}counting",
    broker=f"kafka://{os.environ['COUNTING_BROKER']}",
    store="rocksdb://",
    datadir=os.environ["COUNTING_DIRECTORY"],
    processing_guarantee=os.environ["COUNTING_GUARANTEE"],
    broker_session_timeout=float(os.environ["COUNTING_SESSION_SECONDS"]),
    broker_heartbeat_interval=float(os.environ["COUNTING_SESSION_SECONDS"]) / 3,
    consumer_group_instance_id=os.environ.get("COUNTING_INSTANCE_ID", ""),
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    table_standby_replicas=0,
    web_enabled=False,
)
events = app.topic(f"{PREFIX}events", key_type=str, value_serializer="json")
counts = app.topic(f"{PREFIX}counts", key_type=str, value_serializer="json")
table = app.Table("count", default=int, partitions=PARTITIONS)


@app.agent(events)  # type: ignore[untyped-decorator] # Faust is not typed
async def count(stream: Any) -> None:  # noqa: ANN401 # Faust's own
    """Count the events of each key."""
    items: AsyncIterator[tuple[str, Any]] = stream.items()
    async for key, _ in items:
        table[key] += 1
        await counts.send(key=key, value={"version": table[key]})
