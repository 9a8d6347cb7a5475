"""Whether what is learned does good: the score with a side's part beside the score without it, label by label.

Every label is scored just before it is learned, so no label judges what it has taught itself (Dawid, 1984, Statistical
theory: the prequential approach). What it says is counted once: a revision takes out what the label before had said, at
the score of now, and puts in what it says itself. Otherwise every silence that was taken for a no, and answered after
all, would count against those who had expected the answer.

Sums are of integers, and labels are judged in blocks of a fixed number, so that all of this is a function of the labels
in their order: how they are cut into chunks changes nothing, to the last bit.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, field

from stream_qa.errors import StateFormatError
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity_guard import EntityPolicy
from stream_qa.learning.global_model import probability

#: The key of a learner's record of how good it is.
GUARD = b"guard"

#: Labels of a block.
BLOCK = 128
#: Losses are integers in units of this many nats.
_UNIT = 2.0**-16
#: No label counts more than this against a score (nats).
_WORST = 16.0
#: How much of what is remembered is left after a block: sums are of about the last 2,048 labels.
_KEPT = 1 - 1 / 16
#: Blocks of which the mean is what labels are expected to be like, and how many there must be.
_USUAL_BLOCKS, _FEWEST_BLOCKS = 64, 8
#: A part that makes scores worse by less than this does no harm (nats a label).
_HARM_MARGIN = 0.01
#: Labels that differ from what they used to be like by less than this are like them (nats a label).
_CHANGE_MARGIN = 0.2
#: A block in which applications are new less often than this share of what is usual says nothing of a change.
_FEW_NEW = 0.75
_FORMAT = 1

_EXPLAINED = {
    "harm": "what is learned makes scores worse",
    "labels": "labels are not what they used to be",
}
#: Why publishing may stop.
REASONS = tuple(_EXPLAINED)


class Scored(NamedTuple):
    """``n`` labels that changed what is known, in log order, and how they were scored; shapes ``(n,)``."""

    value: Floats
    """0 or 1; any where the weight is 0."""
    weight: Floats
    said_value: Floats
    """What the label before had said of the application."""
    said_weight: Floats
    """0 where there was none."""
    alone: Floats
    """The global model's log-odds."""
    other: Floats
    """The part of the other side."""
    own: Floats
    """The part of this side, without what the application itself had added."""


@dataclass(frozen=True)
class GuardPolicy:
    """When publishing stops.

    Parameters
    ----------
    evidence
        Nats by which a side's part must have made scores worse. What it then makes better is counted back, and when
        that is as much, publishing goes on.
    change
        Nats by which labels must differ from what they used to be like. As what is usual follows slowly, publishing
        goes on when it has come near, or when labels are as before.
    entities
        When one entity is held back.
    """

    evidence: float = 64.0
    change: float = 128.0
    entities: EntityPolicy = dataclasses.field(default_factory=EntityPolicy)


class Sums(Struct, array_like=True, gc=False):
    """Weighted sums over labels."""

    weight: float = 0.0
    outcomes: float = 0.0
    """Of values."""
    expected: float = 0.0
    """Of probabilities by the whole model."""
    alone: float = 0.0
    """Of the log-loss (nats) by the global model alone."""
    own: float = 0.0
    """The same with this side's part."""
    other: float = 0.0
    """The same with the other side's part."""
    both: float = 0.0
    """The same by the whole model."""
    surprise: float = 0.0
    """Of what the log-loss by the global model alone is above what it expects of itself."""
    new: float = 0.0
    """Labels of applications of which nothing had been said."""

    def and_those_of(self, others: "Sums", kept: float = 1.0) -> "Sums":
        """Return what is ``kept`` of these, and others."""
        return Sums(*(kept * ours + theirs for ours, theirs in zip(_numbers(self), _numbers(others), strict=True)))


class Standing(Struct, array_like=True):
    """How good what one partition of a learner has learned is, and whether it is published."""

    format: int = _FORMAT
    model_number: int = 0
    """Of the newest model."""
    counted: int = 0
    """Labels of the block that is not full yet."""
    open: list[int] = field(default_factory=lambda: [0] * len(Sums.__struct_fields__))
    """Their sums, in units."""
    recent: Sums = field(default_factory=Sums)
    """Of the blocks before."""
    harm: float = 0.0
    """By how much this side's part has made scores worse (nats), as far as it matters."""
    above: float = 0.0
    """By how much labels are more surprising than they used to be (nats)."""
    below: float = 0.0
    """By how much they are less so."""
    usual_blocks: int = 0
    usual_surprise: float = 0.0
    usual_weight: float = 0.0
    usual_new: float = 0.0
    is_harmful: bool = False
    has_changed: bool = False
    held: int = 0
    """Entities that have moved and were not published."""

    @classmethod
    def unpack(cls, record: bytes | None) -> "Standing":
        """Return what :meth:`pack` packed; a new one where there is no record.

        Raises
        ------
        StateFormatError
            It was written by newer code.
        """
        if record is None:
            return cls()
        try:
            standing = _decode(record)
        except msgspec.MsgspecError as error:
            raise StateFormatError(f"the guard's record cannot be read: {error}") from error
        if standing.format != _FORMAT:
            raise StateFormatError(f"the guard's record is of format {standing.format}, and {_FORMAT} is read")
        return standing

    def pack(self) -> bytes:
        """Return the record."""
        return _encode(self)

    @property
    def reasons(self) -> list[str]:
        """Why nothing is published, of ``REASONS``; empty where it is."""
        return [reason for reason, holds in zip(REASONS, (self.is_harmful, self.has_changed), strict=True) if holds]

    def explained(self) -> list[str]:
        """Return why nothing is published, in a sentence; empty where it is."""
        reasons = [_EXPLAINED[reason] for reason in self.reasons]
        return [f"no coefficients are published: {' and '.join(reasons)}"] if reasons else []

    def judge(self, policy: GuardPolicy, sums: Integers) -> Booleans:
        """Take in labels by their sums; return whether what is learned is published after each, shape ``(n,)``."""
        published = np.ones(len(sums), np.bool_)
        start = 0
        for end, block in self._blocks(sums):
            published[start : end - 1] = not self.reasons
            self._close(policy, block)
            published[end - 1] = not self.reasons
            start = end
        published[start:] = not self.reasons
        return published

    def take_up(self, model_number: int) -> None:
        """Forget what labels used to be like by another model."""
        if model_number != self.model_number:
            self.model_number = model_number
            self.above = self.below = self.usual_surprise = self.usual_weight = self.usual_new = 0.0
            self.usual_blocks = 0
            self.has_changed = False

    def _blocks(self, sums: Integers) -> Iterator[tuple[int, Sums]]:
        """Yield the blocks that end among labels of which there are ``sums``, and where each does."""
        start = 0
        while start < len(sums):
            end = min(start + BLOCK - self.counted, len(sums))
            self.counted += end - start
            self.open = (np.array(self.open, np.int64) + sums[start:end].sum(axis=0)).tolist()
            if self.counted == BLOCK:
                yield end, Sums(*(_UNIT * number for number in self.open))
                self.counted, self.open = 0, [0] * len(self.open)
            start = end

    def _close(self, policy: GuardPolicy, block: Sums) -> None:
        self.recent = self.recent.and_those_of(block, _KEPT)
        # A part is to blame where it makes the score worse with the other side's and without: else both sides say the
        # same, each of which is right alone, as where neither knows yet how often answers come at all.
        worse = min(block.both - block.other, block.own - block.alone)
        self.harm = _within(self.harm + worse - _HARM_MARGIN * block.weight, policy.evidence)
        self.is_harmful = self._stands(self.harm, policy.evidence, before=self.is_harmful)
        are_few = block.new * self.usual_blocks < _FEW_NEW * self.usual_new
        before = self.usual_blocks
        self.usual_blocks = min(before + (not are_few), _USUAL_BLOCKS)
        # What is usual are sums of so many blocks: nothing goes until there are enough, then one for each that comes.
        kept = (self.usual_blocks - 1) / before if before else 0.0
        self.usual_new = kept * self.usual_new + block.new
        if are_few:
            # Where applications come no longer, their late answers are all that is left: no change of what labels say.
            return
        if self.usual_blocks > _FEWEST_BLOCKS:
            more = block.surprise - block.weight * self.usual_surprise / max(self.usual_weight, 1.0)
            tolerated = _CHANGE_MARGIN * abs(block.weight)
            self.above = _within(self.above + more - tolerated, policy.change)
            self.below = _within(self.below - more - tolerated, policy.change)
            self.has_changed = self._stands(max(self.above, self.below), policy.change, before=self.has_changed)
        self.usual_surprise = kept * self.usual_surprise + block.surprise
        self.usual_weight = kept * self.usual_weight + block.weight

    @staticmethod
    def _stands(evidence: float, enough: float, *, before: bool) -> bool:
        """Return whether something holds: from enough evidence on, until none is left."""
        return enough > 0 and (evidence >= enough or (before and evidence > 0))


def notices(before: Standing, after: Standing) -> list[str]:
    """Return what is to be said of a change, in a sentence; nothing where publishing is what it was."""
    if after.reasons == before.reasons:
        return []
    return after.explained() or ["coefficients are published again, also of those that have moved meanwhile"]


def sums_of(scored: Scored) -> Integers:
    """Return what each label adds to :class:`Sums`, in units, shape ``(n, 9)``."""
    chance = probability(scored.alone)
    whole = scored.alone + scored.own + scored.other
    news = scored.weight - scored.said_weight
    losses = _losses(scored, np.array((scored.alone, scored.alone + scored.own, scored.alone + scored.other, whole)))
    columns = (
        news,
        scored.weight * scored.value - scored.said_weight * scored.said_value,
        news * probability(whole),
        *losses,
        losses[0] - news * (np.logaddexp(0.0, scored.alone) - chance * scored.alone),
        scored.said_weight == 0,
    )
    return np.rint(np.array(columns).T / _UNIT).astype(np.int64)


def worse_by(sums: Integers) -> Floats:
    """Return by how much this side's part makes each label's score worse (nats), as blocks are judged, from their sums.

    Shape ``(n,)``.
    """
    weight, _, _, alone, own, other, both, *_ = sums.T
    return np.asarray(_UNIT * np.minimum(both - other, own - alone) - _HARM_MARGIN * _UNIT * weight)


def surprise_of(scored: Scored) -> Floats:
    """Return how surprising each positive is to the score without this side's part (nats), 0 for others, ``(n,)``."""
    new = (scored.value == 1) & (scored.said_value != 1)
    return np.where(new, scored.weight * np.minimum(np.logaddexp(0.0, -scored.alone - scored.other), _WORST), 0.0)


def _losses(scored: Scored, log_odds: Floats) -> Floats:
    """Return by how much each label adds to the weighted log-loss of each of ``log_odds``, shapes ``(4, n)``."""
    positive, negative = (np.minimum(np.logaddexp(0.0, sign * log_odds), _WORST) for sign in (-1.0, 1.0))
    now, before = (np.where(value == 1, positive, negative) for value in (scored.value, scored.said_value))
    return np.asarray(scored.weight * now - scored.said_weight * before)


def _within(evidence: float, most: float) -> float:
    return min(max(evidence, 0.0), most)


def _numbers(sums: Sums) -> list[float]:
    return [getattr(sums, name) for name in Sums.__struct_fields__]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Standing).decode
