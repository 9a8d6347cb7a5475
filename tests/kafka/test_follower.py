"""What a server holds that follows a real worker: at a quiet moment the worker's tables, bit for bit."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pytest
import redis
import rocksdict
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from changes import ENTITY, delta, snapshot
from damaged_tables import damage
from ground import PARTITIONS, Ground, new_ground
from ports import free_port
from redis_server import RedisServer

from stream_qa.coefficients import CoefficientStore, MemoryBackend, Place, Reach, Swap, Verdict, entity_key
from stream_qa.coefficients.messages import key_of
from stream_qa.errors import BrokerUnavailableError, CorruptTableError, TopicMissingError, TopicReplacedError
from stream_qa.events import EntityKind, TopicNames, wire
from stream_qa.following import Follower, RocksDBBackend
from stream_qa.following import follower as following_module
from stream_qa.following.redis import RedisBackend
from stream_qa.kafka_access import KafkaAccess
from stream_qa.learning import entity
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.snapshots import publish_snapshots
from stream_qa.streaming.table import Table
from stream_qa.topics import apply, delete

pytestmark = pytest.mark.kafka

FEATURES = 3
MARKETPLACE = Marketplace(members=80, jobs=30, days=20, applications=500, features=FEATURES)
LOOK_AGAIN_SECONDS = 0.05
#: The id of the development broker.
NODE = "1"
_prefixes = map("follower-{}:".format, count())


class Entity(NamedTuple):
    """What is known of an entity, comparable with ``==``."""

    version: int
    labels: int
    newest_at: int
    vector: bytes


Entities = dict[tuple[EntityKind, str], Entity]


@dataclass
class Learned:
    """What a worker has published, and what it knows."""

    ground: Ground
    tables: Entities
    live: Entities
    """What a follower held that ran beside the worker from before its first record."""


@pytest.fixture(scope="module")
def learned(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Let a worker learn from a small marketplace, with a follower beside it, and end."""
    directory = tmp_path_factory.mktemp("followed")
    ground = new_ground(broker, directory, snapshot_every=5, chunk_records=40, order_seconds=0.5)
    log = directory / "log.jsonl"
    events = simulate(MARKETPLACE, np.random.default_rng(0)).events()
    log.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))

    async def learn_and_follow() -> Entities:
        store = CoefficientStore()
        async with Following(ground, store) as follower:
            with ground.worker():
                await asyncio.to_thread(ground.replay, log, directory / "emitted")
                done_at = time.time()
                await until(lambda: follower.staleness is not None and time.time() - follower.staleness > done_at)
        return held(store)

    live = asyncio.run(learn_and_follow())
    return Learned(ground, tables_of(ground), live)


def tables_of(ground: Ground) -> Entities:
    """Return what the tables of a worker that has ended hold, as servers get it."""
    found: Entities = {}
    pipeline = build_pipeline(ground.settings)
    prefix = entity.entity_key("")
    for stage in (pipeline.member, pipeline.job):
        kind = entity.entity_type(stage.effect.rule, 1 + FEATURES)
        for partition in range(PARTITIONS):
            path = ground.directory / "worker" / "tables" / f"{stage.name}-{partition}"
            assert path.exists()
            with closing(Table(path, rocksdict.Cache(1 << 20), 64 << 10)) as table:
                for key, record in table.scan(prefix, prefix + b"\xff"):
                    unpacked = entity.unpack_many(kind, [record])
                    vector = stage.effect.published(unpacked["coefficients"])
                    found[stage.effect.kind, key.removeprefix(prefix).decode()] = Entity(
                        int(unpacked["version"][0]),
                        int(unpacked["labels"][0]),
                        int(unpacked["newest_at"][0]),
                        vector.tobytes(),
                    )
    return found


def held(store: CoefficientStore) -> Entities:
    """Return what a store holds."""
    return {
        (side, entity_id): Entity(each.version, each.labels, each.newest_at, each.vector.tobytes())
        for side, entity_id, each in store.entities()
    }


class Following:
    """A follower that runs while the context lasts."""

    def __init__(self, ground: Ground, store: CoefficientStore) -> None:
        self._follower = Follower(store, ground.settings.kafka, ground.settings.topics)

    async def __aenter__(self) -> Follower:
        self._running = asyncio.create_task(self._follower.run())
        return self._follower

    async def __aexit__(self, *_error: object) -> None:
        self._follower.stop()
        await self._running


async def until(is_so: Callable[[], bool]) -> None:
    """Return when something is so; the test's own timeout is the end of it."""
    while True:
        if is_so():
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def follow_to_the_end(ground: Ground, store: CoefficientStore) -> Follower:
    """Follow until ready."""
    async with Following(ground, store) as follower:
        await follower.ready()
    return follower


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoefficientStore]:
    """Give an empty store on disk."""
    with closing(CoefficientStore(RocksDBBackend(tmp_path / "store"))) as store:
        yield store


def test_a_follower_beside_the_worker_holds_what_the_worker_knows(learned: Learned) -> None:
    assert len(learned.tables) > 50
    assert {side for side, _ in learned.tables} == {"member", "job"}
    assert learned.live == learned.tables


async def test_one_that_starts_late_does_as_well_and_goes_on_where_it_was(
    learned: Learned, store: CoefficientStore
) -> None:
    first = await follow_to_the_end(learned.ground, store)
    assert held(store) == learned.tables
    assert first.metrics.records > 300
    assert store.metrics.gaps == 0
    again = await follow_to_the_end(learned.ground, store)
    assert again.metrics.records == 0
    assert held(store) == learned.tables


def test_one_that_is_killed_at_bad_moments_goes_on(learned: Learned, tmp_path: Path) -> None:
    settings = learned.ground.settings
    for instant, swaps in [("after", 3), ("before", 9), ("after", 12)]:
        program = [sys.executable, str(Path(__file__).with_name("killed_follower.py")), str(tmp_path)]
        done = subprocess.run([*program, settings.broker, settings.topic_prefix, instant, str(swaps)], check=False)
        assert done.returncode == -signal.SIGKILL
    with closing(CoefficientStore(RocksDBBackend(tmp_path))) as store:
        assert 0 < len(held(store)) <= len(learned.tables)
        assert held(store) != learned.tables
        asyncio.run(follow_to_the_end(learned.ground, store))
        assert held(store) == learned.tables
        assert store.metrics.gaps == 0


async def test_all_of_it_once_more_changes_nothing(learned: Learned, tmp_path: Path) -> None:
    class Forgetful(RocksDBBackend):
        def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
            return super().swap(swaps, dict.fromkeys(positions, Reach(0, 0)))

    with closing(CoefficientStore(Forgetful(tmp_path))) as store:
        for _ in range(2):
            await follow_to_the_end(learned.ground, store)
            assert held(store) == learned.tables
        applied = store.metrics.changes[Verdict.APPLIED]
        await follow_to_the_end(learned.ground, store)
        assert store.metrics.changes[Verdict.APPLIED] == applied
        assert store.metrics.gaps == 0


async def test_several_fill_one_redis_and_what_it_loses_comes_back(
    learned: Learned, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many small steps, so that they meet.
    monkeypatch.setattr(following_module, "_MOST_RECORDS", 20)
    prefix = next(_prefixes)
    stores = [CoefficientStore(RedisBackend(redis_server.url, prefix)) for _ in range(3)]
    # Two from the beginning to the end, and one that is ended in the middle of it.
    async with Following(learned.ground, stores[0]) as one, Following(learned.ground, stores[1]) as other:
        cut_short = Follower(stores[2], learned.ground.settings.kafka, learned.ground.settings.topics)
        following = asyncio.create_task(cut_short.run())
        await until(lambda: cut_short.metrics.records > 0 or one.is_ready)
        following.cancel()
        await asyncio.gather(one.fresh(), other.fresh(), asyncio.gather(following, return_exceptions=True))
        assert held(stores[2]) == learned.tables
        assert one.metrics.interruptions + other.metrics.interruptions == 0
        with redis.Redis.from_url(redis_server.url) as client:
            client.flushall()
        await until(lambda: held(stores[2]) == learned.tables)
        assert one.metrics.interruptions + other.metrics.interruptions > 0
    for each in stores:
        each.close()


@pytest.fixture
def damaged(learned: Learned, tmp_path: Path) -> Path:
    """Give the directory of a store that was filled, whose files are damaged from their first byte on."""
    with closing(CoefficientStore(RocksDBBackend(tmp_path))) as store:
        asyncio.run(follow_to_the_end(learned.ground, store))
    (file,) = tmp_path.glob("*.sst")
    damage(file, 0)
    return tmp_path


async def test_a_store_that_is_damaged_is_filled_again(learned: Learned, damaged: Path) -> None:
    with closing(CoefficientStore(RocksDBBackend(damaged))) as store:
        follower = await follow_to_the_end(learned.ground, store)
        assert follower.metrics.interruptions == 1
        assert held(store) == learned.tables


async def test_one_whose_store_is_found_damaged_is_not_ready_until_it_is_filled_again(
    learned: Learned, tmp_path: Path
) -> None:
    class Damaged(RocksDBBackend):
        def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
            if follower.is_ready and not follower.metrics.interruptions:
                raise CorruptTableError("as a look-up has met it")
            return super().swap(swaps, positions)

    with closing(CoefficientStore(Damaged(tmp_path))) as store:
        async with Following(learned.ground, store) as follower:
            await until(lambda: follower.metrics.interruptions == 1)
            assert not follower.is_ready
            await follower.ready()
        assert held(store) == learned.tables


async def test_one_whose_store_has_lost_everything_is_not_ready_until_it_is_filled_again(learned: Learned) -> None:
    backend = MemoryBackend()
    store = CoefficientStore(backend)
    async with Following(learned.ground, store) as follower:
        await follower.ready()
        backend.__init__()  # type: ignore[misc] # as a Redis that came back empty
        await until(lambda: not follower.is_ready)
        await follower.ready()
    assert held(store) == learned.tables


async def test_one_whose_store_came_back_a_little_older_stays_ready(learned: Learned) -> None:
    backend = MemoryBackend()
    store = CoefficientStore(backend)
    was_ready: list[bool] = []
    async with Following(learned.ground, store) as follower:
        await follower.ready()
        follower.on_changes = lambda _changes: was_ready.append(follower.is_ready)
        place, end = max(store.positions().items())
        store.apply([], {place: Reach(end, end // 2)})
        await until(lambda: store.positions() | {place: end} == store.positions())
    assert follower.metrics.interruptions == 1
    assert was_ready
    assert all(was_ready)
    assert held(store) == learned.tables


async def test_one_whose_store_began_anew_while_it_was_interrupted_is_not_ready_until_it_is_filled_again(
    learned: Learned, tmp_path: Path
) -> None:
    was_ready: list[bool] = []

    class Damaged(RocksDBBackend):
        def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
            if follower.is_ready and not follower.metrics.interruptions:
                self._table.is_damaged = True  # as a look-up has met it
                raise BrokerUnavailableError("for another reason")
            if follower.metrics.interruptions:
                was_ready.append(follower.is_ready)
            return super().swap(swaps, positions)

    with closing(CoefficientStore(Damaged(tmp_path))) as store:
        async with Following(learned.ground, store) as follower:
            await until(lambda: bool(was_ready) and follower.is_ready)
        assert not was_ready[0]
        assert held(store) == learned.tables


async def test_records_that_are_no_changes_are_counted_and_passed_over(
    learned: Learned, store: CoefficientStore
) -> None:
    ground, topics = learned.ground, learned.ground.settings.topics
    await ground.produce(topics.coefficients, [(b"job:x", b"{}"), (b"no entity", None)], 0)
    await ground.produce(topics.coefficient_snapshots, [(b"job:x", b"NaN")], 0)
    follower = await follow_to_the_end(ground, store)
    assert follower.metrics.unreadable == 3
    assert held(store) == learned.tables


async def test_a_dropped_entity_is_gone_and_comes_again_whenever_a_follower_starts(
    ground: Ground, store: CoefficientStore
) -> None:
    topics = ground.settings.topics
    key = b"member:entity-1"
    first_life = [delta(0, 1, [1.0]), delta(1, 2, [1.0]), delta(2, 3, [1.0])]
    await ground.produce(topics.coefficient_snapshots, [(key, wire.encode(snapshot(2, [2.0])))], 1)
    await ground.produce(topics.coefficients, [(key, wire.encode(each)) for each in first_life], 1)
    await follow_to_the_end(ground, store)
    assert known(store) == (3, [3.0], 1_003)

    await ground.produce(topics.coefficients, [(key, None)], 1)
    late = CoefficientStore()
    for each in (store, late):
        await follow_to_the_end(ground, each)
        assert held(each) == {}

    second_life = [delta(0, 1, [7.0], newest_at=9_000), delta(1, 2, [1.0], newest_at=9_000)]
    await ground.produce(topics.coefficients, [(key, wire.encode(each)) for each in second_life], 1)
    await follow_to_the_end(ground, late)
    # Read only now, after what came later in the other topic.
    await ground.produce(topics.coefficient_snapshots, [(key, None)], 1)
    # Of this one the deltas, and the tombstone among them, are no longer retained.
    gone = [(b"member:gone", wire.encode(snapshot(20, [2.0], entity_id="gone"))), (b"member:gone", None)]
    newcomer = CoefficientStore()
    await ground.produce(topics.coefficient_snapshots, [*gone], 1)
    await follow_to_the_end(ground, newcomer)
    assert newcomer.get("member", "gone") is None
    for each in (store, late, newcomer):
        await follow_to_the_end(ground, each)
        assert known(each) == (2, [8.0], 9_000)
        assert each.metrics.gaps == 0


async def test_a_snapshot_that_is_read_after_its_entity_was_dropped_does_not_bring_it_back(
    ground: Ground, store: CoefficientStore
) -> None:
    topics = ground.settings.topics
    key = b"member:entity-1"
    other = [(b"member:other", wire.encode(delta(0, 1, [1.0], entity_id="other")))]
    await ground.produce(topics.coefficients, [*other], 1)
    async with Following(ground, store) as follower:
        await follower.ready()
        # As one finds them that fetches the one topic after the other.
        await ground.produce(topics.coefficients, [(key, wire.encode(delta(0, 1, [1.0]))), (key, None)], 1)
        await until(lambda: store.metrics.changes[Verdict.APPLIED] == 3)
        renewal = (b"member:other", wire.encode(snapshot(2, [5.0], entity_id="other")))
        late = [(key, wire.encode(snapshot(1, [1.0]))), (key, None)]
        await ground.produce(topics.coefficient_snapshots, [*late, renewal], 1)
        await until(lambda: known(store, "other") == (2, [5.0], 1_002))
        assert known(store) is None
    # The same where the snapshots are read by one that goes on where the store is.
    await ground.produce(topics.coefficient_snapshots, [*late], 1)
    await follow_to_the_end(ground, store)
    assert known(store) is None
    # And an entity that is new comes, in whatever order its delta and its first snapshot are read.
    await ground.produce(topics.coefficient_snapshots, [(key, wire.encode(snapshot(1, [3.0], newest_at=9_000)))], 1)
    await follow_to_the_end(ground, store)
    await ground.produce(topics.coefficients, [(key, wire.encode(delta(0, 1, [3.0], newest_at=9_000)))], 1)
    await follow_to_the_end(ground, store)
    assert known(store) == (1, [3.0], 9_000)


async def test_one_that_was_away_for_longer_than_deltas_are_kept_starts_from_the_snapshots(
    ground: Ground, store: CoefficientStore
) -> None:
    topics = ground.settings.topics
    key = b"member:entity-1"

    async def publish(versions: range) -> None:
        deltas = [delta(version - 1, version, [1.0]) for version in versions]
        await ground.produce(topics.coefficients, [(key, wire.encode(each)) for each in deltas], 0)

    await publish(range(1, 3))
    await follow_to_the_end(ground, store)
    await publish(range(3, 8))
    await forget(ground, TopicPartition(topics.coefficients, 0), 6)
    # What is retained goes from version 6 to 7, and the snapshot says what was before.
    for each in (store, CoefficientStore()):
        follower = await follow_to_the_end(ground, each)
        assert follower.metrics.records == 1
        assert each.metrics.gaps == 1
    assert known(store) == (2, [2.0], 1_002)
    await ground.produce(topics.coefficient_snapshots, [(key, wire.encode(snapshot(6, [6.0])))], 0)
    for each in (store, CoefficientStore()):
        await follow_to_the_end(ground, each)
        # One that goes on where it was has passed the delta that it could not use; the next snapshot is its turn.
        assert known(each) == ((6, [6.0], 1_006) if each is store else (7, [7.0], 1_007))
    await publish(range(8, 9))
    await forget(ground, TopicPartition(topics.coefficients, 0), 7)
    await ground.produce(topics.coefficient_snapshots, [(key, wire.encode(snapshot(7, [7.0])))], 0)
    await follow_to_the_end(ground, store)
    assert known(store) == (8, [8.0], 1_008)


async def test_it_starts_from_all_snapshots_also_from_those_that_it_has_passed_before(
    ground: Ground, store: CoefficientStore
) -> None:
    topics = ground.settings.topics
    key, other = b"member:entity-1", b"member:other"
    deltas, snapshots = Place(topics.coefficients, 0), Place(topics.coefficient_snapshots, 0)
    await ground.produce(topics.coefficients, [(other, wire.encode(delta(0, 1, [1.0], entity_id="other")))], 0)
    await follow_to_the_end(ground, store)
    # It has read the snapshots of an entity that it did not hold yet, and the end of one that it did, when ...
    passed = [(key, wire.encode(snapshot(1, [1.0]))), (other, None)]
    await ground.produce(topics.coefficient_snapshots, [*passed], 0)
    store.apply([], {snapshots: Reach(0, 2)})
    # ... the deltas that say the same, which it did not read yet, were no longer retained.
    lost, left = [(key, wire.encode(delta(0, 1, [1.0]))), (other, None)], [(key, wire.encode(delta(1, 2, [1.0])))]
    await ground.produce(topics.coefficients, [*lost, *left], 0)
    await forget(ground, TopicPartition(*deltas), 3)
    follower = await follow_to_the_end(ground, store)
    assert known(store) == (2, [2.0], 1_002)
    assert known(store, "other") is None
    assert (store.metrics.gaps, follower.metrics.records) == (0, 3)
    assert {place: store.positions()[place] for place in (deltas, snapshots)} == {deltas: 4, snapshots: 2}


async def test_a_store_whose_partition_was_quiet_for_long_has_missed_nothing(
    ground: Ground, store: CoefficientStore
) -> None:
    topics = ground.settings.topics
    producer = AIOKafkaProducer(**ground.settings.kafka.options(), transactional_id=topics.coefficients)
    await producer.start()
    try:
        async with producer.transaction():
            change = delta(0, 1, [1.0])
            await producer.send(topics.coefficients, wire.encode(change), key_of(change), partition=0)
    finally:
        await producer.stop()
    await follow_to_the_end(ground, store)
    # The marker of the transaction stands behind the delta, and is passed as well.
    assert store.positions()[Place(topics.coefficients, 0)] == 2
    await forget(ground, TopicPartition(topics.coefficients, 0), 2)
    await ground.produce(topics.coefficient_snapshots, [(b"member:entity-1", None)], 0)
    await follow_to_the_end(ground, store)
    assert known(store) == (1, [1.0], 1_001)


def known(store: CoefficientStore, entity_id: str = ENTITY) -> tuple[int, list[float], int] | None:
    """Return version, vector and newest event time of an entity, by default the one that these tests are about."""
    found = store.get("member", entity_id)
    return None if found is None else (found.version, found.vector.tolist(), found.newest_at)


async def test_what_was_never_committed_is_no_change(ground: Ground, store: CoefficientStore) -> None:
    topics = ground.settings.topics
    producer = AIOKafkaProducer(**ground.settings.kafka.options(), transactional_id=topics.coefficients)
    await producer.start()
    try:
        for ending in (producer.abort_transaction, producer.commit_transaction):
            await producer.begin_transaction()
            for change in (delta(0, 1, [1.0]), delta(1, 2, [1.0])):
                await producer.send(topics.coefficients, wire.encode(change), key_of(change), partition=0)
            await producer.flush()
            await ending()
            follower = await follow_to_the_end(ground, store)
            expected = None if ending == producer.abort_transaction else (2, [2.0], 1_002)
            assert known(store) == expected
            assert follower.metrics.records == (0 if expected is None else 2)
    finally:
        await producer.stop()


async def forget(ground: Ground, place: TopicPartition, before: int) -> None:
    """Let a partition begin at an offset, as retention does."""
    admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
    await admin.start()
    try:
        await admin.delete_records({place: RecordsToDelete(before)})
    finally:
        await admin.close()


async def test_a_compacted_topic_says_the_same(learned: Learned, store: CoefficientStore) -> None:
    ground, name = learned.ground, learned.ground.settings.topics.coefficient_snapshots
    admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
    await admin.start()
    cleaner = {"log.cleaner.backoff.ms": "100"}
    topic = {"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0.001"}
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, NODE, configs=cleaner)])
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=topic)])
        before = await ground.read(name)
        snapshots = Counter(record.key for records in before.values() for record in records)
        assert max(snapshots.values()) > 1

        async def is_compacted(partition: int) -> bool:
            """Write once more, as only segments that are not written any more are compacted; then look."""
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await ground.produce(name, [(b"member:nobody", None)], partition)
            keys = Counter(record.key for record in (await ground.read(name))[partition])
            return max(keys[record.key] for record in before[partition]) == 1

        for partition in range(PARTITIONS):
            while not await is_compacted(partition):
                pass
    finally:
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, NODE, configs={})])
        await admin.close()
    await follow_to_the_end(ground, store)
    assert held(store) == learned.tables


async def test_snapshots_on_demand_bring_what_no_delta_says_any_more(learned: Learned, store: CoefficientStore) -> None:
    ground, topics = learned.ground, learned.ground.settings.topics
    for partition, end in (await ends_of(ground, topics.coefficients)).items():
        await forget(ground, TopicPartition(topics.coefficients, partition), end)
    await follow_to_the_end(ground, store)
    lacking = {key for key, known in learned.tables.items() if held(store).get(key) != known}
    assert 0 < len(lacking) < len(learned.tables)
    pipeline, one = build_pipeline(ground.settings), min(lacking)
    assert await publish_snapshots(ground.settings, pipeline, {entity_key(*one)}) == 1
    await follow_to_the_end(ground, store)
    assert held(store)[one] == learned.tables[one]
    assert await publish_snapshots(ground.settings, pipeline) == len(learned.tables)
    await follow_to_the_end(ground, store)
    assert held(store) == learned.tables


async def ends_of(ground: Ground, topic: str) -> dict[int, int]:
    """Return where the partitions of a topic end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=ground.settings.broker)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        return {place.partition: end for place, end in ends.items()}
    finally:
        await consumer.stop()


async def test_without_a_broker_it_tries_again_until_it_is_stopped() -> None:
    follower = Follower(CoefficientStore(), KafkaAccess((f"127.0.0.1:{free_port()}",)), TopicNames())
    running = asyncio.create_task(follower.run())
    await until(lambda: follower.metrics.interruptions > 0)
    assert not follower.is_ready
    assert follower.staleness is None
    follower.stop()
    await running


async def test_without_topics_it_says_so(broker: str) -> None:
    with pytest.raises(TopicMissingError, match="nowhere-coefficients"):
        await Follower(CoefficientStore(), KafkaAccess((broker,)), TopicNames.with_prefix("nowhere-")).run()


async def test_a_topic_that_was_made_anew_is_not_gone_on_with_where_the_old_one_was(
    ground: Ground, store: CoefficientStore
) -> None:
    topics, kafka = ground.settings.topics, ground.settings.kafka
    await ground.produce(topics.coefficients, [(b"member:entity-1", wire.encode(delta(0, 1, [1.0])))], 0)
    await follow_to_the_end(ground, store)
    await delete(kafka, [topics.coefficients])
    await apply(kafka, ground.settings.topic_prefix, PARTITIONS)
    for newest_at in (8_000, 9_000):
        other = wire.encode(delta(0, 1, [7.0], newest_at=newest_at))
        await ground.produce(topics.coefficients, [(b"member:entity-1", other)], 0)
    with pytest.raises(TopicReplacedError, match="made anew"):
        await Follower(store, kafka, topics).run()
    assert known(store) == (1, [1.0], 1_001)


async def test_a_store_that_is_beyond_the_end_followed_another_topic(learned: Learned, broker: str) -> None:
    class Elsewhere(MemoryBackend):
        def positions(self) -> dict[Place, int]:
            return {Place(learned.ground.settings.topics.coefficients, 2): 10**9}

    with pytest.raises(TopicReplacedError, match="another topic"):
        await Follower(CoefficientStore(Elsewhere()), KafkaAccess((broker,)), learned.ground.settings.topics).run()
