"""What is wrong with a request, in one sentence that repeats neither ids nor features."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stream_qa.errors import OnnxModelError, OversizedRequestError, UnfitRequestError
from stream_qa.serving.answers import Problem

_log = logging.getLogger(__name__)

_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def request_problems() -> dict[int | str, dict[str, Any]]:
    """Return how the schema of the interface describes the refusals of a request."""
    return {status.value: {"model": Problem, "description": status.phrase} for status in _REFUSALS}


def answer_problems(application: FastAPI) -> None:
    """Let an application answer what is wrong with requests."""

    @application.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, _sentence(error))

    @application.exception_handler(UnfitRequestError)
    async def unfit(_request: Request, error: UnfitRequestError) -> Response:
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    # A model's file may not run on what no application was like that it was tried on. Its runtime may name numbers.
    @application.exception_handler(OnnxModelError)
    async def not_run(_request: Request, error: OnnxModelError) -> Response:
        found = type(error.__cause__ or error).__name__
        _log.warning("the ONNX model cannot be run on a request's features (%s)", found)
        _log.debug("a request is not scored: %s", error)
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, "the ONNX model cannot be run on these features")

    @application.exception_handler(OversizedRequestError)
    async def oversized(_request: Request, error: OversizedRequestError) -> Response:
        return _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))

    @application.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        sentence = error.detail
        if error.status_code == HTTPStatus.NOT_FOUND:
            sentence = "there is nothing at this path; /openapi.json says what there is"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            sentence = f"{request.method} is not what this path takes"
        return _answer(error.status_code, sentence, error.headers)


def _sentence(error: RequestValidationError) -> str:
    details = error.errors()
    first = details[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first['ctx']['error']}"
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {first['msg']}{more}"


def _answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": sentence}, status, headers)
