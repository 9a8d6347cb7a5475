"""Which generation serves: what there is, the switch, its undoing, and the end of one that does not serve any more."""

import asyncio
from dataclasses import dataclass

from stream_qa.errors import GenerationError, TopicMissingError
from stream_qa.events import Generation
from stream_qa.rebuild.beginning import newest, note, serving
from stream_qa.rebuild.progress import Pace, Progress
from stream_qa.settings import Settings
from stream_qa.streaming import generation_topic
from stream_qa.streaming.generation_topic import Generations, read_generations
from stream_qa.streaming.group_offsets import group_offsets
from stream_qa.topics import delete, existing_counts, members, partition_counts


@dataclass(frozen=True)
class State:
    """A generation as it is."""

    generation: Generation
    serves: bool
    progress: Progress | None
    """``None`` where it has no topics any more."""


async def states(settings: Settings) -> list[State]:
    """Return all generations, by number.

    Raises
    ------
    TopicMissingError
        There is no topic of generations.
    BrokerUnavailableError
        No broker answers.
    """
    known = await _known(settings)
    served = serving(known, settings)
    found = []
    for number, generation in sorted(known.begun.items()):
        progress = None
        if not generation.ended:
            try:
                async with group_offsets(_of(settings, number)) as offsets:
                    progress = Pace().progress(await offsets.look())
            except TopicMissingError:
                progress = None
        found.append(State(generation, number == served, progress))
    return found


async def chosen(settings: Settings, number: int | None) -> int:
    """Return the number of the generation that is meant: this one, or the newest that does not serve.

    Raises
    ------
    GenerationError
        There is none.
    """
    known = await _known(settings)
    return newest(known, settings) if number is None else _begun(known, number).generation


async def switch(settings: Settings, number: int | None, *, patience: float | None) -> Generation:
    """Let servers serve a generation; return what was written.

    Parameters
    ----------
    settings
        Of any generation.
    number
        Which; ``None`` for the newest that does not serve.
    patience
        How long, in seconds, it is waited for until it has come through what the inputs have now; ``None`` for not.

    Raises
    ------
    GenerationError
        There is no such one, it serves already, or it does not come through in time.
    TopicMissingError
        It has no topics any more.
    """
    known = await _known(settings)
    served = serving(known, settings)
    number = newest(known, settings) if number is None else number
    if number == served:
        raise GenerationError(f"generation {number} serves already")
    generation, of = _begun(known, number), _of(settings, number)
    await existing_counts(of.kafka, of.topics.own())
    if patience is not None:
        async with group_offsets(of) as offsets:
            try:
                async with asyncio.timeout(patience):
                    await offsets.come_through()
            except TimeoutError:
                raise GenerationError(
                    f"generation {number} has not come through what the inputs had {patience:.0f} s ago"
                ) from None
    return await _serve(settings, generation, served)


async def undo(settings: Settings) -> Generation:
    """Let servers serve again what served before the last switch; return what was written.

    Raises
    ------
    GenerationError
        There was no switch.
    TopicMissingError
        It has no topics any more.
    """
    known = await _known(settings)
    if known.serving is None or known.serving.instead_of is None:
        raise GenerationError("there was no switch that could be undone")
    generation = _begun(known, known.serving.instead_of)
    await existing_counts(settings.kafka, _of(settings, generation.generation).topics.own())
    return await _serve(settings, generation, known.serving.generation)


async def finish(settings: Settings, number: int, *, with_labels: bool, really: bool) -> list[str]:
    """Delete the topics of a generation; return which.

    Parameters
    ----------
    settings
        Of any generation.
    number
        Which.
    with_labels
        Also its labels.
    really
        Else it is only returned what would be deleted.

    Raises
    ------
    GenerationError
        There is no such one, it serves, or workers of it run.
    """
    known = await _known(settings)
    of = _of(settings, number)
    if number == serving(known, settings):
        raise GenerationError(f"generation {number} serves")
    if number not in known.begun:
        raise GenerationError(f"there is no generation {number}")
    if workers := await members(of.kafka, of.group_id):
        raise GenerationError(f"{workers} workers of generation {number} run; end them first")
    counts = await partition_counts(of.kafka, of.topics.own())
    topics = [
        topic for topic, count in counts.items() if count is not None and (with_labels or topic != of.topics.labels)
    ]
    if really:
        # First that it is over: what is half deleted must not be switched to.
        await note(settings, known.begun[number].model_copy(update={"ended": True}))
        await delete(of.kafka, topics)
    return topics


async def _serve(settings: Settings, generation: Generation, served: int) -> Generation:
    written = generation.model_copy(update={"instead_of": served})
    await generation_topic.serve(settings.kafka, settings.topics.generations, written)
    return written


async def _known(settings: Settings) -> Generations:
    return await read_generations(settings.kafka, settings.topics.generations)


def _begun(known: Generations, number: int) -> Generation:
    generation = known.begun.get(number)
    if generation is None:
        raise GenerationError(f"there is no generation {number}")
    if generation.ended:
        raise GenerationError(f"generation {number} is ended, its topics are deleted")
    return generation


def _of(settings: Settings, number: int) -> Settings:
    return settings.model_copy(update={"generation": number})
