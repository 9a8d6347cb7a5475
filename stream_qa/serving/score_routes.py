"""Scores: a member against jobs, a job against members, and any pairs."""

from fastapi import APIRouter, Response

from stream_qa.serving.answers import ScoresAnswer
from stream_qa.serving.json_route import JSONRoute, json_response
from stream_qa.serving.problems import request_problems
from stream_qa.serving.requests import JobAgainstMembers, MemberAgainstJobs, MixedBatch
from stream_qa.serving.scoring import Pairs
from stream_qa.serving.service import ScoringService


def score_routes(service: ScoringService) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["scores"], route_class=JSONRoute, responses=request_problems())

    async def scores(pairs: Pairs) -> Response:
        _, answer = await service.score(pairs)
        return json_response(answer)

    @router.post("/scores/member", response_model=ScoresAnswer)
    async def member_against_jobs(request: MemberAgainstJobs) -> Response:
        """Score one member against many jobs."""
        return await scores(request.to_pairs())

    @router.post("/scores/job", response_model=ScoresAnswer)
    async def job_against_members(request: JobAgainstMembers) -> Response:
        """Score one job against many members."""
        return await scores(request.to_pairs())

    @router.post("/scores/batch", response_model=ScoresAnswer)
    async def any_pairs(request: MixedBatch) -> Response:
        """Score any pairs of members and jobs; the features of each are sent once."""
        return await scores(request.to_pairs())

    return router
