"""What a server holds: the newest coefficients of every entity, by the protocol of deltas and snapshots."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stream_qa.coefficients.backend import Backend, MemoryBackend, Place, Reach, Swap
from stream_qa.coefficients.messages import Change, entity_key, entity_of, key_of
from stream_qa.coefficients.protocol import Coefficients, Verdict, follow
from stream_qa.coefficients.record import dimension_of, head, pack, unpack, unpack_many
from stream_qa.events import EntityKind
from stream_qa.learning.arrays import Floats, Integers


class Cache(Protocol):
    """Remembers records for a while; used by several threads at once."""

    def known(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """Return what is remembered of ``keys``: records, and ``None`` for those that had none."""

    def keep(self, records: Mapping[bytes, bytes | None]) -> None:
        """Remember records that were just read."""

    def forget(self, keys: Collection[bytes]) -> None:
        """Forget what has changed."""


class LookedUp(NamedTuple):
    """What is held of ``n`` entities of one side, in the order in which they were asked for."""

    vectors: Floats
    """Shape ``(n, d)``, float64: the intercept first, to be multiplied with standardised features. Zeros for none held.
    """
    versions: Integers
    """Shape ``(n,)``; 0 where none are held: then the global model decides."""
    labels: Integers
    """Shape ``(n,)``: applications behind the version."""
    newest: Integers
    """Shape ``(n,)``: event time of the newest label behind it (ms)."""
    model_versions: list[str]
    """Empty where none are held."""


@dataclass
class StoreMetrics:
    """What a store has done since it was made."""

    changes: Counter[Verdict] = field(default_factory=Counter)
    """What became of changes; those by ``Verdict.GAP`` could not be used as one before them was missing."""
    looked_up: int = 0
    """Entities that were asked for."""
    found: int = 0
    """Those of them that were held."""
    cached: int = 0
    """Those of them that the cache knew, as held or as not held."""
    newest_at: int = 0
    """Event time of the newest label of which a change was applied (ms); 0 before any was."""

    @property
    def gaps(self) -> int:
        """Deltas that could not be applied because one before them was missing."""
        return self.changes[Verdict.GAP]

    @property
    def hit_rate(self) -> float:
        """The share of entities asked for that the cache knew; 0 before any was."""
        return self.cached / self.looked_up if self.looked_up else 0.0


class CoefficientStore:
    """Follows the coefficient topics, and looks entities up.

    Parameters
    ----------
    backend
        Where the coefficients are kept; by default in this process.
    cache
        Keeps what was looked up, for a backend that is far away. What this store changes itself, it forgets.
    """

    def __init__(self, backend: Backend | None = None, cache: Cache | None = None) -> None:
        self._backend = MemoryBackend() if backend is None else backend
        self._cache = cache
        self.metrics = StoreMetrics()

    def apply(self, changes: Sequence[Change], positions: Mapping[Place, Reach] | None = None) -> None:
        """Take in changes, in the order in which their topics have them, in one step.

        Others may do the same with the same backend, and repeat what was done: no version is applied twice. What was
        read before another one got further is not taken: a tombstone among it would end what has come since, and a
        delta begin again what has ended.

        Parameters
        ----------
        changes
            Of any entities.
        positions
            From where, and how far, the partitions that they were read from are followed with them: kept in the same
            step.

        Raises
        ------
        StateError, StoreUnavailableError
            The backend cannot be read or written. The same changes may be given again.
        StoreBehindError
            The backend is behind one of ``positions``, as one that was restored from a copy. Go on from where it is.
        StoreAheadError
            Another follower has brought the backend beyond one of ``positions``. Go on from where it is.
        """
        remaining: dict[bytes, list[Change]] = {}
        for change in changes:
            remaining.setdefault(key_of(change), []).append(change)
        while True:
            swaps: dict[bytes, Swap] = {}
            verdicts: dict[bytes, Counter[Verdict]] = {}
            newest: dict[bytes, int] = {}
            for key, record in zip(remaining, self._backend.get_many(list(remaining)), strict=True):
                before = after = None if record is None else unpack(record)
                verdicts[key] = Counter()
                for change in remaining[key]:
                    after, verdict = follow(after, change)
                    verdicts[key][verdict] += 1
                if after is not before:
                    swaps[key] = Swap(head(record), None if after is None else pack(after))
                    newest[key] = 0 if after is None else after.newest_at
            refused = self._backend.swap(swaps, positions or {})
            self._forget(swaps)
            for key in verdicts.keys() - refused:
                self.metrics.changes.update(verdicts[key])
                self.metrics.newest_at = max(self.metrics.newest_at, newest.get(key, 0))
            if not refused:
                return
            # Another follower was faster with these: what it left decides what there is still to do.
            remaining = {key: remaining[key] for key in refused}

    def look_up(self, side: EntityKind, entity_ids: Sequence[str], dimension: int | None = None) -> LookedUp:
        """Return what is held of many entities, in one query.

        Parameters
        ----------
        side
            ``"member"`` or ``"job"``.
        entity_ids
            ``n`` of them; repeats are allowed.
        dimension
            How many coefficients each has. Entities with another number count as not held. By default that of the first
            that is held, or 0.

        Raises
        ------
        StateError, StoreUnavailableError
            The backend cannot be read: score by the global model alone.
        """
        return self.look_up_both({side: entity_ids}, {} if dimension is None else {side: dimension})[side]

    def look_up_both(
        self, entity_ids: Mapping[EntityKind, Sequence[str]], dimensions: Mapping[EntityKind, int] | None = None
    ) -> dict[EntityKind, LookedUp]:
        """Return what is held of entities of both sides, in one query: as ``look_up``, by side.

        Raises
        ------
        StateError, StoreUnavailableError
            The backend cannot be read: score by the global model alone.
        """
        keys = [entity_key(side, entity_id) for side, ids in entity_ids.items() for entity_id in ids]
        records = iter(self._records(keys))
        found = {}
        for side, ids in entity_ids.items():
            of_side = [next(records) for _ in ids]
            dimension = (dimensions or {}).get(side)
            if dimension is None:
                dimension = next((dimension_of(record) for record in of_side if record is not None), 0)
            found[side] = LookedUp(*unpack_many(of_side, dimension))
            self.metrics.looked_up += len(of_side)
            self.metrics.found += int((found[side].versions > 0).sum())
        return found

    def get(self, side: EntityKind, entity_id: str) -> Coefficients | None:
        """Return an entity's coefficients; ``None`` for one that has not learned yet: the global model decides."""
        (record,) = self._backend.get_many([entity_key(side, entity_id)])
        return None if record is None else unpack(record)

    def entities(self) -> Iterator[tuple[EntityKind, str, Coefficients]]:
        """Yield all that is held: side, id and coefficients, in no order that matters."""
        for key, record in self._backend.scan():
            yield *entity_of(key), unpack(record)

    def positions(self) -> dict[Place, int]:
        """Return the next offset of each partition that was followed: what is before it is applied."""
        return self._backend.positions()

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        """Return the id of the topic that is followed under a name: the first one that was given for it.

        Raises
        ------
        StateError, StoreUnavailableError
            The backend cannot be read or written.
        """
        return self._backend.followed(topic, topic_id)

    def close(self) -> None:
        """Let go of the backend."""
        self._backend.close()

    def _records(self, keys: list[bytes]) -> list[bytes | None]:
        cache = self._cache
        if cache is None:
            return self._backend.get_many(keys)
        records = cache.known(keys)
        self.metrics.cached += sum(key in records for key in keys)
        missing = list(dict.fromkeys(key for key in keys if key not in records))
        if missing:
            fetched = dict(zip(missing, self._backend.get_many(missing), strict=True))
            records.update(fetched)
            cache.keep(fetched)
        return [records[key] for key in keys]

    def _forget(self, swaps: Mapping[bytes, Swap]) -> None:
        if self._cache is not None:
            self._cache.forget(swaps.keys())
