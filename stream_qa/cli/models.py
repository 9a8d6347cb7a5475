"""``stream-qa models``: model bundles that workers take up while they run."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from stream_qa.bundle import Bundle, difference, load_bundle, published_model
from stream_qa.cli.bundle_difference import show_difference
from stream_qa.cli.client_log import quieten_client
from stream_qa.errors import RollbackError
from stream_qa.events import PublishedModel
from stream_qa.settings import Settings, load_settings
from stream_qa.streaming import model_topic
from stream_qa.streaming.publications import Publication, Publications, publications

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
    model = published_model(load_bundle(bundle), location)
    number = asyncio.run(model_topic.publish(settings.kafka, settings.topics.models, model))
    _say_published(number, model, as_json=as_json)


@commands.command("list")
def list_models(*, as_json: AsJSON = False) -> None:
    """List the published models, the newest last, which of them is in use, and why others cannot be.

    In use is the newest that fits the bundle with which the group began and that can be read: workers that see the same
    directories and have the same STREAM_QA_BUNDLE use that one.

    Example: stream-qa models list --json
    """
    quieten_client()
    found = asyncio.run(publications(load_settings()))
    if as_json:
        typer.echo(orjson.dumps([_document(found, one) for one in found.all], option=orjson.OPT_INDENT_2))
        return
    for one in found.all:
        state = "in use" if one is found.in_use else f"refused: {one.problem}" if one.problem else ""
        if not state and one.model.version in found.withdrawn:
            state = "rolled back"
        model = one.model
        typer.echo(f"{one.number}  {model.version}  {model.feature_schema}  {model.location}  {state}".rstrip())
    if not found.all:
        typer.echo("no model is published")


@commands.command("rollback")
def roll_back(
    version: Annotated[
        str | None, typer.Argument(help="The version to go back to; by default the one before that in use.")
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Publish an earlier bundle again, under a new number: workers take it up as they take up a new one.

    The one that was in use counts as rolled back: the next roll-back goes further back, not to it. Before the first
    published bundle, that of STREAM_QA_BUNDLE is the earlier one.

    Example: stream-qa models rollback
    """
    quieten_client()
    settings = load_settings()
    number, model = asyncio.run(_roll_back(settings, version))
    _say_published(number, model, as_json=as_json)


@commands.command("diff")
def diff_models(
    one: Annotated[str, typer.Argument(help="A bundle's directory, or the version of a published one.")],
    other: Annotated[str, typer.Argument(help="Another one.")],
    *,
    as_json: AsJSON = False,
) -> None:
    """Say what differs between two bundles: training period, global model, priors, curves, schema, held-back figures.

    Example: stream-qa models diff bundle newer
    """
    quieten_client()
    found = difference(*_bundles([one, other]))
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        show_difference(Console(soft_wrap=True), found)


async def _roll_back(settings: Settings, version: str | None) -> tuple[int, PublishedModel]:
    """Publish the bundle to go back to; return its number and what was published."""
    found = await publications(settings)
    withdrawn = found.in_use
    try:
        back = found.before(version).model
    except RollbackError:
        first = None if settings.bundle is None else load_bundle(settings.bundle)
        if withdrawn is None or first is None or version not in (None, first.version):
            raise
        if first.version in {withdrawn.model.version, *found.withdrawn}:
            raise
        back = published_model(first)
    model = back.model_copy(update={"withdraws": None if withdrawn is None else withdrawn.model.version})
    return await model_topic.publish(settings.kafka, settings.topics.models, model), model


def _bundles(names: list[str]) -> list[Bundle]:
    """Return bundles by their directories or their versions."""
    of_topic: dict[str, Publication] = {}
    if not all(Path(name).exists() for name in names):
        found = asyncio.run(publications(load_settings()))
        of_topic = {one.model.version: one for one in found.all}
    return [_bundle(name, of_topic.get(name)) for name in names]


def _bundle(name: str, published: Publication | None) -> Bundle:
    if published is None or Path(name).exists():
        return load_bundle(Path(name))
    return load_bundle(Path(published.model.location), published.model.sha256)


def _say_published(number: int, model: PublishedModel, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"number": number, **model.model_dump()}, option=orjson.OPT_INDENT_2))
    else:
        instead = "" if model.withdraws is None else f", in the place of {model.withdraws}"
        typer.echo(f"{model.version} is published with number {number}{instead}")


def _document(found: Publications, one: Publication) -> dict[str, Any]:
    return {
        "number": one.number,
        **one.model.model_dump(),
        "in_use": one is found.in_use,
        "problem": one.problem,
        "rolled_back": one.model.version in found.withdrawn,
    }
