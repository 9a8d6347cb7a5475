"""The Faust application: membership, agents and the web server are Faust's; chunks and state are ours."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import faust

from stream_qa.settings import Settings
from stream_qa.stages.pipeline import Pipeline
from stream_qa.streaming import transport
from stream_qa.streaming.health import Health, add_health
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.metrics_page import add_metrics
from stream_qa.streaming.recovery import LaneTables
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.worker import Worker, fail

#: How often the positions of the lanes are shown as the group's offsets.
_SHOW_OFFSETS_SECONDS = 1.0
#: Chunks between the transport and the lanes; the lanes' own limits hold long before.
_BUFFERED_CHUNKS = 4096


class RawSchema(faust.Schema):  # type: ignore[misc] # Faust is not typed for subclasses
    """Hands a chunk to the agent as it is: decoding is the stages' work, who keep what does not decode."""

    def compile(self, app: faust.App, **_options: Any) -> Any:  # noqa: ANN401 # Faust's own
        """Return Faust's hook that turns a message into an event."""

        async def event(message: Any, *, propagate: bool = False) -> Any:  # noqa: ANN401, ARG001
            return app.create_event(message.key, message.value, message.headers, message)

        return event


class ChunkApp(faust.App):  # type: ignore[misc] # Faust is not typed for subclasses
    """A Faust application whose agents receive chunks.

    Parameters
    ----------
    settings
        The worker's settings.
    pipeline
        The stages.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self.stream_qa_settings = settings
        self.lanes = Lanes(settings, pipeline, fail)
        self.fail = fail
        super().__init__(
            settings.group_id,
            broker=[f"{transport.SCHEME}://{address}" for address in settings.kafka.addresses],
            broker_credentials=_credentials(settings.kafka.connection_options()),
            datadir=str(settings.state_directory / "faust"),
            store="memory://",
            Worker=Worker,
            TableManager=LaneTables,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_commit_interval=_SHOW_OFFSETS_SECONDS,
            stream_wait_empty=False,
            stream_buffer_maxsize=_BUFFERED_CHUNKS,
            worker_redirect_stdouts=False,
            web_enabled=settings.web_enabled,
            web_bind=settings.web_host,
            web_host=settings.web_host,
            web_port=settings.web_port,
        )
        self.health = Health(self, self.lanes, settings.kafka, settings.stall_seconds)
        add_health(self, self.health)
        add_metrics(self, self.lanes, pipeline.label, settings.topics)

    def read(self, *topics: str, by: str) -> None:
        """Add the agent that hands the chunks of ``topics`` to the stage ``by``."""

        async def hand_over(stream: Any) -> None:  # noqa: ANN401 # Faust's own
            chunks: AsyncIterator[Any] = stream.events()
            async for event in chunks:
                chunk: Chunk = event.value
                self.lanes.add(chunk)

        # Without acknowledgements: nobody reads them here, and Faust would keep every chunk's offset for ever.
        self.agent(self.topic(*topics, schema=RawSchema(), acks=False), name=by)(hand_over)


def _credentials(options: Mapping[str, Any]) -> Any:  # noqa: ANN401 # Faust is not typed
    """Return the options of connections in Faust's terms, for the producer that it keeps."""
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=context,
            mechanism=options["sasl_mechanism"],
        )
    return None if context is None else faust.SSLCredentials(context)
