"""``stream-qa models``: model bundles that workers take up while they run."""

import asyncio
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import orjson
import typer

from stream_qa.bundle import MANIFEST, load_bundle
from stream_qa.events import PublishedModel
from stream_qa.settings import Settings, load_settings
from stream_qa.streaming import model_topic
from stream_qa.streaming.model_topic import Numbered

commands = typer.Typer(no_args_is_help=True, help="Model bundles that workers take up while they run.")

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]


@commands.command("publish")
def publish_model(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    *,
    location: Annotated[
        Path | None, typer.Option(help="The same directory as workers see it, where that is another path.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Publish a model bundle: workers take it up between two chunks, and carry on with what they have learned.

    It must have the feature schema and the feature scales of the bundle with which the group began: see
    `stream-qa train --scales-of`. Workers that refuse it say so in their logs, and go on with the one they have.

    Example: stream-qa models publish bundle
    """
    settings = load_settings()
    found = load_bundle(bundle)
    model = PublishedModel(
        version=found.version,
        feature_schema=str(found.feature_schema),
        location=str(location or bundle.resolve()),
        sha256=sha256((bundle / MANIFEST).read_bytes()).hexdigest(),
    )
    number = asyncio.run(model_topic.publish(settings.kafka, settings.topics.models, model))
    if as_json:
        typer.echo(orjson.dumps(_document(Numbered(number, model)), option=orjson.OPT_INDENT_2))
    else:
        typer.echo(f"{model.version} is published with number {number}")


@commands.command("list")
def list_models(*, as_json: AsJSON = False) -> None:
    """List the published models, the newest last: that one workers use, unless they have refused it.

    Example: stream-qa models list --json
    """
    models = asyncio.run(_published(load_settings()))
    if as_json:
        typer.echo(orjson.dumps([_document(model) for model in models], option=orjson.OPT_INDENT_2))
        return
    for number, model in models:
        typer.echo(f"{number}  {model.version}  {model.feature_schema}  {model.location}")
    if not models:
        typer.echo("no model is published")


async def _published(settings: Settings) -> list[Numbered]:
    """Return the newest publication of every model."""
    async with aclosing(model_topic.published(settings.kafka, settings.topics.models)) as found:
        # Compaction may not have come by yet.
        newest = {numbered.model.version: numbered for numbered in await anext(found)}
    return sorted(newest.values(), key=lambda numbered: numbered.number)


def _document(numbered: Numbered) -> dict[str, object]:
    return {"number": numbered.number, **numbered.model.model_dump()}
