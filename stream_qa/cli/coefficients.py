"""``stream-qa coefficients``: what members and jobs have learned, as a server that follows the topics has it."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.moments import in_words
from stream_qa.coefficients import (
    Change,
    Coefficients,
    CoefficientStore,
    FeatureNames,
    Named,
    Renewal,
    entity_key,
    load_feature_names,
)
from stream_qa.coefficients.messages import entity_of, key_of, vector
from stream_qa.errors import InvalidEventError, UnknownEntityError
from stream_qa.events import EntityKind, wire
from stream_qa.following import Follower
from stream_qa.settings import Settings, load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.snapshots import publish_snapshots
from stream_qa.topics import partition_counts

commands = typer.Typer(no_args_is_help=True, help="What members and jobs have learned.")

_SHOWN = 5

T = TypeVar("T")

NamesFile = Annotated[
    Path | None,
    typer.Option("--names", help="YAML file with the lists member_features and job_features: what they are called."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Entities = Annotated[list[str] | None, typer.Argument(help="member:ID or job:ID; without any, all.")]


class Order(StrEnum):
    """By what entities are put in order."""

    STRENGTH = "strength"
    LABELS = "labels"
    NEWEST = "newest"


class Side(StrEnum):
    """Whose coefficients."""

    MEMBER = "member"
    JOB = "job"


@commands.command()
def get(
    entity: Annotated[str, typer.Argument(help="member:ID or job:ID.")],
    *,
    names_file: NamesFile = None,
    as_json: AsJSON = False,
) -> None:
    """Show what a member or a job has learned: what it prefers, its version, and how fresh that is.

    Reads the coefficient topics, of the one partition.

    Example: stream-qa coefficients get job:j-17
    """
    side, entity_id = _entity(entity)
    names = load_feature_names(names_file)
    settings = load_settings()
    store = _run(_read(settings, [entity_key(side, entity_id)]))
    found = store.get(side, entity_id)
    if found is None:
        raise UnknownEntityError(f"{entity} has learned nothing: the global model decides")
    document = _document(side, entity_id, found, names)
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None, show_header=False, padding=(0, 2), pad_edge=False)
    applications = "application" if found.labels == 1 else "applications"
    table.add_row(entity, f"version {found.version}, from {found.labels} {applications}")
    table.add_row("newest label", in_words(found.newest_at))
    table.add_row("model version", found.model_version)
    table.add_row("intercept", f"{found.vector[0]:+.3f}")
    features = names.strongest(side, found.vector, len(found.vector))
    table.add_row(f"this {side} prefers", _listed([each for each in features if each.value > 0]))
    table.add_row("and avoids", _listed([each for each in features if each.value < 0]))
    Console().print(table, highlight=False, markup=False)


@commands.command()
def top(
    *,
    side: Annotated[Side, typer.Option(help="Members or jobs.")] = Side.JOB,
    by: Annotated[
        Order,
        typer.Option(help="strength: how far their scores are moved; labels: applications behind them; newest label."),
    ] = Order.STRENGTH,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    names_file: NamesFile = None,
    as_json: AsJSON = False,
) -> None:
    """Show the members or jobs that have learned most.

    Strength is the length of the coefficient vector: by how much, in log-odds, it moves an average score.

    Example: stream-qa coefficients top --side member --by labels
    """
    names = load_feature_names(names_file)
    store = _run(_read(load_settings(), None))
    measures: dict[Order, Callable[[Coefficients], float]] = {
        Order.STRENGTH: lambda each: float(np.linalg.norm(each.vector)),
        Order.LABELS: lambda each: each.labels,
        Order.NEWEST: lambda each: each.newest_at,
    }
    of_side = [(entity_id, found) for found_side, entity_id, found in store.entities() if found_side == side.value]
    first = sorted(of_side, key=lambda each: (-measures[by](each[1]), each[0]))[:count]
    if as_json:
        documents = [_document(side.value, entity_id, found, names) for entity_id, found in first]
        typer.echo(orjson.dumps(documents, option=orjson.OPT_INDENT_2))
        return
    table = Table(side.value, "version", "applications", "newest label", "strength", "intercept", "prefers and avoids")
    table.box, table.pad_edge = None, False
    for entity_id, found in first:
        table.add_row(
            entity_id,
            str(found.version),
            str(found.labels),
            in_words(found.newest_at),
            f"{np.linalg.norm(found.vector):.3f}",
            f"{found.vector[0]:+.3f}",
            _listed(names.strongest(side.value, found.vector, _SHOWN)),
        )
    Console().print(table, highlight=False, markup=False)


@commands.command()
def watch(
    entities: Entities = None,
    *,
    changes: Annotated[int | None, typer.Option(min=1, help="End after so many changes; else with Ctrl-C.")] = None,
    names_file: NamesFile = None,
    as_json: AsJSON = False,
) -> None:
    """Show changes as they come: which coefficients moved, and where they are now.

    Example: stream-qa coefficients watch job:j-17 member:m-4
    """
    names = load_feature_names(names_file)
    keys = None if not entities else {entity_key(*_entity(entity)) for entity in entities}
    settings = load_settings()
    with suppress(KeyboardInterrupt):
        _run(_watch(settings, keys, changes, lambda *change: _show(*change, names=names, as_json=as_json)))


@commands.command()
def snapshot(
    entities: Entities = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print how many there were as JSON.")] = False,
) -> None:
    """Publish full snapshots now, of some entities or of all, from the workers' changelogs.

    With the settings of the workers, which may run meanwhile. Servers renew by them what they hold; those that start
    take all.

    Example: stream-qa coefficients snapshot job:j-17
    """
    keys = None if not entities else {entity_key(*_entity(entity)) for entity in entities}
    settings = load_settings()
    published = _run(publish_snapshots(settings, build_pipeline(settings), keys))
    if keys is not None and published < len(keys):
        raise UnknownEntityError(f"{len(keys) - published} of {len(keys)} entities have learned nothing")
    if as_json:
        typer.echo(orjson.dumps({"snapshots": published}))
    else:
        typer.echo(f"{published} snapshots published")


def _entity(text: str) -> tuple[EntityKind, str]:
    try:
        return entity_of(text.encode())
    except InvalidEventError:
        raise typer.BadParameter(f"{text!r} is neither member:ID nor job:ID") from None


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    quieten_client()
    return asyncio.run(coroutine)


async def _read(settings: Settings, keys: Collection[bytes] | None) -> CoefficientStore:
    """Return a store that has come to the ends of the topics; of the partitions of ``keys``, or of all."""
    follower = await _follower(settings, keys)
    await _while_running(follower, follower.ready())
    return follower.store


async def _watch(
    settings: Settings,
    keys: Collection[bytes] | None,
    most: int | None,
    show: Callable[[Change, Coefficients | None], None],
) -> CoefficientStore:
    """Show what changes after the beginning, until there were ``most`` changes."""
    follower = await _follower(settings, keys)
    shown = 0
    enough = asyncio.Event()

    def on_changes(changes: Sequence[Change]) -> None:
        nonlocal shown
        for change in changes:
            wanted = keys is None or key_of(change) in keys
            if follower.is_ready and wanted and not isinstance(change, wire.Snapshot | Renewal) and not enough.is_set():
                show(change, follower.store.get(change.entity_kind, change.entity_id))
                shown += 1
                if shown == most:
                    enough.set()

    async def until_enough() -> None:
        await follower.ready()
        Console(stderr=True).print("following; Ctrl-C ends it", style="dim")
        await enough.wait()

    follower.on_changes = on_changes
    await _while_running(follower, until_enough())
    return follower.store


async def _follower(settings: Settings, keys: Collection[bytes] | None) -> Follower:
    counts = await partition_counts(settings.kafka, [settings.topics.coefficients])
    count = counts[settings.topics.coefficients]
    partitions = None if keys is None or count is None else {partition_of(key, count) for key in keys}
    return Follower(CoefficientStore(), settings.kafka, settings.topics, partitions)


async def _while_running(follower: Follower, waiting: Coroutine[Any, Any, Any]) -> None:
    """Run a follower until something else is done, or it fails."""
    running, until = asyncio.create_task(follower.run()), asyncio.create_task(waiting)
    try:
        await asyncio.wait([running, until], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        until.cancel()
        follower.stop()
        await asyncio.gather(running, until, return_exceptions=True)


def _document(side: EntityKind, entity_id: str, found: Coefficients, names: FeatureNames) -> dict[str, Any]:
    strongest = names.strongest(side, found.vector, len(found.vector))
    return {
        "entity_kind": side,
        "entity_id": entity_id,
        "version": found.version,
        "labels": found.labels,
        "newest_at": found.newest_at,
        "model_version": found.model_version,
        "strength": float(np.linalg.norm(found.vector)),
        "intercept": float(found.vector[0]),
        "features": [each._asdict() for each in strongest],
    }


def _show(change: Change, found: Coefficients | None, *, names: FeatureNames, as_json: bool) -> None:
    entity = key_of(change).decode()
    if isinstance(change, wire.Delta):
        numbers = vector(change.change)
        moved = [Named("intercept", float(numbers[0])), *names.strongest(change.entity_kind, numbers, len(numbers))]
    else:
        moved = []
    if as_json:
        moves = [each._asdict() for each in moved]
        now = None if found is None else _document(change.entity_kind, change.entity_id, found, names)
        typer.echo(orjson.dumps({"entity": entity, "moves": moves, "now": now}))
    elif found is None:
        typer.echo(f"{entity} dropped")
    else:
        features = _listed(names.strongest(change.entity_kind, found.vector, _SHOWN))
        typer.echo(
            f"{in_words(found.newest_at)}  {entity} version {found.version}, from {found.labels}: "
            f"moved {_listed(moved[:_SHOWN])}; now intercept {found.vector[0]:+.3f}, {features}"
        )


def _listed(named: Sequence[Named]) -> str:
    return ", ".join(f"{name} {value:+.3f}" for name, value in named) or "nothing"
