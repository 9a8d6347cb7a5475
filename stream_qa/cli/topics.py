"""``stream-qa topics``: compare the topics on the broker with the declared ones, and make them so."""

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console

from stream_qa.cli.client_log import quieten_client
from stream_qa.errors import NotConfirmedError
from stream_qa.settings import load_settings
from stream_qa.topics import Action, Plan, PlannedTopic, load_declarations, load_roles, permissions
from stream_qa.topics import apply as apply_to_broker
from stream_qa.topics import commands as acl_commands
from stream_qa.topics import compare as compare_with_broker
from stream_qa.topics.contract import as_json as as_json_text
from stream_qa.topics.contract import as_yaml
from stream_qa.topics.contract import asyncapi as asyncapi_document
from stream_qa.topics.plan import WHY_REFUSED

commands = typer.Typer(help="The topics on the broker: see what differs from their declaration, and apply it.")

#: The exit code of ``plan`` where ``apply`` would change something.
PENDING = 2

Partitions = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Partition count of all topics but dead letters, models and generations, instead of the declared one.",
    ),
]
ReplicationFactor = Annotated[
    int | None, typer.Option(min=1, help="Replication factor of new topics, instead of the declared one.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")]

_SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.CHANGE: ("~", "yellow"),
    Action.NOTHING: ("=", "dim"),
    Action.REFUSE: ("!", "bold red"),
}
_WAY_OUT = (
    "give the count that there is as --partitions; or make new topics with another under another "
    "STREAM_QA_TOPIC_PREFIX, by docs/operations.md#starting-a-new-group-from-the-inputs"
)


@commands.command()
def plan(partitions: Partitions = None, replication_factor: ReplicationFactor = None, as_json: AsJSON = False) -> None:
    """Print what apply would do, and change nothing.

    Signs: + create, ~ change the configuration, = nothing to do, ! refused.

    Exit codes: 0 nothing to do; 2 changes are pending; 1 refused, because a topic has another partition count than it
    must have, or no broker answers.

    Example: stream-qa topics plan --replication-factor 3 --json
    """
    quieten_client()
    settings = load_settings()
    planned = asyncio.run(
        compare_with_broker(settings.kafka, settings.topic_prefix, partitions, replication_factor, settings.generation)
    )
    _print(planned, ("to create", "to change"), as_json=as_json)
    if planned.refused:
        raise typer.Exit(1)
    if planned.pending:
        raise typer.Exit(PENDING)


@commands.command()
def apply(
    partitions: Partitions = None,
    replication_factor: ReplicationFactor = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Create the missing topics, set the declared configuration of the others, and print what was done.

    Shows the plan and asks, unless there is nothing to do or --yes says so. Nothing is ever deleted, and a second run
    changes nothing.

    Exit codes: 0 the topics are as declared; 1 refused, because a topic has another partition count than it must
    have, the answer was no, or there is no terminal and no --yes (nothing was changed then), or no broker answers.

    Example: stream-qa topics apply --partitions 12 --replication-factor 3 --yes
    """
    quieten_client()
    settings = load_settings()
    arguments = (settings.kafka, settings.topic_prefix, partitions, replication_factor, settings.generation)
    if not yes:
        _ask(asyncio.run(compare_with_broker(*arguments)), as_json=as_json)
    done = asyncio.run(apply_to_broker(*arguments))
    _print(done, ("created", "changed"), as_json=as_json)


@commands.command()
def acls(
    role: Annotated[str, typer.Argument(help="worker, producer, server or operator.")],
    principal: Annotated[str, typer.Option(help="To whom, as the broker names it: User:name.")],
    command_config: Annotated[
        str | None, typer.Option(help="The properties file by which kafka-acls.sh is to connect.")
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Print the kafka-acls commands that allow a role what it needs, and no more. Nothing is asked of the broker.

    Topics are those of STREAM_QA_TOPIC_PREFIX, the consumer group is STREAM_QA_APP_ID.

    Example: stream-qa topics acls worker --principal User:stream-qa-worker
    """
    settings = load_settings()
    roles = load_roles()
    if role not in roles:
        raise typer.BadParameter(f"there is no role {role}; there are {', '.join(roles)}")
    allowed = list(permissions(roles[role], settings.topics, settings.group_id))
    if as_json:
        typer.echo(orjson.dumps([each._asdict() for each in allowed], option=orjson.OPT_INDENT_2))
        return
    for line in acl_commands(allowed, principal, settings.broker, command_config):
        typer.echo(line)


@commands.command()
def asyncapi(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False) -> None:
    """Print the AsyncAPI 3 document of the topics, under the names that STREAM_QA_TOPIC_PREFIX gives them.

    Needs no broker. Without a prefix it is the file topics/asyncapi.yaml.

    Example: stream-qa topics asyncapi --json
    """
    document = asyncapi_document(load_declarations(), load_settings().topics)
    typer.echo((as_json_text if as_json else as_yaml)(document), nl=False)


def _ask(planned: Plan, *, as_json: bool) -> None:
    """Show a plan and ask whether to apply it; where nothing is to be done, there is nothing to ask.

    Raises
    ------
    PartitionCountError
        It cannot be applied.
    NotConfirmedError
        There is nobody to ask.
    """
    planned.raise_if_refused()
    if not planned.pending:
        return
    if as_json or not sys.stdin.isatty():
        raise NotConfirmedError("there is no terminal to ask whether the changes are wanted")
    _print(planned, ("to create", "to change"), as_json=False)
    typer.confirm("Apply this?", abort=True)


def _print(planned: Plan, words: tuple[str, str], *, as_json: bool) -> None:
    """Print a plan, or what was done of it: ``words`` are those for creating and changing."""
    if as_json:
        document = {**asdict(planned), "pending": planned.pending, "refused": planned.refused}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for topic in planned.topics:
        sign, style = _SIGNS[topic.action]
        console.print(f"{sign} {topic.name}{_what(topic)}", style=style)
        for line in _details(topic):
            console.print(f"    {line}", style=style)
    for name in planned.undeclared:
        console.print(f"  {name}: not declared, left alone")
    if planned.refused:
        console.print(f"refused: {WHY_REFUSED}. Way out: {_WAY_OUT}", style="bold red")
    counts = {action: len(planned.having(action)) for action in Action}
    console.print(
        f"{counts[Action.CREATE]} {words[0]}, {counts[Action.CHANGE]} {words[1]}, "
        f"{counts[Action.NOTHING]} as declared, {counts[Action.REFUSE]} refused"
    )


def _what(topic: PlannedTopic) -> str:
    match topic.action:
        case Action.CREATE:
            return f": {topic.partitions} partitions, replication factor {topic.replication_factor}"
        case Action.REFUSE:
            return f": has {topic.existing_partitions} partitions and must have {topic.partitions}"
        case _:
            return ""


def _details(topic: PlannedTopic) -> list[str]:
    if topic.action is Action.CREATE:
        return [f"{key}: {value}" for key, value in topic.config.items()]
    lines = [f"{change.key}: {change.found} -> {change.declared}" for change in topic.changes]
    if topic.existing_replication_factor != topic.replication_factor:
        lines.append(f"replication factor: {topic.existing_replication_factor}, left alone")
    return lines
