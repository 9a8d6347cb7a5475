"""JSON in and out: read in bounded time by a parser that knows no number that is not finite, and written as it is."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException


class Limits(NamedTuple):
    """What a request may take."""

    seconds: float
    """From its head to the end of its body."""
    most_bytes: int


class JSONRoute(APIRoute):
    """A route of an application whose state has the ``limits`` of requests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request, with a request of ours in its place."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JSONRequest(request.scope, request.receive))

        return handle_json


class _JSONRequest(Request):
    _content: bytes | None = None

    async def body(self) -> bytes:
        if self._content is None:
            limits: Limits = self.app.state.limits
            try:
                async with asyncio.timeout(limits.seconds):
                    self._content = await self._read(limits.most_bytes)
            except TimeoutError:
                sentence = f"the request did not arrive within {limits.seconds:g} seconds"
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, sentence) from None
        return self._content

    async def _read(self, most_bytes: int) -> bytes:
        content = bytearray()
        async for part in self.stream():
            content += part
            if len(content) > most_bytes:
                sentence = f"the request has more than the {most_bytes} bytes that are read"
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
        return bytes(content)

    async def json(self) -> Any:  # noqa: ANN401 # whatever the client sends
        return orjson.loads(await self.body())


def json_response(answer: Mapping[str, Any]) -> Response:
    """Return an answer that is known to be as its form says."""
    return Response(orjson.dumps(answer), media_type="application/json")
