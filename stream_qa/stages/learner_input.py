"""What a learner reads: labels of one number of features; what is none of these is rejected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from msgspec import MsgspecError, Raw

from stream_qa.errors import FeatureSchemaMismatchError, InvalidEventError, RejectedError
from stream_qa.events import SourceRecord, WireDecoder, wire
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.plan import Batch
from stream_qa.stages.models import Model

L = TypeVar("L", bound=wire.Label | wire.Example)


class Read(NamedTuple, Generic[L]):
    """What was read of a chunk."""

    labels: list[L]
    vectors: list[list[float]]
    """The features of each."""
    rejected: list[tuple[SourceRecord, RejectedError]]
    dimension: int | None
    """How many coefficients there are: one more than features. ``None`` where that is not known yet."""


@dataclass(frozen=True)
class LearnerInput(Generic[L]):
    """What a random effect reads of a label."""

    effect: Callable[[Model], RandomEffect]
    """How the entities learn by a model."""
    decoder: WireDecoder[L]
    entity_id: Callable[[L], str]
    features: Callable[[L], Raw]
    offset: Callable[[L], float]
    """The log-odds of everything but this effect."""

    def read(self, records: Sequence[SourceRecord], dimension: int | None) -> Read[L]:
        """Return the labels in a chunk, in its order.

        Parameters
        ----------
        records
            The chunk.
        dimension
            How many coefficients there are; ``None`` leaves it to the first label.
        """
        found: Read[L] = Read([], [], [], dimension)
        decoded = self.decoder.decode(record.value for record in records)
        read = iter(self._features([label for label in decoded if not isinstance(label, RejectedError)]))
        for record, label in zip(records, decoded, strict=True):
            try:
                if isinstance(label, RejectedError):
                    raise label
                features = next(read)
                if isinstance(features, RejectedError):
                    raise features
                if dimension is None:
                    dimension = 1 + len(features)
                if 1 + len(features) != dimension:
                    raise FeatureSchemaMismatchError(f"{len(features)} features where {dimension - 1} are learned")
            except RejectedError as error:
                found.rejected.append((record, error))
            else:
                found.labels.append(label)
                found.vectors.append(features)
        return found._replace(dimension=dimension)

    def batch(self, labels: Sequence[L], features: Floats, entity: Integers, application: Integers) -> Batch:
        """Return ``n`` labels as what is learned from.

        Parameters
        ----------
        labels
            In log order.
        features
            Whitened, shape ``(n, d)``.
        entity, application
            Of which entity and of which contribution each is, shapes ``(n,)``.
        """
        return Batch(
            entity=entity,
            application=application,
            features=features,
            offset=np.array([self.offset(label) for label in labels], np.float64),
            value=np.array([-1 if label.value is None else label.value for label in labels], np.int64),
            weight=np.array([0.0 if label.value is None else label.weight for label in labels], np.float64),
            revision=np.array([label.revision for label in labels], np.int64),
            happened_at=np.array([label.happened_at for label in labels], np.int64),
        )

    def _features(self, labels: Sequence[L]) -> Sequence[list[float] | InvalidEventError]:
        """Return the features of each label, or why they are none."""
        texts = [self.features(label) for label in labels]
        try:
            return wire.vectors(texts)
        except MsgspecError:
            return [_vector(text) for text in texts]


def _vector(text: Raw) -> list[float] | InvalidEventError:
    try:
        return wire.vector(text)
    except MsgspecError as error:
        return InvalidEventError(f"features: {error}")
