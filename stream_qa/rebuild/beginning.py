"""A generation's beginning: its number, its topics, and what is written of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_qa.bundle import load_bundle, published_model
from stream_qa.errors import GenerationError
from stream_qa.events import Generation, PublishedModel
from stream_qa.rebuild.inputs import Inputs, check_inputs, read_inputs
from stream_qa.settings import PREFIX, Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming import generation_topic
from stream_qa.streaming.generation_topic import Generations, read_generations
from stream_qa.topics import apply, layout


@dataclass(frozen=True)
class Wanted:
    """The generation that is to be begun."""

    bundle: Path | None
    """With which it begins."""
    location: Path | None = None
    """The bundle's directory as servers see it; ``None`` where it is the same."""
    warm_start: bool = False
    """Whether members and jobs start from the bundle's coefficients."""
    anyway: bool = False
    """Whether it begins also where it would not learn all that is known, or some of it twice."""
    new: bool = False
    """Whether it is another one also where the newest began with the same bundle."""
    replication_factor: int | None = None
    """Of its topics; ``None`` for that of the applications."""


async def begin(settings: Settings, wanted: Wanted, told: Callable[[Inputs], object]) -> Settings:
    """Begin a generation, or go on with the newest one if it began with the same bundle; return its settings.

    Parameters
    ----------
    settings
        Those of the generation that there is.
    wanted
        What is to be begun.
    told
        Called with what it will learn from.

    Raises
    ------
    ConfigurationError
        Settings or bundle cannot be used.
    IncompleteInputsError
        It would not learn all that is known, or some of it twice.
    TopicsError
        Its topics cannot be made, or those that there are have other partition counts than the inputs.
    BrokerUnavailableError
        No broker answers.
    """
    topics, kafka = settings.topics, settings.kafka
    known = await read_generations(kafka, topics.generations)
    published = _published(wanted.bundle, wanted.location)
    number = next_number(known, settings, published, new=wanted.new)
    new = settings.model_copy(update={"generation": number, "bundle": wanted.bundle, "warm_start": wanted.warm_start})
    build_pipeline(new)  # says what is wrong with settings and bundle, before anything is begun
    inputs = await read_inputs(settings)
    told(inputs)
    if number not in known.begun and not wanted.anyway:
        check_inputs(inputs, wanted.bundle, warm_start=wanted.warm_start)
    if settings.generation not in known.begun:
        await note(settings, Generation(generation=settings.generation, bundle=_published(settings.bundle, None)))
    partitions, replicas = await layout(kafka, topics.applications)
    factor = wanted.replication_factor or replicas
    await apply(kafka, settings.topic_prefix, partitions, factor, number, shared=False)
    await note(settings, Generation(generation=number, bundle=published))
    return new


async def note(settings: Settings, generation: Generation) -> None:
    """Write what is known of a generation that was begun."""
    await generation_topic.begin(settings.kafka, settings.topics.generations, generation)


def serving(known: Generations, settings: Settings) -> int:
    """Return which generation serves: before the first switch the one that the group began with."""
    if known.serving is not None:
        return known.serving.generation
    # With a second one the first is noted. The settings may be those of the second one's workers.
    return min((each.generation for each in known.begun.values() if not each.ended), default=settings.generation)


def newest(known: Generations, settings: Settings) -> int:
    """Return the newest generation that does not serve.

    Raises
    ------
    GenerationError
        There is none.
    """
    served = serving(known, settings)
    beside = [each.generation for each in known.begun.values() if not each.ended and each.generation != served]
    if not beside:
        raise GenerationError(f"there is no generation beside {served}, which serves")
    return max(beside)


def next_number(known: Generations, settings: Settings, bundle: PublishedModel | None, *, new: bool = False) -> int:
    """Return the number of the generation to begin: one that was never used, or that of one to go on with.

    That is the newest, where it is not that of the settings, began with the same bundle and is not ended; not with
    ``new``.
    """
    last = max([*known.begun, settings.generation, serving(known, settings)])
    begun = known.begun.get(last)
    if begun is None or last == settings.generation or begun.ended or begun.bundle != bundle or new:
        return last + 1
    return last


def environment(settings: Settings) -> dict[str, str]:
    """Return what a generation's workers must have in their environment besides what all workers have."""
    own = {"GENERATION": str(settings.generation), "WARM_START": str(settings.warm_start).lower()}
    if settings.bundle is not None:
        own["BUNDLE"] = str(settings.bundle)
    return {f"{PREFIX}{name}": value for name, value in own.items()}


def _published(bundle: Path | None, location: Path | None) -> PublishedModel | None:
    return None if bundle is None else published_model(load_bundle(bundle), location)
