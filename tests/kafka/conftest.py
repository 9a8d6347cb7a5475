"""The ground of each test on the real broker."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from ground import PARTITIONS, Ground

from stream_qa.settings import Settings
from stream_qa.topics import apply

_number = count()


@pytest.fixture
def ground(broker: str, tmp_path: Path) -> Ground:
    """Give topics, with four partitions each, that no other test uses."""
    prefix = f"test-{tmp_path.name}-{next(_number)}-"
    settings = Settings(broker=broker, app_id=f"{prefix}workers", topic_prefix=prefix)
    asyncio.run(apply(settings.bootstrap_servers, prefix, partitions=PARTITIONS))
    environment = {
        "STREAM_QA_BROKER": broker,
        "STREAM_QA_APP_ID": settings.app_id,
        "STREAM_QA_TOPIC_PREFIX": prefix,
    }
    return Ground(settings, tmp_path, environment)
