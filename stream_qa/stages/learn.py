"""The learning stages: labels in, coefficients out; one piece of code, set up for members and for jobs.

What a chunk needs is read at once, stepped in rounds, written once and published once an entity. How the log is cut
into chunks changes nothing: neither coefficients nor versions, to the last bit.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from msgspec import Struct

from stream_qa.coefficients import Publisher
from stream_qa.errors import StateFormatError
from stream_qa.events import Message, SourceRecord, dead_letter
from stream_qa.labels.event_time import NOT_BEGUN, pack_moment
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Booleans, Floats, Integers, distinct
from stream_qa.learning.entity import (
    DIMENSION,
    LAYOUT,
    Records,
    clock_key,
    contribution_key,
    contribution_range,
    contribution_type,
    entity_key,
    entity_type,
    is_contribution,
    pack_layout,
    pack_many,
    unpack_layout,
    unpack_many,
)
from stream_qa.learning.entity_guard import EntityLabels, judge_entities
from stream_qa.learning.guard import GUARD, GuardPolicy, Scored, Standing, notices, sums_of, surprise_of, worse_by
from stream_qa.learning.plan import Batch
from stream_qa.learning.rescaling import rescale
from stream_qa.learning.rounds import Seen, learn
from stream_qa.learning.whitening import WHITENINGS, Whitening, Whitenings
from stream_qa.stages.expiry import NEVER, Expiry
from stream_qa.stages.holding import Holding, told
from stream_qa.stages.learn_parts import day_of, parts_of, read_clocks
from stream_qa.stages.learner_input import L, LearnerInput, Read
from stream_qa.stages.models import Models
from stream_qa.stages.overlay import Overlay
from stream_qa.stages.share import ALL, Share
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.stages.upkeep import upkeep
from stream_qa.stages.warm_start import AT_A_TIME, start_some


class Step(Struct, Generic[L], frozen=True, gc=False):
    """One label that was news to its entity."""

    label: L
    log_odds: float
    """The effect's part of the score, without what this application itself has added."""
    version: int
    """The entity's version before this label."""
    learned: bool
    """Whether it changed the entity: not where it says what the revision before said."""


@dataclass(frozen=True)
class LearnStage(Generic[L]):
    """Learns the coefficients of one kind of entity.

    Parameters
    ----------
    name
        Names the stage in dead letters.
    models
        What entities can learn by.
    source
        What the stage reads of a label.
    publisher
        What servers get.
    forward
        What the next stage gets for the steps of a partition.
    dead_letters
        The topic for what cannot be used.
    retention
        Milliseconds from an application to the end of its revisions; what it added is remembered so long.
    warm_start
        Whether entities start from what the models' training knew of them.
    expiry
        When entities are over.
    guard
        When publishing stops; ``None`` for never.
    """

    name: str
    models: Models
    source: LearnerInput[L]
    publisher: Publisher
    forward: Callable[[int, Sequence[Step[L]]], list[Message]]
    dead_letters: str
    retention: int
    warm_start: bool = False
    expiry: Expiry = NEVER
    guard: GuardPolicy | None = None

    def process(
        self, partition: int, records: Sequence[SourceRecord], state: StateReader, share: Share = ALL
    ) -> Outcome:
        """Return what a chunk of one partition, in log order, changes and sends.

        Parameters
        ----------
        partition
            The partition of the source.
        records
            Its records.
        state
            The learner's table of the partition.
        share
            What this partition is of all.

        Raises
        ------
        StateFormatError
            The table was written in another format, or for another number of features.
        ModelChangedError
            The table began with another prior.
        ModelMissingError
            A label names a model that is not here.
        """
        outcome = Outcome({}, [])
        layout, of_format_1, scales, judged = state.get_many([LAYOUT, DIMENSION, WHITENINGS, GUARD])
        labels, vectors, _, dimension = self._read(records, layout, of_format_1, outcome)
        if dimension is None:
            return outcome
        known = whitenings = self.effect.whitenings(scales, dimension)
        standing = Standing.unpack(judged)
        features = np.array(vectors, np.float64)
        steps: list[Step[L]] = []
        held_back: list[tuple[str, str]] = []
        delta_times: list[Integers] = []
        reached = read_clocks(state)
        clocks = dict(reached)
        for start, end, today in parts_of(labels, whitenings.newest.model_number, clocks, share.partitions):
            if labels[start].model_number > whitenings.newest.model_number:
                self._start(
                    whitenings, today, state, outcome, standing=standing, held_back=held_back, share=share, most=None
                )
                whitenings = self._followed(whitenings, labels[start])
            steps += self._learn(
                labels[start:end],
                features[start:end],
                whitenings,
                today=today,
                state=Overlay(state, outcome.changes) if outcome.changes else state,
                outcome=outcome,
                standing=standing,
                reached=reached,
                held_back=held_back,
                delta_times=delta_times,
            )
        today = day_of(clocks, share.partitions)
        unfinished = self._start(
            whitenings, today, state, outcome, standing=standing, held_back=held_back, share=share, most=AT_A_TIME
        )
        with upkeep("a sweep for entities that are over"):
            unfinished |= self.expiry.sweep(
                self.effect, self.publisher, state, outcome, today=today, dimension=dimension
            )
        if (labels or self.warm_start) and (scales is None or whitenings is not known):
            outcome.changes[WHITENINGS] = whitenings.pack()
        was = Standing.unpack(judged)
        if standing != was:
            outcome.changes[GUARD] = standing.pack()
        if self._shows(standing):
            with upkeep("entities that are published again"):
                unfinished |= self.holding.release_some(self.effect, whitenings, state, outcome, standing=standing)
        outcome.messages.extend(self.forward(partition, steps))
        said = (*notices(was, standing), *told(held_back))
        return outcome._replace(
            unfinished=unfinished, notices=said, held_back=tuple(held_back), delta_times=tuple(delta_times)
        )

    def _followed(self, whitenings: Whitenings, label: L) -> Whitenings:
        """Return ``whitenings`` with that of the model which ``label`` names."""
        effect = self.source.effect(self.models.get(label.model_version))
        scale = effect.prior.scale(len(whitenings.newest.scale))
        return whitenings.followed_by(Whitening(label.model_number, label.model_version, scale))

    def _start(
        self,
        whitenings: Whitenings,
        today: int,
        state: StateReader,
        outcome: Outcome,
        *,
        standing: Standing,
        held_back: list[tuple[str, str]],
        share: Share,
        most: int | None,
    ) -> bool:
        """Let entities start that the newest model knows; return whether some are left."""
        if not self.warm_start:
            return False
        with upkeep("entities that start from a bundle"):
            return start_some(
                self._effect(whitenings),
                self.holding,
                whitenings,
                Overlay(state, outcome.changes),
                outcome,
                standing=standing,
                shown=self._shows(standing),
                held_back=held_back,
                share=share,
                most=most,
                since=self.expiry.since(today),
            )

    def _effect(self, whitenings: Whitenings) -> RandomEffect:
        """Return how the entities learn by the newest model."""
        number, version, _ = whitenings.newest
        return self.source.effect(self.models.get(version)) if number else self.effect

    @property
    def effect(self) -> RandomEffect:
        """How the entities learn by the first model."""
        return self.source.effect(self.models.first)

    def _read(
        self, records: Sequence[SourceRecord], layout: bytes | None, of_format_1: bytes | None, outcome: Outcome
    ) -> Read[L]:
        """Return the labels in a chunk; what cannot be used goes to the dead letters."""
        read = self.source.read(records, self._dimension(unpack_layout(self.effect.rule, layout, of_format_1)))
        outcome.messages.extend(dead_letter(self.dead_letters, self.name, *rejected) for rejected in read.rejected)
        if read.dimension is not None and (read.labels or self.warm_start or of_format_1 is not None):
            outcome.changes.update(self._layout(read.dimension, layout, of_format_1))
        return read

    def _layout(self, dimension: int, layout: bytes | None, of_format_1: bytes | None) -> dict[bytes, bytes | None]:
        """Return what changes where the table's layout is of an older format, or not written yet."""
        changes: dict[bytes, bytes | None] = {} if of_format_1 is None else {DIMENSION: None}
        present = pack_layout(self.effect.rule, dimension)
        return changes if layout == present else {**changes, LAYOUT: present}

    def _dimension(self, stored: int | None) -> int | None:
        """Return the number of coefficients; ``None`` leaves it to the first label."""
        count = self.effect.features.count
        if stored is None:
            return None if count is None else 1 + count
        if count is not None and 1 + count != stored:
            raise StateFormatError(f"the table has {stored - 1} features, the model bundle {count}")
        return stored

    def _learn(
        self,
        labels: Sequence[L],
        features: Floats,
        whitenings: Whitenings,
        *,
        today: int,
        state: StateReader,
        outcome: Outcome,
        standing: Standing,
        reached: dict[int, int],
        held_back: list[tuple[str, str]],
        delta_times: list[Integers],
    ) -> list[Step[L]]:
        """Step the entities through the labels, with their features ``(n, k)``, that are news to them.

        All by the newest model of ``whitenings``, and on one day of event time (ms). ``standing`` is that of the side,
        ``reached`` the clock of each origin; both are moved along. Who is newly held back, or no more, is added to
        ``held_back``, and when the newest label of each delta happened to ``delta_times``.
        """
        entity_ids, entity_of = distinct([self.source.entity_id(label) for label in labels])
        applications, application_of = distinct(
            [contribution_key(label.origin, label.applied_at, label.application_id) for label in labels]
        )
        entity_keys = [entity_key(entity_id) for entity_id in entity_ids]
        stored = state.get_many([*entity_keys, *applications])
        rule, dimension = self.effect.rule, 1 + features.shape[1]
        before = unpack_many(entity_type(rule, dimension), stored[: len(entity_keys)])
        contributions = unpack_many(contribution_type(rule, dimension), stored[len(entity_keys) :])

        if (over := self.expiry.over(before, today)).any():
            self.expiry.drop([entity_keys[number] for number in np.flatnonzero(over)], self.publisher, outcome)
            before[over] = unpack_many(entity_type(rule, dimension), [None])
        clocks = dict(reached)
        news = self._news(labels, application_of, contributions["revision"].tolist(), clocks)
        fresh, rows = [labels[row] for row in news], np.array(news, np.int64)
        after = before.copy()
        rescale(rule, after, contributions, whitenings)
        if self.warm_start and (fitted := self._effect(whitenings).start) is not None:
            fitted.start(after, entity_ids, rule, whitenings.newest, self.expiry.since(today))
        batch = self._batch(
            fresh,
            self.effect.whiten(features[rows], whitenings.newest.scale),
            entity_of[rows],
            application_of[rows],
        )
        newest_at = after["newest_at"].copy()
        seen = learn(rule, after, contributions, batch)

        standing.take_up(whitenings.newest.model_number)
        shown = self._judge(standing, fresh, batch, seen, entities=after, newest_at=newest_at)
        (moved,) = (after["version"] != before["version"]).nonzero()
        places, now = moved.tolist(), after[moved]
        published = self.holding.publish_shown(
            [entity_ids[place] for place in places],
            before[moved],
            now,
            shown[moved],
            whitenings=whitenings,
            state=state,
            outcome=outcome,
            standing=standing,
        )
        held_back += published.held_back
        if published.rows.size:
            delta_times.append(_newest(len(entity_ids), batch, seen.learned)[moved[published.rows]])
        outcome.changes.update(zip([entity_keys[place] for place in places], pack_many(now), strict=True))
        (touched,) = np.bincount(application_of[rows]).nonzero()
        outcome.changes.update(
            zip([applications[place] for place in touched.tolist()], pack_many(contributions[touched]), strict=True)
        )
        with upkeep("what no revision can reach any more"):
            self._forget(reached, clocks, state, outcome)
        reached.update(clocks)
        return [
            Step(label, log_odds, version, learned)
            for label, log_odds, version, learned in zip(
                fresh, *(array.tolist() for array in (seen.log_odds, seen.version, seen.learned)), strict=True
            )
        ]

    def _judge(
        self,
        standing: Standing,
        labels: Sequence[L],
        batch: Batch,
        seen: Seen,
        *,
        entities: Records,
        newest_at: Integers,
    ) -> Booleans:
        """Judge what is learned by labels; return which of ``entities``, shape ``(m,)``, the side's standing lets show.

        An entity is shown where publishing was on after its last label: how labels are cut into chunks changes nothing.
        """
        shown = np.full(len(entities), self._shows(standing))
        if self.guard is None:
            return shown
        (rows,) = seen.learned.nonzero()
        alone = np.array([labels[row].global_log_odds for row in rows.tolist()], np.float64)
        scored = Scored(
            value=batch.value[rows].astype(np.float64),
            weight=batch.weight[rows],
            said_value=seen.said[rows].astype(np.float64),
            said_weight=seen.said_weight[rows],
            alone=alone,
            other=batch.offset[rows] - alone,
            own=seen.log_odds[rows],
        )
        sums = sums_of(scored)
        held = judge_entities(
            self.guard.entities,
            entities,
            newest_at,
            EntityLabels(batch.entity[rows], worse_by(sums), surprise_of(scored), batch.happened_at[rows]),
        )
        # One that is held back already is not held against its side.
        sums[held] = 0
        # Of several rows of an entity the last one decides.
        shown[batch.entity[rows]] = standing.judge(self.guard, sums)
        return shown

    def _shows(self, standing: Standing) -> bool:
        """Return whether a side of such a standing is published."""
        return self.guard is None or not standing.reasons

    @property
    def holding(self) -> Holding:
        """What publishes."""
        return Holding(self.publisher, None if self.guard is None else self.guard.entities)

    def _news(
        self, labels: Sequence[L], application_of: Integers, revisions: list[int], clocks: dict[int, int]
    ) -> list[int]:
        """Return the rows that say something new, in order, moving each origin's clock along.

        A revision at or below the known one was delivered before, and so was one whose contribution is forgotten.
        """
        rows = []
        for row, (label, application) in enumerate(zip(labels, application_of.tolist(), strict=True)):
            clock = clocks[label.origin] = max(clocks.get(label.origin, NOT_BEGUN), label.watermark)
            if label.revision > revisions[application] and clock < label.applied_at + self.retention:
                revisions[application] = label.revision
                rows.append(row)
        return rows

    def _batch(self, labels: Sequence[L], features: Floats, entity: Integers, application: Integers) -> Batch:
        return Batch(
            entity=entity,
            application=application,
            features=features,
            offset=np.array([self.source.offset(label) for label in labels], np.float64),
            value=np.array([-1 if label.value is None else label.value for label in labels], np.int64),
            weight=np.array([0.0 if label.value is None else label.weight for label in labels], np.float64),
            revision=np.array([label.revision for label in labels], np.int64),
            happened_at=np.array([label.happened_at for label in labels], np.int64),
        )

    def _forget(self, reached: dict[int, int], clocks: dict[int, int], state: StateReader, outcome: Outcome) -> None:
        """Drop what applications have added that no revision can reach any more, by the event time of each origin."""
        changed = sorted(filter(is_contribution, outcome.changes))
        for origin, clock in clocks.items():
            before = reached.get(origin, NOT_BEGUN)
            if clock == before:
                continue
            outcome.changes[clock_key(origin)] = pack_moment(clock)
            start, end = contribution_range(origin, before - self.retention, clock - self.retention)
            if start == end:
                continue
            over = [key for key, _ in state.scan(start, end)]
            over += changed[bisect_left(changed, start) : bisect_left(changed, end)]
            outcome.changes.update(dict.fromkeys(over))


def _newest(count: int, batch: Batch, learned: Booleans) -> Integers:
    """Return when the newest label of those that were ``learned`` happened (ms), of each of ``count`` entities."""
    newest = np.zeros(count, np.int64)
    np.maximum.at(newest, batch.entity[learned], batch.happened_at[learned])
    return newest
