"""What a marketplace makes of scores: match flags, standings, rankings."""

import numpy as np
from fastapi import APIRouter, Response

from stream_qa.errors import UnfitRequestError
from stream_qa.products import MatchPolicy, TopPolicy, judge, lowest_threshold, ranking, standings
from stream_qa.serving.answers import (
    MatchesAnswer,
    RankingAnswer,
    StandingsAnswer,
    ThresholdAnswer,
    judged,
    ranked,
    standing,
)
from stream_qa.serving.json_route import JSONRoute, json_response
from stream_qa.serving.problems import request_problems
from stream_qa.serving.requests import Applicants, MatchBatch, PastScores, RankedApplicants
from stream_qa.serving.service import ScoringService


def product_routes(service: ScoringService, match_policy: MatchPolicy, top_policy: TopPolicy) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["products"], route_class=JSONRoute, responses=request_problems())

    @router.post("/quality-matches", response_model=MatchesAnswer)
    async def quality_matches(request: MatchBatch) -> Response:
        """Say which pairs are quality matches; send the flags of the last time, so that they do not flicker."""
        scored, answer = await service.score(request.to_pairs())
        flagged = np.array([pair.flagged for pair in request.pairs], np.bool_)
        verdicts = judge(scored.probabilities, scored.labels, flagged, match_policy)
        return json_response(judged(answer, verdicts, scored.labels.tolist()))

    @router.post("/quality-matches/threshold", response_model=ThresholdAnswer)
    async def threshold(request: PastScores) -> Response:
        """Find the lowest threshold with a wanted precision, from past scores and what became of them."""
        service.check_count(len(request.probabilities))
        if len(request.probabilities) != len(request.outcomes):
            raise UnfitRequestError(
                f"there are {len(request.probabilities)} probabilities and {len(request.outcomes)} outcomes"
            )
        probabilities, outcomes = np.array(request.probabilities), np.array(request.outcomes, np.float64)
        found = lowest_threshold(probabilities, outcomes, request.precision, request.least_flagged)
        names = ("threshold", "precision", "recall", "flagged")
        return json_response(dict(zip(names, found or (None,) * len(names), strict=True)))

    @router.post("/standings", response_model=StandingsAnswer)
    async def standing_of_each(request: Applicants) -> Response:
        """Say where every applicant of a job stands among them, and who is a top applicant."""
        scored, answer = await service.score(request.to_pairs())
        return json_response(standing(answer, standings(scored.log_odds, top_policy)))

    @router.post("/rankings", response_model=RankingAnswer)
    async def applicant_ranking(request: RankedApplicants) -> Response:
        """Put the applicants of a job into the order in which a recruiter should see them."""
        scored, answer = await service.score(request.to_pairs())
        members = scored.pairs.members.ids
        by_score = ranking(scored.log_odds, members)
        order = by_score
        if request.exploration:
            order = ranking(scored.log_odds, members, request.exploration, request.seed)
        return json_response(ranked(answer, order, by_score))

    return router
