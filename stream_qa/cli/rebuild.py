"""``stream-qa rebuild``: a new generation, which learns everything anew beside the one that serves."""

import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.moments import FORMATS, in_words, milliseconds
from stream_qa.demo.worker_process import worker_process
from stream_qa.errors import WorkerStartError
from stream_qa.rebuild import beginning, switching
from stream_qa.rebuild.beginning import Wanted
from stream_qa.rebuild.comparing import compare_generations
from stream_qa.rebuild.comparison import Comparison, Verdict
from stream_qa.rebuild.inputs import Inputs
from stream_qa.rebuild.progress import Pace, Progress
from stream_qa.rebuild.switching import State
from stream_qa.settings import PREFIX, Settings, load_settings
from stream_qa.streaming.group_offsets import group_offsets

commands = typer.Typer(
    no_args_is_help=True, help="A new generation beside the one that serves: everything is learned anew from the log."
)

#: The exit code of ``compare`` where the newer generation is the worse one.
WORSE = 3
#: The exit code of ``finish`` where it would delete something and was not told to.
PENDING = 2

_LOOK_SECONDS = 1.0
_WORKER = (sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info")

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[
    int | None, typer.Option("--generation", min=1, help="Which; by default the newest that does not serve.")
]


@commands.command()
def start(
    *,
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle with which it begins; by default that of STREAM_QA_BUNDLE.")
    ] = None,
    location: Annotated[
        Path | None, typer.Option(help="The bundle's directory as servers see it, where that is another path.")
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Let members and jobs start from the bundle's coefficients.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Begin also where the inputs do not go back far enough, or too far.")
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Begin another one also where the newest began with the same bundle.")
    ] = False,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run a worker of it, or only print what runs one.")
    ] = True,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End, and the worker with it, when it has caught up.")
    ] = False,
    web_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="The worker's web server listens there; by default none runs.")
    ] = None,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, help="Of its topics; by default that of the applications.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON every second.")] = False,
) -> None:
    """Begin a new generation, or go on with it: topics of its own, a worker, and how far it is until it is ended.

    It reads the same inputs from their beginning, with the settings that this command has, and touches nothing of the
    others. Begun again with the same bundle it goes on where it was.

    Example: stream-qa rebuild start --bundle newer
    """
    quieten_client()
    settings = load_settings()
    say = Console(stderr=True, soft_wrap=True).print
    bundle = bundle or settings.bundle
    wanted = Wanted(
        bundle=None if bundle is None else bundle.resolve(),
        location=location,
        warm_start=warm_start,
        anyway=anyway,
        new=new,
        replication_factor=replication_factor,
    )
    of = asyncio.run(beginning.begin(settings, wanted, lambda inputs: say(_in_words(inputs), highlight=False)))
    variables = beginning.environment(of)
    if location is not None and not worker:
        variables[f"{PREFIX}BUNDLE"] = str(location)
    if not worker:
        _print_command(of, variables, as_json=as_json)
        return
    variables[f"{PREFIX}WEB_ENABLED"] = str(web_port is not None).lower()
    if web_port is not None:
        variables[f"{PREFIX}WEB_PORT"] = str(web_port)
    log = of.state_directory / "rebuild.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"generation {of.generation} begins; the log of its worker is {log}", highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with worker_process(variables, log) as process:

            def check() -> None:
                if process.poll() is not None:
                    raise WorkerStartError(f"the worker ended with code {process.returncode}; its log is {log}")

            asyncio.run(_until_caught_up(of, check, as_json=as_json))
            if until_caught_up:
                return
            say("its worker runs until this is ended with Ctrl-C", highlight=False)
            process.wait()
            check()
    except KeyboardInterrupt:
        say("ended; begin it again to go on", highlight=False)


@commands.command()
def status(
    *,
    generation: Number = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show how far one is until it has caught up.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Show the generations: which serves, with which bundle each began, and how far each is with the inputs.

    Example: stream-qa rebuild status --json
    """
    quieten_client()
    settings = load_settings()
    if wait:
        number = asyncio.run(switching.chosen(settings, generation))
        asyncio.run(_until_caught_up(settings.model_copy(update={"generation": number}), _nothing, as_json=as_json))
        return
    states = [
        state for state in asyncio.run(switching.states(settings)) if generation in (None, state.generation.generation)
    ]
    if as_json:
        typer.echo(orjson.dumps([_state_document(state) for state in states], option=orjson.OPT_INDENT_2))
        return
    for state in states:
        version = "none" if state.generation.bundle is None else state.generation.bundle.version
        word = "serves" if state.serves else "ended" if state.generation.ended else "beside"
        progress = state.progress
        where = (
            "" if progress is None else f", {progress.processed} of {progress.of} processed, {progress.waiting} wait"
        )
        typer.echo(f"generation {state.generation.generation}: model {version}, {word}{where}")


@commands.command()
def compare(
    *,
    generation: Number = None,
    against: Annotated[
        int | None, typer.Option("--with", min=1, help="With which; by default the one that serves.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=FORMATS, help="Only applications sent then (UTC) or later; by default what no bundle saw."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Only applications before then (UTC).")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Compare the scores of two generations, each made when the application came, with what became of it.

    Of the applications that both have scored and whose windows are over. Brackets are 95% intervals, over jobs.

    Exit codes: 3 the generation's log-loss is higher than the other's, by the whole interval.

    Example: stream-qa rebuild compare --since 2026-03-01
    """
    quieten_client()
    moments = tuple(None if moment is None else milliseconds(moment) for moment in (since, until))
    found = asyncio.run(compare_generations(load_settings(), generation, against, *moments))
    if as_json:
        typer.echo(orjson.dumps(asdict(found) | {"verdict": found.verdict}, option=orjson.OPT_INDENT_2))
    else:
        _print_comparison(found)
    if found.verdict is Verdict.WORSE:
        raise typer.Exit(WORSE)


@commands.command()
def switch(
    *,
    generation: Number = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also where it has not caught up.")] = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for it to come up with the inputs.")] = 60,
    as_json: AsJSON = False,
) -> None:
    """Let servers serve a generation: each fills a store of it beside the old one, and then changes over at once.

    Example: stream-qa rebuild switch
    """
    quieten_client()
    chosen = asyncio.run(switching.switch(load_settings(), generation, patience=None if anyway else patience))
    _print_serving(chosen.generation, chosen.instead_of, as_json=as_json)


@commands.command()
def undo(*, as_json: AsJSON = False) -> None:
    """Let servers serve the generation again that served before the last switch.

    Its workers must still run, or its coefficients are those of when they ended.

    Example: stream-qa rebuild undo
    """
    quieten_client()
    chosen = asyncio.run(switching.undo(load_settings()))
    _print_serving(chosen.generation, chosen.instead_of, as_json=as_json)


@commands.command()
def finish(
    generation: Annotated[int, typer.Argument(min=1, help="Which, one that does not serve and has no workers.")],
    *,
    labels: Annotated[bool, typer.Option("--labels", help="Also its labels, which are the training set.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only shown.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Delete the topics of a generation that does not serve any more, but for its labels. They cannot be brought back.

    Exit codes: 2 there is something to delete, and --yes was not given.

    Example: stream-qa rebuild finish 1 --yes
    """
    quieten_client()
    topics = asyncio.run(switching.finish(load_settings(), generation, with_labels=labels, really=yes))
    if as_json:
        typer.echo(orjson.dumps({"topics": topics, "deleted": yes}, option=orjson.OPT_INDENT_2))
    else:
        for topic in topics:
            typer.echo(f"{'deleted' if yes else 'would delete'} {topic}")
    if topics and not yes:
        raise typer.Exit(PENDING)


async def _until_caught_up(settings: Settings, check: Callable[[], None], *, as_json: bool) -> None:
    """Show how far a generation is until it has caught up; ``check`` raises where that will never be."""
    console = Console(stderr=True, soft_wrap=True)
    began, pace = time.monotonic(), Pace()
    async with group_offsets(settings) as offsets:
        caught_up = asyncio.create_task(offsets.catch_up())
        try:
            with console.status("looking") as shown:
                while not caught_up.done():
                    check()
                    progress = pace.progress(await offsets.look())
                    shown.update(_progress_in_words(settings.generation, progress))
                    if as_json:
                        _print_line(settings.generation, progress, caught_up=False)
                    await asyncio.wait([caught_up], timeout=_LOOK_SECONDS)
            caught_up.result()
        finally:
            caught_up.cancel()
        progress = pace.progress(await offsets.look())
    if as_json:
        _print_line(settings.generation, progress, caught_up=True)
    seconds = time.monotonic() - began
    console.print(
        f"generation {settings.generation} has caught up: {progress.processed} records of the inputs, "
        f"{seconds:.0f} s since this began to look",
        highlight=False,
    )


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _nothing() -> None:
    pass


def _progress_in_words(generation: int, progress: Progress) -> str:
    speed = "" if progress.per_second is None else f", {progress.per_second:.0f} a second"
    left = "" if progress.seconds_left is None else f", about {progress.seconds_left:.0f} s left"
    return (
        f"generation {generation}: {progress.processed} of {progress.of} ({progress.share:.0%}){speed}{left}, "
        f"{progress.waiting} between the stages"
    )


def _print_line(generation: int, progress: Progress, *, caught_up: bool) -> None:
    document = {"generation": generation, **asdict(progress), "share": progress.share, "caught_up": caught_up}
    typer.echo(orjson.dumps(document))


def _print_command(settings: Settings, variables: dict[str, str], *, as_json: bool) -> None:
    command = ["faust", *_WORKER[3:]]
    if as_json:
        document = {"generation": settings.generation, "environment": variables, "command": command}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(shlex.join(command))


def _print_serving(generation: int, instead_of: int | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"serving": generation, "instead_of": instead_of}))
    else:
        typer.echo(f"generation {generation} is to serve instead of {instead_of}")


def _state_document(state: State) -> dict[str, Any]:
    progress = None if state.progress is None else asdict(state.progress) | {"share": state.progress.share}
    return {**state.generation.model_dump(exclude={"instead_of"}), "serves": state.serves, "progress": progress}


def _in_words(inputs: Inputs) -> str:
    since = "are empty" if inputs.since is None else f"go back to {in_words(inputs.since)} of event time"
    arrived = "" if inputs.arrived_at is None else f", which arrived {in_words(inputs.arrived_at)}"
    gone = f"; {inputs.gone} records before are gone" if inputs.gone else ""
    return f"the inputs have {inputs.records} records and {since}{arrived}{gone}"


def _print_comparison(found: Comparison) -> None:
    rows = [
        ("", f"generation {found.older}", f"generation {found.newer}", "difference"),
        ("log-loss", found.older_quality.log_loss, found.newer_quality.log_loss, found.log_loss_difference),
        ("AUC", found.older_quality.auc, found.newer_quality.auc, found.auc_difference),
        ("log-loss, global", found.older_quality.global_log_loss, found.newer_quality.global_log_loss, None),
    ]
    for name, *figures in rows:
        cells = ("" if figure is None else str(figure) for figure in figures)
        typer.echo((f"{name:18}" + "".join(f"{cell:26}" for cell in cells)).rstrip())
    typer.echo(
        f"{found.applications} applications of {found.jobs} jobs since {in_words(found.since)}, "
        f"{found.positives} of them answered; {found.differing} more are not labelled alike: {found.verdict}"
    )
    if found.refused:
        typer.echo(f"{found.refused} records that are no scores or no labels were left out")
