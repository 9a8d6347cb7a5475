"""How the service is, what it scores by, and what an entity has learned."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from stream_qa.events import EntityKind
from stream_qa.events.fields import Identifier
from stream_qa.serving.answers import CoefficientsAnswer, ModelAnswer, Problem, StateAnswer
from stream_qa.serving.json_route import JSONRoute, json_response
from stream_qa.serving.problems import request_problems
from stream_qa.serving.service import ScoringService


def health_routes(not_ready: Callable[[], str | None], notices: Callable[[], list[str]]) -> APIRouter:
    """Return the routes for those who start and stop services; they need no token.

    Parameters
    ----------
    not_ready
        Returns why scores are not what they should be yet, or are not any more; ``None`` where they are.
    notices
        Returns what else there is to say.
    """
    router = APIRouter(tags=["state"])

    @router.get("/livez")
    async def live() -> StateAnswer:
        """Say that the process answers."""
        return StateAnswer(state="live", notices=[])

    @router.get("/readyz", responses={503: {"model": Problem, "description": "not ready"}}, response_model=StateAnswer)
    async def ready() -> Response:
        """Say whether scores are personalised with coefficients that are followed; 503 and why where they are not."""
        reason = not_ready()
        if reason is not None:
            return JSONResponse({"detail": reason}, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_response({"state": "ready", "notices": notices()})

    return router


def metrics_routes(service: ScoringService) -> APIRouter:
    """Return the route for Prometheus."""
    router = APIRouter(tags=["state"])

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


def model_routes(service: ScoringService) -> APIRouter:
    """Return the routes that say what scores are made of."""
    router = APIRouter(prefix="/v1", tags=["model"], route_class=JSONRoute)

    @router.get("/model")
    async def model() -> ModelAnswer:
        """Say which model this service scores by, and which features it is for."""
        served = service.served()
        scorer = served.scorer()
        schema = scorer.feature_schema
        return ModelAnswer(
            generation=served.generation,
            model_version=scorer.model.version,
            feature_schema=None if schema is None else schema.name,
            member_features=None if schema is None else schema.member_features,
            job_features=None if schema is None else schema.job_features,
        )

    @router.get(
        "/coefficients",
        response_model=CoefficientsAnswer,
        responses={**request_problems(), 503: {"model": Problem, "description": "the store does not answer"}},
    )
    async def coefficients(side: EntityKind, entity_id: Annotated[Identifier, Query()]) -> Response:
        """Say what one entity has learned; nothing and version 0 for one that has not."""
        found = await service.served().look_ups.look_up({side: [entity_id]})
        if found.failure is not None:
            return JSONResponse({"detail": found.failure}, HTTPStatus.SERVICE_UNAVAILABLE)
        held = found.held[side]
        version, model_version = int(held.versions[0]), held.model_versions[0]
        return json_response(
            {
                "side": side,
                "entity_id": entity_id,
                "version": version,
                "labels": int(held.labels[0]),
                "newest_at": int(held.newest[0]) if version else None,
                "model_version": model_version or None,
                "coefficients": held.vectors[0].tolist(),
            }
        )

    return router
