"""What clients get. The forms are for the schema of the interface; answers are made without them, as they are long."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stream_qa.coefficients import LookedUp
from stream_qa.events.fields import EventTime
from stream_qa.products import Standings, Verdict
from stream_qa.serving.scoring import Scored

Answer = dict[str, Any]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(_Form):
    """Why there is no answer."""

    detail: Annotated[str, Field(description="one sentence")]


class StateAnswer(_Form):
    """How the service is."""

    state: Literal["live", "ready"]
    notices: Annotated[list[str], Field(description="what is not as it should be with the coefficients, in sentences")]


class EntityAnswer(_Form):
    """How fresh and how well-founded one side of a score is."""

    version: Annotated[int, Field(ge=0, description="0 for one that has not learned yet")]
    labels: Annotated[int, Field(ge=0, description="applications behind the version")]
    newest_at: Annotated[
        EventTime | None, Field(description="when the newest label behind it happened: milliseconds since the epoch")
    ]
    model_version: Annotated[str | None, Field(description="of the model by which it learned last")]


class ScoreAnswer(_Form):
    """The score of one pair."""

    member_id: str
    job_id: str
    log_odds: Annotated[float, Field(description="the sum of the three parts below")]
    probability: Annotated[float, Field(ge=0, le=1)]
    global_log_odds: float
    member_log_odds: float
    job_log_odds: float


class JudgedAnswer(ScoreAnswer):
    """The score of one pair, and whether it is a match."""

    flagged: bool
    verdict: Annotated[Verdict, Field(description="why it is flagged or not")]
    labels: Annotated[int, Field(ge=0, description="applications behind both sides together")]


class StandingAnswer(ScoreAnswer):
    """The score of one applicant, and where it stands."""

    rank: Annotated[int, Field(ge=1, description="1 is the best; equal scores share the better rank")]
    tied: Annotated[int, Field(ge=0, description="how many others have the same score")]
    percentile: Annotated[
        float | None, Field(ge=0, le=100, description="share of the others below; null among too few applicants")
    ]
    top: Annotated[bool, Field(description="whether this is a top applicant")]


class RankedAnswer(ScoreAnswer):
    """The score of one applicant, in the order of the list."""

    rank_by_score: Annotated[int, Field(ge=1, description="the place that it has without exploration")]


class _Scores(_Form):
    generation: Annotated[int, Field(ge=1, description="of workers, by whose model and coefficients all of this is")]
    model_version: Annotated[str, Field(description="of the global model; none without one")]
    personalised: Annotated[bool, Field(description="false where the coefficients could not be looked up")]
    notices: Annotated[list[str], Field(description="why scores are less than they could be, in sentences")]
    stale_seconds: Annotated[
        float | None,
        Field(ge=0, description="since the coefficients were seen to be up to date; null before they were"),
    ]
    members: dict[str, EntityAnswer]
    jobs: dict[str, EntityAnswer]


class ScoresAnswer(_Scores):
    """Scores, in the order of the request."""

    scores: list[ScoreAnswer]


class MatchesAnswer(_Scores):
    """Scores and match flags, in the order of the request."""

    scores: list[JudgedAnswer]


class StandingsAnswer(_Scores):
    """Scores and standings, in the order of the request."""

    scores: list[StandingAnswer]


class RankingAnswer(_Scores):
    """Scores, in the order in which a recruiter should see the applicants."""

    scores: list[RankedAnswer]


class ThresholdAnswer(_Form):
    """The lowest threshold with the wanted precision; all are null where there is none."""

    threshold: float | None
    precision: float | None
    recall: float | None
    flagged: int | None


class ModelAnswer(_Form):
    """What this service scores by."""

    generation: Annotated[int, Field(ge=1)]
    model_version: str
    feature_schema: Annotated[str | None, Field(description="null where any is scored")]
    member_features: int | None
    job_features: int | None


class CoefficientsAnswer(EntityAnswer):
    """What one entity has learned."""

    side: Literal["member", "job"]
    entity_id: str
    coefficients: Annotated[
        list[float], Field(description="the intercept, then one a standardised feature of the other side; may be empty")
    ]


class MadeBy(NamedTuple):
    """What scores were made by."""

    generation: int
    model_version: str
    personalised: bool


def scores_answer(scored: Scored, made_by: MadeBy, notices: Sequence[str], stale_seconds: float | None) -> Answer:
    """Return a ``ScoresAnswer``."""
    pairs = scored.pairs
    members, jobs = pairs.members.ids, pairs.jobs.ids
    return {
        **made_by._asdict(),
        "notices": notices,
        "stale_seconds": stale_seconds,
        "members": _entities(members, scored.members),
        "jobs": _entities(jobs, scored.jobs),
        "scores": [
            {
                "member_id": members[member],
                "job_id": jobs[job],
                "log_odds": log_odds,
                "probability": probability,
                "global_log_odds": by_all,
                "member_log_odds": by_member,
                "job_log_odds": by_job,
            }
            for member, job, log_odds, probability, by_all, by_member, by_job in zip(
                pairs.member_of.tolist(),
                pairs.job_of.tolist(),
                scored.log_odds.tolist(),
                scored.probabilities.tolist(),
                scored.by_all.tolist(),
                scored.by_member.tolist(),
                scored.by_job.tolist(),
                strict=True,
            )
        ],
    }


def judged(answer: Answer, verdicts: Sequence[Verdict], labels: Sequence[int]) -> Answer:
    """Return a ``MatchesAnswer`` from a ``ScoresAnswer``."""
    for score, verdict, count in zip(answer["scores"], verdicts, labels, strict=True):
        score.update(flagged=verdict.flagged, verdict=verdict, labels=count)
    return answer


def standing(answer: Answer, found: Standings) -> Answer:
    """Return a ``StandingsAnswer`` from a ``ScoresAnswer``."""
    for score, rank, tied, percentile, top in zip(answer["scores"], *(a.tolist() for a in found), strict=True):
        score.update(rank=rank, tied=tied, percentile=None if np.isnan(percentile) else percentile, top=top)
    return answer


def ranked(answer: Answer, order: Sequence[int], by_score: Sequence[int]) -> Answer:
    """Return a ``RankingAnswer`` from a ``ScoresAnswer``, the order of the list and that without exploration."""
    for rank, position in enumerate(by_score, start=1):
        answer["scores"][position]["rank_by_score"] = rank
    answer["scores"] = [answer["scores"][position] for position in order]
    return answer


def _entities(ids: Sequence[str], held: LookedUp) -> Mapping[str, Answer]:
    columns = (held.versions.tolist(), held.labels.tolist(), held.newest.tolist(), held.model_versions)
    return {
        entity_id: {
            "version": version,
            "labels": labels,
            "newest_at": newest if version else None,
            "model_version": model_version or None,
        }
        for entity_id, version, labels, newest, model_version in zip(ids, *columns, strict=True)
    }
