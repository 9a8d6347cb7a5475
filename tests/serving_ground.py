"""A scoring service that listens, over coefficients in memory."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx
import numpy as np
import uvicorn
from builders import START
from fastapi import FastAPI
from ports import free_port

from stream_qa.coefficients import CoefficientStore
from stream_qa.events import EntityKind, Generation, wire
from stream_qa.learning import FeatureSchema, LinearModel, Standardisation
from stream_qa.serving.application import create_application
from stream_qa.serving.followed import Followed
from stream_qa.serving.look_up import LookUps
from stream_qa.serving.scoring import Scorer
from stream_qa.serving.served import Served
from stream_qa.serving.serving import Serving
from stream_qa.settings import Settings

MODEL = "2026-01-01-abc"
SCHEMA = "two-and-one"


def model_scorer() -> Scorer:
    """Return a scorer of two features of the member and one of the job."""
    of_member = Standardisation(5.0, np.array([0.0, 10.0]), np.array([1.0, 2.0]))
    of_job = Standardisation(5.0, np.array([1.0]), np.array([4.0]))
    model = LinearModel(0.5, np.array([1.0, -2.0]), np.array([0.25]), of_member, of_job, MODEL)
    return Scorer(model, of_member, of_job, FeatureSchema(SCHEMA, 2, 1))


def learn(
    store: CoefficientStore,
    side: EntityKind,
    entity_id: str,
    coefficients: Sequence[float],
    *,
    version: int = 1,
    labels: int = 3,
    model_version: str = MODEL,
) -> None:
    """Let a store hold these coefficients of an entity."""
    packed = np.array(coefficients, "<f8").tobytes()
    store.apply([wire.Snapshot(side, entity_id, version, packed, model_version, labels, START + version)])


@dataclass
class Following:
    """Stands where the follower of the topics does, which needs a broker: it is what a test says."""

    is_ready: bool = True
    staleness: float | None = 0.25
    refusal: str | None = None
    failure: Exception | None = None
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _may_be_caught_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def caught_up(self) -> None:
        await self._may_be_caught_up.wait()

    async def run(self) -> None:
        if self.failure is not None:
            raise self.failure
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


PATIENT = Settings().model_copy(update={"serve_look_up_seconds": 60.0})
"""The defaults, but that a look-up on a busy machine may take longer than requests should wait."""


def application(
    store: CoefficientStore, following: Following | None = None, settings: Mapping[str, object] = MappingProxyType({})
) -> FastAPI:
    """Return a service over a store, with these settings in place of the defaults."""
    changed = PATIENT.model_copy(update=settings)
    return create_application(changed, serving(store, model_scorer(), following, changed))


def serving(
    store: CoefficientStore, scorer: Scorer, following: Following | None = None, settings: Settings | None = None
) -> Serving:
    """Return what serves one generation, and will never serve another."""
    return Serving(served(1, store, scorer, following, settings), _open_none, _no_switches)


def served(
    generation: int,
    store: CoefficientStore,
    scorer: Scorer,
    following: Following | None = None,
    settings: Settings | None = None,
) -> Served:
    """Return a generation over a store."""
    settings = settings or PATIENT
    followed = Followed(following or Following(), settings.serve_stale_seconds)
    return Served(generation, lambda: scorer, store, LookUps(store, settings.serve_look_up_seconds), followed)


def _open_none(generation: Generation) -> Served:
    raise AssertionError(f"nobody has switched to {generation.generation}")


async def _no_switches() -> AsyncGenerator[Generation | None, None]:
    yield None
    await asyncio.Event().wait()


@contextmanager
def listening(served: FastAPI) -> Iterator[str]:
    """Let a service listen on loopback, and give its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    try:
        # It is asked until it answers, or the thread has ended.
        while thread.is_alive():
            try:
                httpx.get(f"{address}/livez")
                break
            except httpx.ConnectError:
                continue
        yield address
    finally:
        server.should_exit = True
        thread.join()
