"""Do all sides compute the same? An event at a time, so that nothing depends on how far a stage has come.

All applications are there before the first engagement; each engagement is sent when the deltas of the one before have
been seen. Then every side knows the same at every step, and what its deltas add up to is compared with the equations of
README.md, written once more and plainly.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from peers.log import FEATURES, KINDS, Counts, Event, make_log
from peers.running import Running, SideFailedError, running
from peers.sides import Place, Side
from peers.topics import DeltaSeen, Outputs, delete_topics, make_topics, write

EVENTS, MEMBERS, JOBS = 36, 5, 3
PATIENCE_SECONDS = 60.0
#: Ours rounds published coefficients to multiples of 2^-24.
TOLERANCE = 1e-6

Entity = tuple[str, str]
"""Kind and id."""


async def largest_difference(side: Side, place: Place) -> float:
    """Return how far at most a coefficient of the side is from what the equations say.

    Raises
    ------
    SideFailedError
        It is too far, an entity is missing, or the side did not do its work.
    """
    log = make_log(EVENTS, "zipf", seed=1, members=MEMBERS, jobs=JOBS)
    applications, engagements = (
        [event for event in log if event.topic == topic] for topic in ("applications", "engagements")
    )
    learned: defaultdict[Entity, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1 + FEATURES))
    await make_topics(side, place)
    await write(place, applications)
    async with Outputs(place) as outputs, running(side, place) as run:
        await _until(outputs, Counts(scores=len(applications)), run, learned)
        for number, event in enumerate(engagements, start=1):
            await write(place, [event])
            await _until(outputs, Counts(member_steps=number, job_steps=number), run, learned)
    await delete_topics(place)
    expected = coefficients(log)
    if learned.keys() != expected.keys():
        raise SideFailedError(f"{side.name} has learned {sorted(learned)}, and {sorted(expected)} is right")
    difference = max(float(np.abs(learned[entity] - values).max()) for entity, values in expected.items())
    if difference > TOLERANCE:
        raise SideFailedError(f"{side.name}: a coefficient is {difference} from what it should be")
    return difference


async def _until(
    outputs: Outputs, expected: Counts, run: Running, learned: defaultdict[Entity, NDArray[np.float64]]
) -> None:
    began = time.monotonic()
    while not outputs.has(expected):
        _, deltas = await outputs.more()
        for delta in deltas:
            learned[_entity(delta)] += np.frombuffer(delta.change, "<f8")
        run.check()
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise run.failure(f"it stands still at {dict(outputs.seen)} of {expected}")


def _entity(delta: DeltaSeen) -> Entity:
    return delta.entity_kind, delta.entity_id


def coefficients(log: Sequence[Event]) -> Mapping[Entity, NDArray[np.float64]]:
    """Return what members and jobs know after the log by the equations of README.md."""
    applications = {}
    learned: defaultdict[Entity, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1 + FEATURES))
    squares: defaultdict[Entity, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1 + FEATURES))

    def step(entity: Entity, inputs: NDArray[np.float64], offset: float, value: int) -> None:
        chance = 1.0 / (1.0 + np.exp(-(offset + learned[entity] @ inputs)))
        gradient = (chance - value) * inputs
        squares[entity] += gradient**2
        learned[entity] = learned[entity] - 0.5 * (gradient + 0.01 * learned[entity]) / np.sqrt(1.0 + squares[entity])

    for event in log:
        fields = orjson.loads(event.value)
        if event.topic == "applications":
            applications[fields["application_id"]] = fields
            continue
        application = applications[fields["application_id"]]
        member, job = ("member", application["member_id"]), ("job", application["job_id"])
        of_member = np.array([1.0, *application["job_features"]])
        of_job = np.array([1.0, *application["member_features"]])
        before, value = application["global_log_odds"], 1 - KINDS.index(fields["kind"])
        member_part, job_part = float(learned[member] @ of_member), float(learned[job] @ of_job)
        step(member, of_member, before + job_part, value)
        step(job, of_job, before + member_part, value)
    return learned
