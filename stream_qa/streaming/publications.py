"""All models that were published, as workers see them: which is in use, and why others are not."""

from contextlib import aclosing
from dataclasses import dataclass

from stream_qa.bundle import Bundle, load_published
from stream_qa.errors import RollbackError, StreamQAError
from stream_qa.events import PublishedModel
from stream_qa.settings import Settings
from stream_qa.stages.models import Models
from stream_qa.stages.pipeline import first_model, model_of
from stream_qa.streaming.model_topic import Numbered, published


@dataclass(frozen=True)
class Publication:
    """The newest publication of a model."""

    number: int
    model: PublishedModel
    bundle: Bundle | None
    problem: str | None
    """Why workers that see the same directories refuse it; ``None`` where they take it."""


@dataclass(frozen=True)
class Publications:
    """The newest publication of every model, by number."""

    all: list[Publication]

    @property
    def in_use(self) -> Publication | None:
        """What workers use; ``None`` for that with which the group began."""
        return next((one for one in reversed(self.all) if one.problem is None), None)

    @property
    def withdrawn(self) -> set[str]:
        """The versions that were rolled back and not published again since."""
        numbers = {one.model.version: one.number for one in self.all}
        rolled_back = [(one.model.withdraws, one.number) for one in self.all if one.model.withdraws is not None]
        return {version for version, number in rolled_back if numbers.get(version, 0) < number}

    def before(self, version: str | None) -> Publication:
        """Return the publication to which a roll-back goes.

        Parameters
        ----------
        version
            Of it; ``None`` for the one before that in use, those left aside that were rolled back before.

        Raises
        ------
        RollbackError
            There is none.
        """
        present = self.in_use
        if present is None:
            raise RollbackError("workers use the model with which the group began: there is nothing to go back from")
        if version is None:
            earlier = [one for one in self.all if one.number < present.number and one.problem is None]
            left = [one for one in earlier if one.model.version not in self.withdrawn]
            if not left:
                raise RollbackError(f"no model before {present.model.version} is published that could be used")
            return left[-1]
        found = next((one for one in self.all if one.model.version == version), None)
        if found is None:
            raise RollbackError(f"model {version} was never published")
        if found is present:
            raise RollbackError(f"model {version} is in use already")
        if found.problem is not None:
            raise RollbackError(f"model {version} cannot be used: {found.problem}")
        return found


async def publications(settings: Settings) -> Publications:
    """Return what is published now.

    Raises
    ------
    BundleError
        The bundle of the settings cannot be used.
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    async with aclosing(published(settings.kafka, settings.topics.models)) as found:
        # Compaction may not have come by yet.
        newest = {numbered.model.version: numbered for numbered in await anext(found)}
    # Whether a model fits does not depend on what entities would start from.
    judging = settings.model_copy(update={"warm_start": False})
    models = Models(first_model(judging))
    return Publications([_judged(judging, models, one) for one in sorted(newest.values(), key=lambda one: one.number)])


def _judged(settings: Settings, models: Models, numbered: Numbered) -> Publication:
    number, model = numbered
    bundle = None
    try:
        bundle = load_published(model)
        models.add(model_of(settings, bundle, number))
    except StreamQAError as error:
        return Publication(number, model, bundle, str(error))
    return Publication(number, model, bundle, None)
