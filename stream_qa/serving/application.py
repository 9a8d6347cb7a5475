"""The service's HTTP interface, put together on one page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from stream_qa import __version__
from stream_qa.products import MatchPolicy, TopPolicy
from stream_qa.serving.access import access_checks
from stream_qa.serving.json_route import Limits
from stream_qa.serving.metrics import Measured, ServiceMetrics
from stream_qa.serving.page import page_routes
from stream_qa.serving.problems import answer_problems
from stream_qa.serving.product_routes import product_routes
from stream_qa.serving.score_routes import score_routes
from stream_qa.serving.service import ScoringService
from stream_qa.serving.serving import Serving
from stream_qa.serving.state_routes import health_routes, metrics_routes, model_routes
from stream_qa.settings import Settings

_DESCRIPTION = """Scores how likely members are to hear back from jobs, with what was learned of both until now.

Requests carry the features; the service has the global model and the newest coefficients. Log-odds add up from three
parts: the global model's, the member's and the job's."""


def create_application(settings: Settings, serving: Serving) -> FastAPI:
    """Return the service.

    Parameters
    ----------
    settings
        Limits, token and the products' policies.
    serving
        What answers, kept up to date while the service runs; closed when it ends.
    """
    metrics = ServiceMetrics(serving.now, serving.not_ready)
    service = ScoringService(serving.now, metrics, settings.serve_max_pairs)

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        async with serving.running():
            yield

    application = FastAPI(
        title="stream_qa",
        description=_DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        # Their pages fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    application.state.limits = Limits(settings.serve_request_seconds, settings.serve_max_bytes)
    answer_problems(application)
    checks = access_checks(settings.serve_token)
    match_policy = MatchPolicy(settings.match_threshold, settings.match_margin, settings.match_labels)
    top_policy = TopPolicy(settings.top_share, settings.top_applicants)
    application.include_router(health_routes(serving.not_ready, serving.notices))
    application.include_router(page_routes())
    for router in (
        score_routes(service),
        product_routes(service, match_policy, top_policy),
        model_routes(service),
        metrics_routes(service),
    ):
        application.include_router(router, dependencies=checks)
    application.add_middleware(Measured, metrics=metrics)
    return application
