"""The group of workers: a rebalance that takes long is one rebalance."""

import asyncio
import signal
from pathlib import Path

import pytest
from ground import PARTITIONS, Ground, new_ground

from chaos.brokers import Brokers
from chaos.commits import Commits
from chaos.feed import Feed
from chaos.log import draw_log
from chaos.workers import READY, WORKER, WorkerPlace, supervise

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

JOINING = "joining group"
#: Longer than from one showing of the offsets to the next.
SLOW_SECONDS = 3.0
#: Nobody is given up who stands still until a worker has started, and longer.
SESSION_SECONDS = 90.0
WATCHED_SECONDS = 8.0
PATIENCE_SECONDS = 60.0


def test_offsets_shown_while_others_are_slow_to_join_do_not_break_the_group(breakable: Brokers, tmp_path: Path) -> None:
    """An offset commit waits behind the request to join, and is refused after it: the library then leaves the group.

    Left alone it would join again, be as slow, and show offsets meanwhile, for ever.
    """
    broker = breakable.get(epoch_a_transaction=True)
    ground = new_ground(broker.bootstrap, tmp_path, session_timeout_seconds=SESSION_SECONDS)
    assert asyncio.run(rebalances_of_a_slow_join(ground)) == {"a": 1, "b": 1}


async def rebalances_of_a_slow_join(ground: Ground) -> dict[str, int]:
    """Return how often two workers get partitions when a third one joins and one of the two stands still meanwhile."""
    servers, topics = ground.settings.kafka, ground.settings.topics
    places = [WorkerPlace(name, ground.directory, ground.environment, WORKER) for name in "abc"]
    first, slow, third = places
    stop = asyncio.Event()
    feed = Feed(servers, draw_log(1, 8_000, topics), 100.0, PARTITIONS)
    tasks = [asyncio.create_task(supervise(places)), asyncio.create_task(feed.run(stop))]
    try:
        async with Commits(servers, topics.label_changelog, PARTITIONS) as commits:
            began = await commits.now()
            first.start()
            slow.start()
            assert await first.says(READY, PATIENCE_SECONDS)
            assert await slow.says(READY, PATIENCE_SECONDS)
            assert await commits.back(began, PATIENCE_SECONDS) is not None
            await asyncio.sleep(WATCHED_SECONDS)
            before = {place.name: times_ready(place) for place in (first, slow)}
            # It stands still before there is anything that it could join again for.
            slow.send(signal.SIGSTOP)
            third.start()
            assert await third.says(JOINING, PATIENCE_SECONDS)
            await asyncio.sleep(SLOW_SECONDS)
            slow.send(signal.SIGCONT)
            assert await third.says(READY, PATIENCE_SECONDS)
            await asyncio.sleep(WATCHED_SECONDS)
            return {place.name: times_ready(place) - before[place.name] for place in (first, slow)}
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for place in places:
            await place.kill(wanted=False)


def times_ready(place: WorkerPlace) -> int:
    return place.log.read_text(errors="replace").count(READY)
