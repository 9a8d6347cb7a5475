"""The pipeline written by hand on aiokafka, as fast as we could make it without any guarantee.

Choices: whole fetches at once; msgspec decodes and encodes, what goes between the stages is MessagePack with packed
vectors; coefficients are rows of one array, stepped for many entities at once; one delta an entity and fetch; whole
batches are handed to the producer; offsets are committed automatically every 5 s, all state is lost with the process.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.partitioner import murmur2
from numpy.typing import NDArray

PREFIX = os.environ["PEERS_PREFIX"]
BROKER = os.environ["PEERS_BROKER"]
PARTITIONS = int(os.environ["PEERS_PARTITIONS"])
VALUES = {"message": 1, "rejection": 0}
LEARNING_RATE, EPSILON, PRIOR_PULL, BOUND = 0.5, 1.0, 0.01, 20.0
FETCH_BYTES = 1 << 20
BATCH_BYTES = 1 << 18

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Application(msgspec.Struct, gc=False):
    """By the public schema."""

    application_id: str
    member_id: str
    job_id: str
    applied_at: int
    member_features: list[float]
    job_features: list[float]
    global_log_odds: float


class Engagement(msgspec.Struct, gc=False):
    """By the public schema."""

    application_id: str
    job_id: str
    kind: str
    engaged_at: int


class Label(msgspec.Struct, array_like=True, gc=False):
    """A revision of a label."""

    application_id: str
    member_id: str
    job_id: str
    value: int
    """-1 where nothing is known yet."""
    happened_at: int
    applied_at: int
    member_features: bytes
    """float64, the machine's."""
    job_features: bytes
    global_log_odds: float
    job_log_odds: float
    job_version: int


class Example(msgspec.Struct, array_like=True, gc=False):
    """What a job learns from."""

    application_id: str
    job_id: str
    value: int
    happened_at: int
    member_features: bytes
    offset: float


class Score(msgspec.Struct, gc=False):
    """By the public schema."""

    application_id: str
    member_id: str
    job_id: str
    applied_at: int
    global_log_odds: float
    member_log_odds: float
    job_log_odds: float
    log_odds: float
    probability: float
    model_version: str
    member_version: int
    job_version: int


class Delta(msgspec.Struct, gc=False):
    """By the public schema: bytes are base64 in JSON."""

    entity_kind: str
    entity_id: str
    base_version: int
    version: int
    change: bytes
    model_version: str
    labels: int
    newest_at: int


_decode_application = msgspec.json.Decoder(Application).decode
_decode_engagement = msgspec.json.Decoder(Engagement).decode
_decode_label = msgspec.msgpack.Decoder(Label).decode
_decode_example = msgspec.msgpack.Decoder(Example).decode
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


@lru_cache(maxsize=1 << 17)
def _partition_of(key: bytes) -> int:
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS


class Batches:
    """What is to be sent, as batches that need no more work in the producer."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}

    def add(self, topic: str, key: bytes, value: bytes) -> None:
        """Add a record."""
        self._open.setdefault((topic, _partition_of(key)), []).append((key, value))

    async def send(self) -> None:
        """Hand all of it to the producer."""
        for (topic, partition), records in self._open.items():
            batch = self._producer.create_batch()
            for key, value in records:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    await self._producer.send_batch(batch, f"{PREFIX}{topic}", partition=partition)
                    batch = self._producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            await self._producer.send_batch(batch, f"{PREFIX}{topic}", partition=partition)
        self._open.clear()


class Entities:
    """The coefficients of all members, or of all jobs, as rows."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        self._versions = np.zeros(0, np.int64)
        self._newest = np.zeros(0, np.int64)
        self._coefficients = np.zeros((0, 0))
        self._squares = np.zeros((0, 0))

    def rows(self, entity_ids: Sequence[str], dimension: int) -> Integers:
        """Return the row of each, new ones of zeros where it is new."""
        known = self._rows
        for entity_id in entity_ids:
            if entity_id not in known:
                known[entity_id] = len(known)
                self._ids.append(entity_id)
        if len(known) > len(self._versions):
            more = max(len(known), 2 * len(self._versions)) - len(self._versions)
            self._versions, self._newest = (np.pad(old, (0, more)) for old in (self._versions, self._newest))
            self._coefficients, self._squares = (
                np.concatenate([old.reshape(-1, dimension), np.zeros((more, dimension))])
                for old in (self._coefficients, self._squares)
            )
        return np.array([known[entity_id] for entity_id in entity_ids], np.int64)

    def log_odds(self, rows: Integers, inputs: Floats) -> tuple[Floats, Integers]:
        """Return the entities' parts of scores, and their versions, as they are."""
        return np.einsum("ij,ij->i", self._coefficients[rows], inputs), self._versions[rows]

    def learn(  # noqa: PLR0917 # columns of one table
        self, rows: Integers, inputs: Floats, offset: Floats, value: Integers, happened_at: Integers, batches: Batches
    ) -> tuple[Floats, Integers]:
        """Step through labels in their order, those without a value only look; send the deltas.

        Returns the entities' parts of the scores, and their versions, before each.
        """
        learns = value >= 0
        parts, versions = np.empty(len(rows)), self._versions[rows]
        moved = np.unique(rows[learns])
        base, base_versions = self._coefficients[moved], self._versions[moved]
        rounds = _rounds(rows, learns)
        versions += rounds
        order = np.argsort(rounds, kind="stable")
        for group in np.split(order, np.cumsum(np.bincount(rounds))[:-1]):
            parts[group] = np.einsum("ij,ij->i", self._coefficients[rows[group]], inputs[group])
            stepping = group[learns[group]]
            entity = rows[stepping]
            chance = 0.5 + 0.5 * np.tanh(0.5 * (parts[stepping] + offset[stepping]))
            gradients = (chance - value[stepping])[:, np.newaxis] * inputs[stepping]
            squares = self._squares[entity] + gradients * gradients
            old = self._coefficients[entity]
            new = old - LEARNING_RATE * (gradients + PRIOR_PULL * old) / np.sqrt(EPSILON + squares)
            self._coefficients[entity] = np.clip(new, -BOUND, BOUND)
            self._squares[entity] = squares
        np.add.at(self._versions, rows[learns], 1)
        np.maximum.at(self._newest, rows[learns], happened_at[learns])
        self._send(moved, base, base_versions, batches)
        return parts, versions

    def _send(self, moved: Integers, base: Floats, base_versions: Integers, batches: Batches) -> None:
        changes = self._coefficients[moved] - base
        columns = base_versions.tolist(), self._versions[moved].tolist(), self._newest[moved].tolist()
        for row, change, base_version, version, newest_at in zip(moved.tolist(), changes, *columns, strict=True):
            entity_id = self._ids[row]
            delta = Delta(self._kind, entity_id, base_version, version, change.tobytes(), "none", version, newest_at)
            batches.add("coefficients", f"{self._kind}:{entity_id}".encode(), _json(delta))


def _rounds(rows: Integers, learns: NDArray[np.bool_]) -> Integers:
    """Return for each label how many of its entity's labels before it are learned from."""
    order = np.argsort(rows, kind="stable")
    before: Integers = np.cumsum(learns[order]) - learns[order]
    first = np.flatnonzero(np.diff(rows[order], prepend=-1))
    sizes = np.diff(np.append(first, len(rows)))
    rounds = np.empty(len(rows), np.int64)
    rounds[order] = before - np.repeat(before[first], sizes)
    return rounds


def _inputs(packed: Sequence[bytes]) -> Floats:
    """Return features with a leading 1, shape ``(n, d)``."""
    features = np.frombuffer(b"".join(packed)).reshape(len(packed), -1)
    return np.concatenate([np.ones((len(packed), 1)), features], axis=1)


class Pipeline:
    """All stages and what they know."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._applications: dict[str, tuple[Application, bytes, bytes]] = {}
        self._early: dict[str, Engagement] = {}
        self._labelled: set[str] = set()
        self._members = Entities("member")
        self._jobs = Entities("job")
        self.stages: dict[str, Callable[[Sequence[bytes]], None]] = {
            f"{PREFIX}applications": self._apply,
            f"{PREFIX}engagements": self._engage,
            f"{PREFIX}labels": self._learn_members,
            f"{PREFIX}examples": self._learn_jobs,
        }

    def _apply(self, values: Sequence[bytes]) -> None:
        new = {}
        for application in map(_decode_application, values):
            if application.application_id not in self._applications:
                new[application.application_id] = application
        if not new:
            return
        packed_members, packed_jobs = (
            np.array(vectors)
            for vectors in zip(*((a.member_features, a.job_features) for a in new.values()), strict=True)
        )
        known = [
            (application, x_m.tobytes(), x_j.tobytes())
            for application, x_m, x_j in zip(new.values(), packed_members, packed_jobs, strict=True)
        ]
        self._applications.update(zip(new, known, strict=True))
        self._send_labels([(*one, -1, one[0].applied_at) for one in known])
        early = [self._early.pop(application_id) for application_id in new if application_id in self._early]
        self._label(early)

    def _engage(self, values: Sequence[bytes]) -> None:
        self._label([engagement for engagement in map(_decode_engagement, values) if engagement.kind in VALUES])

    def _label(self, engagements: Sequence[Engagement]) -> None:
        labels = []
        for engagement in engagements:
            application_id = engagement.application_id
            known = self._applications.get(application_id)
            if known is None:
                self._early.setdefault(application_id, engagement)
            elif application_id not in self._labelled:
                self._labelled.add(application_id)
                labels.append((*known, VALUES[engagement.kind], engagement.engaged_at))
        self._send_labels(labels)

    def _send_labels(self, labels: Sequence[tuple[Application, bytes, bytes, int, int]]) -> None:
        if not labels:
            return
        inputs = _inputs([member_features for _, member_features, _, _, _ in labels])
        rows = self._jobs.rows([application.job_id for application, *_ in labels], inputs.shape[1])
        parts, versions = (array.tolist() for array in self._jobs.log_odds(rows, inputs))
        for (application, x_m, x_j, value, happened_at), part, version in zip(labels, parts, versions, strict=True):
            label = Label(
                application.application_id,
                application.member_id,
                application.job_id,
                value,
                happened_at,
                application.applied_at,
                x_m,
                x_j,
                application.global_log_odds,
                part,
                version,
            )
            self._batches.add("labels", label.member_id.encode(), _pack(label))

    def _learn_members(self, values: Sequence[bytes]) -> None:
        labels = list(map(_decode_label, values))
        inputs = _inputs([label.job_features for label in labels])
        rows = self._members.rows([label.member_id for label in labels], inputs.shape[1])
        offset = np.array([label.global_log_odds + label.job_log_odds for label in labels])
        value = np.array([label.value for label in labels], np.int64)
        happened_at = np.array([label.happened_at for label in labels], np.int64)
        parts, versions = self._members.learn(rows, inputs, offset, value, happened_at, self._batches)
        totals = parts + offset
        chances = 0.5 + 0.5 * np.tanh(0.5 * totals)
        columns = parts.tolist(), totals.tolist(), chances.tolist(), versions.tolist()
        for label, part, total, chance, version in zip(labels, *columns, strict=True):
            key = label.job_id.encode()
            if label.value >= 0:
                example = Example(
                    label.application_id,
                    label.job_id,
                    label.value,
                    label.happened_at,
                    label.member_features,
                    label.global_log_odds + part,
                )
                self._batches.add("examples", key, _pack(example))
                continue
            score = Score(
                label.application_id,
                label.member_id,
                label.job_id,
                label.applied_at,
                label.global_log_odds,
                part,
                label.job_log_odds,
                total,
                chance,
                "none",
                version,
                label.job_version,
            )
            self._batches.add("scores", key, _json(score))

    def _learn_jobs(self, values: Sequence[bytes]) -> None:
        examples = list(map(_decode_example, values))
        inputs = _inputs([example.member_features for example in examples])
        rows = self._jobs.rows([example.job_id for example in examples], inputs.shape[1])
        offset = np.array([example.offset for example in examples])
        value = np.array([example.value for example in examples], np.int64)
        happened_at = np.array([example.happened_at for example in examples], np.int64)
        self._jobs.learn(rows, inputs, offset, value, happened_at, self._batches)


async def main() -> None:
    """Run until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    async with AIOKafkaProducer(bootstrap_servers=BROKER, max_batch_size=BATCH_BYTES) as producer:
        batches = Batches(producer)
        pipeline = Pipeline(batches)
        async with AIOKafkaConsumer(
            *pipeline.stages,
            bootstrap_servers=BROKER,
            group_id=f"{PREFIX}group",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        ) as consumer:
            while not stop.is_set():
                fetched: dict[str, list[ConsumerRecord]] = {}
                for part, records in (await consumer.getmany(timeout_ms=100)).items():
                    fetched.setdefault(part.topic, []).extend(records)
                for topic, records in fetched.items():
                    pipeline.stages[topic]([record.value for record in records])
                    await batches.send()


if __name__ == "__main__":
    uvloop.run(main())
