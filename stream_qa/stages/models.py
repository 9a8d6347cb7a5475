"""The models that a worker has: the one that the group began with, and those that were published since.

A label names the model by which it was made, so what a learner does with it follows from the log of labels and not
from when a worker heard of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from stream_qa.errors import ModelMissingError, ModelRefusedError
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import FeatureSchema, GlobalModel, RandomEffect
from stream_qa.learning.profile import Profile
from stream_qa.stages.state import StateReader

FEATURE_SCHEMA = b"feature-schema"
"""The key of the label table's record of what applications must bring."""
_MODEL = b"model"


@dataclass(frozen=True, eq=False)
class Model:
    """All that the stages take from a model bundle, or from the settings where there is none."""

    number: int
    """Rises with every model that is published; 0 is the one that the group began with."""
    global_model: GlobalModel
    member_effect: RandomEffect
    """Over job features."""
    job_effect: RandomEffect
    """Over member features."""
    feature_schema: FeatureSchema | None = None
    """What applications must bring; ``None`` adopts that of a partition's first application."""
    curves: SilenceCurves | None = None
    """How surprising silence is; ``None`` where that is not known."""
    profile: Profile | None = None
    """What the training's data looked like; ``None`` where that is not known."""

    @property
    def version(self) -> str:
        """The bundle's name; ``none`` without one."""
        return self.global_model.version


class Models:
    """The models that can be scored and learned by.

    Parameters
    ----------
    first
        The one that the group began with.
    """

    def __init__(self, first: Model) -> None:
        self.first = first
        self.newest = first
        """The one with the largest number."""
        self._by_version = {first.version: first}

    def add(self, model: Model) -> None:
        """Take a model in, to be taken up with the next chunk if it is the newest.

        Raises
        ------
        ModelRefusedError
            Coefficients that were learned by the first model would mean something else by this one.
        """
        first = self.first
        if first.feature_schema is not None and model.feature_schema != first.feature_schema:
            raise ModelRefusedError(
                f"it is for features {model.feature_schema}, and {first.feature_schema} is learned: "
                "another feature schema needs a worker group and topics of its own"
            )
        for side, ours, theirs in (
            ("member", first.job_effect.features, model.job_effect.features),
            ("job", first.member_effect.features, model.member_effect.features),
        ):
            if not ours.is_like(theirs):
                began = f"model {first.version}, with which the group began: train it with --scales-of"
                if first.feature_schema is None:  # the settings' own, of which there is no bundle to name
                    began = "the group, which began without a bundle: train it with --plain-features"
                raise ModelRefusedError(f"it puts {side} features on other scales than {began}")
        self._by_version[model.version] = model
        self.newest = max(self.newest, model, key=lambda known: known.number)

    def get(self, version: str) -> Model:
        """Return a model by its name.

        Raises
        ------
        ModelMissingError
            It is not here, or not yet.
        """
        try:
            return self._by_version[version]
        except KeyError:
            raise ModelMissingError(version) from None


class Choice(NamedTuple):
    """What the label stage scores a chunk by."""

    model: Model
    taking_up: dict[bytes, bytes | None]
    """What changes in its table with it."""
    refused: Sequence[str] = ()
    """Why a newer one is not it."""


def choose(models: Models, state: StateReader) -> Choice:
    """Return the newest model that fits a label table; which it is stands there from then on.

    So a worker that takes over the partition goes on with the same, whatever it has heard of itself.

    Raises
    ------
    ModelMissingError
        The table's model is not here, and no newer one.
    """
    record, schema = state.get_many([_MODEL, FEATURE_SCHEMA])
    number, version = (0, models.first.version) if record is None else orjson.loads(record)
    newest = models.newest
    learned = None if schema is None else FeatureSchema.unpack(schema)
    fits = learned in (None, newest.feature_schema)
    if newest.number > number and fits:
        return Choice(newest, {_MODEL: orjson.dumps([newest.number, newest.version])})
    model = models.get(version) if number else models.first
    if newest.number <= number or fits:
        return Choice(model, {})
    return Choice(model, {}, [f"model {newest.version} is for features {newest.feature_schema}, not for {learned}"])
