"""A chunk on its way through a learning stage: what it has read of the table, and what it changes there.

What a chunk needs is read at once, stepped in rounds, written once and published once an entity. How the log is cut
into chunks changes nothing: neither coefficients nor versions, to the last bit.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Generic

import numpy as np
from msgspec import Struct

from stream_qa.coefficients import Publisher
from stream_qa.labels.event_time import NOT_BEGUN, pack_moment
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Booleans, Floats, Integers, distinct
from stream_qa.learning.entity import (
    DIMENSION,
    LAYOUT,
    clock_key,
    contribution_key,
    contribution_range,
    contribution_type,
    entity_key,
    entity_of,
    entity_type,
    is_contribution,
    pack_layout,
    pack_many,
    unpack_many,
)
from stream_qa.learning.guard import GUARD, GuardPolicy
from stream_qa.learning.plan import Batch
from stream_qa.learning.rescaling import rescale
from stream_qa.learning.rounds import learn
from stream_qa.learning.whitening import WHITENINGS, Whitening, Whitenings
from stream_qa.stages.expiry import SWEEP, Expiry
from stream_qa.stages.guarded_publishing import GuardedPublishing
from stream_qa.stages.learn_parts import day_of, parts_of, read_clocks
from stream_qa.stages.learner_input import L, LearnerInput, Read
from stream_qa.stages.models import Models
from stream_qa.stages.overlay import Overlay
from stream_qa.stages.share import Share
from stream_qa.stages.state import StateReader
from stream_qa.stages.upkeep import upkeep
from stream_qa.stages.warm_start import AT_A_TIME, STARTED, start_some


class Step(Struct, Generic[L], frozen=True, gc=False):
    """One label that was news to its entity."""

    label: L
    log_odds: float
    """The effect's part of the score, without what this application itself has added."""
    version: int
    """The entity's version before this label."""
    learned: bool
    """Whether it changed the entity: not where it says what the revision before said."""


class LearnChunk(Generic[L]):
    """Learns the labels of one chunk.

    Parameters
    ----------
    models, source, publisher, retention, warm_start, expiry, guard
        Those of the stage.
    state
        The learner's table of the partition.
    share
        What this partition is of all.

    Raises
    ------
    StateFormatError
        The table was written in another format, or for another number of features.
    RuleMismatchError
        The table was learned by another rule.
    """

    def __init__(
        self,
        models: Models,
        source: LearnerInput[L],
        publisher: Publisher,
        state: StateReader,
        *,
        retention: int,
        warm_start: bool,
        expiry: Expiry,
        guard: GuardPolicy | None,
        share: Share,
    ) -> None:
        self.changes: dict[bytes, bytes | None] = {}
        """Of the table; whole after :meth:`process`."""
        self.steps: list[Step[L]] = []
        self.delta_times: list[Integers] = []
        """Event time (ms) of the newest label that went into each delta, shape ``(n,)`` for each part of the chunk."""
        self.unfinished = False
        """Whether more is to be done than was."""
        self._layout, self._of_format_1, self._scales, standing = state.get_many([LAYOUT, DIMENSION, WHITENINGS, GUARD])
        self.publishing = GuardedPublishing(publisher, guard, standing, state, self.changes)
        """What servers are told."""
        self._effect = source.effect(models.first)
        self.dimension = self._effect.dimension(self._layout, self._of_format_1)
        """How many coefficients the table's entities have; ``None`` leaves it to the first label."""
        self._reached = read_clocks(state)
        """The event time (ms) that each origin has reached."""
        self._models = models
        self._source = source
        self._state = state
        self._retention = retention
        self._warm_start = warm_start
        self._expiry = expiry
        self._share = share

    def process(self, read: Read[L]) -> None:
        """Learn what was read of the chunk, in order, and do what is due besides.

        Raises
        ------
        StateFormatError
            A record was written in another format, or for another number of features.
        ModelChangedError
            The table began with another prior.
        ModelMissingError
            A label names a model that is not here.
        """
        labels, dimension = read.labels, read.dimension
        if dimension is None:
            return
        if labels or self._warm_start or self._of_format_1 is not None:
            self._save_layout(dimension)
        known = whitenings = self._effect.whitenings(self._scales, dimension)
        features = np.array(read.vectors, np.float64)
        clocks, origins = dict(self._reached), self._share.partitions
        for start, end, today in parts_of(labels, whitenings.newest.model_number, clocks, origins):
            if labels[start].model_number > whitenings.newest.model_number:
                self._start(whitenings, today, most=None)
                whitenings = self._followed(whitenings, labels[start])
            self._learn(labels[start:end], features[start:end], whitenings, today)
        today = day_of(clocks, origins)
        is_starting = self._start(whitenings, today, most=AT_A_TIME)
        with upkeep("a sweep for entities that are over"):
            is_sweeping = self._sweep(dimension, today)
        if (labels or self._warm_start) and (self._scales is None or whitenings is not known):
            self.changes[WHITENINGS] = whitenings.pack()
        self.publishing.save()
        with upkeep("entities that are published again"):
            is_releasing = self.publishing.release_some(self._effect.rule, whitenings)
        self.unfinished = is_starting or is_sweeping or is_releasing

    def _save_layout(self, dimension: int) -> None:
        """Write the table's layout where it is of an older format, or not written yet."""
        if self._of_format_1 is not None:
            self.changes[DIMENSION] = None
        if self._layout != (present := pack_layout(self._effect.rule, dimension)):
            self.changes[LAYOUT] = present

    def _followed(self, whitenings: Whitenings, label: L) -> Whitenings:
        """Return ``whitenings`` with that of the model which ``label`` names."""
        effect = self._source.effect(self._models.get(label.model_version))
        scale = effect.prior.scale(len(whitenings.newest.scale))
        return whitenings.followed_by(Whitening(label.model_number, label.model_version, scale))

    def _newest_effect(self, whitenings: Whitenings) -> RandomEffect:
        """Return how the entities learn by the newest model."""
        number, version, _ = whitenings.newest
        return self._source.effect(self._models.get(version)) if number else self._effect

    def _table(self) -> StateReader:
        """Return the table as it is with what the chunk has changed until now."""
        return Overlay(self._state, self.changes) if self.changes else self._state

    def _learn(self, labels: Sequence[L], features: Floats, whitenings: Whitenings, today: int) -> None:
        """Step the entities through the labels, with their features ``(n, k)``, that are news to them.

        All by the newest model of ``whitenings``, and on one day of event time (ms).
        """
        entity_ids, entity_of_row = distinct([self._source.entity_id(label) for label in labels])
        applications, application_of_row = distinct(
            [contribution_key(label.origin, label.applied_at, label.application_id) for label in labels]
        )
        entity_keys = [entity_key(entity_id) for entity_id in entity_ids]
        table = self._table()
        stored = table.get_many([*entity_keys, *applications])
        rule, dimension = self._effect.rule, 1 + features.shape[1]
        before = unpack_many(entity_type(rule, dimension), stored[: len(entity_keys)])
        contributions = unpack_many(contribution_type(rule, dimension), stored[len(entity_keys) :])

        if (over := self._expiry.over(before, today)).any():
            self._drop([entity_keys[place] for place in np.flatnonzero(over)])
            before[over] = unpack_many(entity_type(rule, dimension), [None])
        clocks = dict(self._reached)
        news = self._news(labels, application_of_row, contributions["revision"].tolist(), clocks)
        fresh, rows = [labels[row] for row in news], np.array(news, np.int64)
        after = before.copy()
        rescale(rule, after, contributions, whitenings)
        if self._warm_start and (fitted := self._newest_effect(whitenings).start) is not None:
            fitted.start(after, entity_ids, rule, whitenings.newest, self._expiry.since(today))
        whitened = self._effect.whiten(features[rows], whitenings.newest.scale)
        batch = self._source.batch(fresh, whitened, entity_of_row[rows], application_of_row[rows])
        newest_at = after["newest_at"].copy()
        seen = learn(rule, after, contributions, batch)

        self.publishing.standing.take_up(whitenings.newest.model_number)
        shown = self.publishing.judge(fresh, batch, seen, entities=after, newest_at=newest_at)
        (moved,) = (after["version"] != before["version"]).nonzero()
        places, now = moved.tolist(), after[moved]
        published = self.publishing.publish_shown(
            [entity_ids[place] for place in places], before[moved], now, shown[moved], whitenings
        )
        if published.size:
            self.delta_times.append(_newest(len(entity_ids), batch, seen.learned)[moved[published]])
        self.changes.update(zip([entity_keys[place] for place in places], pack_many(now), strict=True))
        (touched,) = np.bincount(batch.application).nonzero()
        touched_keys = [applications[place] for place in touched.tolist()]
        self.changes.update(zip(touched_keys, pack_many(contributions[touched]), strict=True))
        with upkeep("what no revision can reach any more"):
            self._forget(clocks, table)
        columns = (array.tolist() for array in (seen.log_odds, seen.version, seen.learned))
        self.steps += [Step(*fields) for fields in zip(fresh, *columns, strict=True)]

    def _news(
        self, labels: Sequence[L], application_of_row: Integers, revisions: list[int], clocks: dict[int, int]
    ) -> list[int]:
        """Return the rows that say something new, in order, moving each origin's clock along.

        A revision at or below the known one was delivered before, and so was one whose contribution is forgotten.
        """
        rows = []
        for row, (label, application) in enumerate(zip(labels, application_of_row.tolist(), strict=True)):
            clock = clocks[label.origin] = max(clocks.get(label.origin, NOT_BEGUN), label.watermark)
            if label.revision > revisions[application] and clock < label.applied_at + self._retention:
                revisions[application] = label.revision
                rows.append(row)
        return rows

    def _forget(self, clocks: dict[int, int], table: StateReader) -> None:
        """Move on to ``clocks``, and drop what applications have added that no revision can reach any more by them."""
        changed = sorted(filter(is_contribution, self.changes))
        for origin, clock in clocks.items():
            before = self._reached.get(origin, NOT_BEGUN)
            if clock == before:
                continue
            self.changes[clock_key(origin)] = pack_moment(clock)
            start, end = contribution_range(origin, before - self._retention, clock - self._retention)
            if start == end:
                continue
            over = [key for key, _ in table.scan(start, end)]
            over += changed[bisect_left(changed, start) : bisect_left(changed, end)]
            self.changes.update(dict.fromkeys(over))
        self._reached = clocks

    def _start(self, whitenings: Whitenings, today: int, most: int | None) -> bool:
        """Let entities start that the newest model knows; return whether some are left."""
        if not self._warm_start:
            return False
        with upkeep("entities that start from a bundle"):
            effect, since = self._newest_effect(whitenings), self._expiry.since(today)
            started = start_some(effect, whitenings, self._table(), share=self._share, most=most, since=since)
            if started is None:
                return False
            entity_ids, before, after = started.entity_ids, started.before, started.after
            shown = np.full(len(entity_ids), self.publishing.shows)
            self.publishing.publish_shown(entity_ids, before, after, shown, whitenings)
            self.changes.update(zip(map(entity_key, entity_ids), pack_many(after), strict=True))
            self.changes[STARTED] = started.record
            return started.are_left

    def _sweep(self, dimension: int, today: int) -> bool:
        """Drop the next entities that are over; return whether a sweep is on."""
        kind = entity_type(self._effect.rule, dimension)
        swept = self._expiry.sweep(kind, self._state, self.changes, today)
        if swept is None:
            return False
        self._drop(swept.keys)
        self.changes[SWEEP] = swept.record
        return swept.is_on

    def _drop(self, keys: Sequence[bytes]) -> None:
        """Keep nothing of the entities under ``keys``, and tell servers."""
        self.changes.update(dict.fromkeys(keys))
        self.publishing.withdraw([entity_id for key in keys if (entity_id := entity_of(key)) is not None])


def _newest(count: int, batch: Batch, learned: Booleans) -> Integers:
    """Return when the newest label of those that were ``learned`` happened (ms), of each of ``count`` entities."""
    newest = np.zeros(count, np.int64)
    np.maximum.at(newest, batch.entity[learned], batch.happened_at[learned])
    return newest
