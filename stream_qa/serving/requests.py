"""What clients send. Unknown fields are refused: a misspelt one would be ignored in silence."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stream_qa.errors import UnfitRequestError
from stream_qa.events.fields import Features, Identifier, LogOdds
from stream_qa.learning.arrays import Floats
from stream_qa.serving import examples
from stream_qa.serving.scoring import Pairs, Side

SchemaName = Annotated[Identifier, Field(description="names the meaning and order of the features")]
BroughtLogOdds = Annotated[
    LogOdds | None, Field(description="your own global score of this pair; without it the global model scores")
]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class MemberForm(_Form):
    """A member and what is known of them."""

    member_id: Identifier
    features: Features


class JobForm(_Form):
    """A job and what is known of it."""

    job_id: Identifier
    features: Features


class ScoredMemberForm(MemberForm):
    """One of the members that are scored against a job."""

    global_log_odds: BroughtLogOdds = None


class ScoredJobForm(JobForm):
    """One of the jobs that are scored against a member."""

    global_log_odds: BroughtLogOdds = None


class PairForm(_Form):
    """A member and a job of the same request."""

    member_id: Identifier
    job_id: Identifier
    global_log_odds: BroughtLogOdds = None


class MatchPairForm(PairForm):
    """A pair that may be flagged."""

    flagged: Annotated[bool, Field(description="whether it was flagged the last time")] = False


class MemberAgainstJobs(_Form):
    """One member, many jobs."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MEMBER_AGAINST_JOBS]})

    feature_schema: SchemaName
    member: MemberForm
    jobs: Annotated[list[ScoredJobForm], Field(min_length=1)]

    def to_pairs(self) -> Pairs:
        """Return one pair a job, in the order of the jobs.

        Raises
        ------
        UnfitRequestError
            The jobs have different numbers of features.
        """
        return Pairs(
            self.feature_schema,
            _side("member", [self.member.member_id], [self.member.features]),
            _side("job", [job.job_id for job in self.jobs], [job.features for job in self.jobs]),
            np.zeros(len(self.jobs), np.int64),
            np.arange(len(self.jobs)),
            _brought(job.global_log_odds for job in self.jobs),
        )


class JobAgainstMembers(_Form):
    """One job, many members."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB_AGAINST_MEMBERS]})

    feature_schema: SchemaName
    job: JobForm
    members: Annotated[list[ScoredMemberForm], Field(min_length=1)]

    def to_pairs(self) -> Pairs:
        """Return one pair a member, in the order of the members.

        Raises
        ------
        UnfitRequestError
            The members have different numbers of features.
        """
        return Pairs(
            self.feature_schema,
            _side("member", [member.member_id for member in self.members], [m.features for m in self.members]),
            _side("job", [self.job.job_id], [self.job.features]),
            np.arange(len(self.members)),
            np.zeros(len(self.members), np.int64),
            _brought(member.global_log_odds for member in self.members),
        )


class Applicants(JobAgainstMembers):
    """The applicants of a job, each once."""

    def to_pairs(self) -> Pairs:
        """Return one pair an applicant, in their order.

        Raises
        ------
        UnfitRequestError
            A member is there twice, or they have different numbers of features.
        """
        pairs = super().to_pairs()
        _positions("member", pairs.members.ids)
        return pairs


class RankedApplicants(Applicants):
    """The applicants of a job, to be put in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RANKED_APPLICANTS]})

    exploration: Annotated[
        float, Field(ge=0, le=10, description="temperature of the draw, in log-odds; 0 sorts by score")
    ] = 0.0
    seed: Annotated[
        str, Field(max_length=256, description="the same seed gives the same draw, for pages of one list")
    ] = ""


class _Batch(_Form):
    feature_schema: SchemaName
    members: list[MemberForm]
    jobs: list[JobForm]

    def _of(self, pairs: Sequence[PairForm]) -> Pairs:
        members = _side("member", [member.member_id for member in self.members], [m.features for m in self.members])
        jobs = _side("job", [job.job_id for job in self.jobs], [job.features for job in self.jobs])
        member_at, job_at = _positions("member", members.ids), _positions("job", jobs.ids)
        try:
            member_of = [member_at[pair.member_id] for pair in pairs]
            job_of = [job_at[pair.job_id] for pair in pairs]
        except KeyError:
            raise UnfitRequestError("a pair names a member or a job that is not among those of the request") from None
        return Pairs(
            self.feature_schema,
            members,
            jobs,
            np.array(member_of, np.int64),
            np.array(job_of, np.int64),
            _brought(pair.global_log_odds for pair in pairs),
        )


class MixedBatch(_Batch):
    """Any members with any jobs; the features of each are sent once."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MIXED_BATCH]})

    pairs: Annotated[list[PairForm], Field(min_length=1)]

    def to_pairs(self) -> Pairs:
        """Return the pairs, in their order.

        Raises
        ------
        UnfitRequestError
            A pair names somebody else, somebody is there twice, or numbers of features differ.
        """
        return self._of(self.pairs)


class MatchBatch(_Batch):
    """Any members with any jobs, that may be flagged as quality matches."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MATCH_BATCH]})

    pairs: Annotated[list[MatchPairForm], Field(min_length=1)]

    def to_pairs(self) -> Pairs:
        """Return the pairs, in their order; see :meth:`MixedBatch.to_pairs`."""
        return self._of(self.pairs)


class PastScores(_Form):
    """Scores that were made before their outcomes were known, and the outcomes."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PAST_SCORES]})

    probabilities: list[Annotated[float, Field(ge=0, le=1)]]
    outcomes: Annotated[list[Literal[0, 1]], Field(description="1 for an application that was answered, else 0")]
    precision: Annotated[float, Field(gt=0, le=1, description="share of positives that flagged scores should have")]
    least_flagged: Annotated[
        int, Field(ge=1, le=2**53, description="a precision of fewer flagged scores is not believed")
    ] = 50


def _side(kind: str, ids: Sequence[str], features: Sequence[Sequence[float]]) -> Side:
    widths = {len(vector) for vector in features}
    if len(widths) > 1:
        raise UnfitRequestError(f"the {kind}s have different numbers of features: from {min(widths)} to {max(widths)}")
    return Side(ids, np.array(features, np.float64).reshape(len(ids), widths.pop() if widths else 0))


def _brought(log_odds: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in log_odds], np.float64)


def _positions(kind: str, ids: Sequence[str]) -> dict[str, int]:
    positions = dict(zip(ids, range(len(ids)), strict=True))
    if len(positions) < len(ids):
        raise UnfitRequestError(f"{len(ids) - len(positions)} of the {kind}s are there more than once")
    return positions
