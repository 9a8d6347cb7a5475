"""``stream-qa train``: an event log into a model bundle."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from stream_qa.bundle import Bundle, HeldOut, Manifest, load_bundle
from stream_qa.cli.moments import FORMATS, milliseconds
from stream_qa.cli.progress import counted
from stream_qa.coefficients import load_feature_names
from stream_qa.errors import TrainingError
from stream_qa.events import TopicNames
from stream_qa.labels import load_policy
from stream_qa.learning import FeatureSchema, Standardisation
from stream_qa.replay.log import read_log
from stream_qa.settings import load_settings
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.training.history import History, read_history
from stream_qa.training.joint_fit import HyperParameters, OnnxFit, Scales
from stream_qa.training.onnx_models import handed_in
from stream_qa.training.train import Training
from stream_qa.training.train import train as train_bundle
from stream_qa.training.trees import check_trees, grow_trees

_BAR_WIDTH = 40


class GlobalKind(StrEnum):
    """What the global model may be."""

    LOGISTIC = "logistic"
    TREES = "trees"
    ONNX = "onnx"


def train(
    logs: Annotated[list[Path], typer.Argument(help="Event logs: JSON Lines, gzip if the name ends in .gz.")],
    *,
    until: Annotated[
        datetime,
        typer.Option(
            formats=FORMATS,
            help="UTC; what happened then or later is not looked at, and labels are as they were known then.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory for the bundle; it must not exist.")],
    global_model: Annotated[
        GlobalKind,
        typer.Option(help="Logistic regression, gradient-boosted trees (extra trees), or an ONNX file (extra onnx)."),
    ] = GlobalKind.LOGISTIC,
    onnx: Annotated[
        Path | None, typer.Option(help="The file for --global-model onnx: features in, log-odds or a probability out.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Label policy; by default that of STREAM_QA_POLICY.")] = None,
    scales_of: Annotated[
        Path | None,
        typer.Option(
            help="A bundle whose feature scales to keep, so that the new one can take its place in a worker group."
        ),
    ] = None,
    plain_features: Annotated[
        bool,
        typer.Option(
            "--plain-features",
            help="Only clip features, at STREAM_QA_FEATURE_BOUND: for a group that began without a bundle.",
        ),
    ] = False,
    names: Annotated[
        Path | None,
        typer.Option(help="YAML file with the names of the features: warnings of drift, metrics and alerts use them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest and what else it says as JSON.")] = False,
) -> None:
    """Train a model bundle: global model, priors of both random effects, silence curves, coefficients to start from.

    Example: stream-qa train log.jsonl.gz --until 2012-10-01 --out bundle
    """
    if out.exists():
        raise typer.BadParameter(f"{out} exists already", param_hint="--out")
    if plain_features and scales_of is not None:
        raise typer.BadParameter("not together with --plain-features", param_hint="--scales-of")
    onnx_fit = _onnx_fit(global_model, onnx)
    settings = load_settings()
    feature_names = load_feature_names(names)
    kept = None if scales_of is None else load_bundle(scales_of)
    label_policy = load_policy(policy or settings.policy)
    moment = milliseconds(until)
    topics = TopicNames()
    console = Console(stderr=True)
    with counted(console) as progress:
        reading = progress.add_task("reading the log", total=None)
        log = read_log(logs, topics)
        collect_rarely()
        count = len(log.events)
        progress.update(reading, total=count, completed=count)
        labelling = progress.add_task("labelling", total=sum(event.time < moment for event in log.events))
        history = read_history(
            log.events,
            topics=topics,
            policy=label_policy,
            until=moment,
            max_message_bytes=settings.max_message_bytes,
            advance=lambda count: progress.advance(labelling, count),
        )
        training = train_bundle(
            history,
            policy=label_policy,
            until=moment,
            advance=_sweeps(progress),
            onnx_fit=onnx_fit,
            scales=_scales(history.schema, kept, settings.feature_bound if plain_features else None),
            names=feature_names,
        )
    manifest = training.write(out)
    if as_json:
        typer.echo(orjson.dumps(_report(manifest, training, history), option=orjson.OPT_INDENT_2))
    else:
        _show(Console(), out, manifest, training, history)


def _scales(schema: FeatureSchema, kept: Bundle | None, plain_bound: float | None) -> Scales | None:
    """Return the feature scales that were asked for; ``None`` for those of the log."""
    if kept is not None:
        if kept.feature_schema != schema:
            raise TrainingError(f"the log has features {schema}, and the bundle of --scales-of {kept.feature_schema}")
        return Scales(kept.global_model.member_features, kept.global_model.job_features)
    if plain_bound is None:
        return None
    return Scales(
        *(
            Standardisation(plain_bound, np.zeros(count), np.ones(count))
            for count in (schema.member_features, schema.job_features)
        )
    )


def _onnx_fit(kind: GlobalKind, path: Path | None) -> OnnxFit | None:
    if (kind is GlobalKind.ONNX) != (path is not None):
        raise typer.BadParameter("--global-model onnx and --onnx FILE go together", param_hint="--onnx")
    if path is not None:
        try:
            return handed_in(path.read_bytes())
        except OSError as error:
            raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="--onnx") from error
    if kind is GlobalKind.TREES:
        check_trees()
        return grow_trees
    return None


def _sweeps(progress: Progress) -> Callable[[str], None]:
    """Return what shows how far each fit is."""
    tasks: dict[str, TaskID] = {}

    def advance(fit: str) -> None:
        if fit not in tasks:
            tasks[fit] = progress.add_task(f"{fit}: sweeps at most", total=HyperParameters().most_sweeps)
        progress.advance(tasks[fit])

    return advance


def _report(manifest: Manifest, training: Training, history: History) -> dict[str, Any]:
    return {
        "manifest": manifest.model_dump(mode="json"),
        "positives_answered_by_day": training.answered_by_day,
        "rejected": dict(sorted(history.rejected.items())),
    }


def _show(console: Console, out: Path, manifest: Manifest, training: Training, history: History) -> None:
    description = manifest.description

    def say(sentence: str) -> None:
        console.print(sentence, highlight=False, soft_wrap=True)

    say(f"{out} is {manifest.version}")
    say(
        f"{description.applications} applications with final labels, {description.positives} of them positive; "
        f"{description.members} members, {description.jobs} jobs"
    )
    say(description.curves)
    if history.rejected:
        say("not used: " + ", ".join(f"{count} {reason}" for reason, count in sorted(history.rejected.items())))
    if not description.converged:
        say(f"the fit still moved after {description.sweeps} sweeps")
    held_out = description.held_out
    if held_out is None:
        say("too little data to hold some out")
    else:
        say(f"trained before the last four weeks and tried on their {held_out.applications} applications:")
        console.print(_quality(held_out), highlight=False)
    say("positives by the time to their first positive engagement:")
    table = Table("days", "share", "", box=None, pad_edge=False)
    for day, share in enumerate(training.answered_by_day, start=1):
        table.add_row(str(day), f"{share:.3f}", "█" * round(share * _BAR_WIDTH))
    console.print(table, highlight=False)


def _quality(held_out: HeldOut) -> Table:
    table = Table("", "AUC", "log-loss", box=None, pad_edge=False)
    for name, quality in (("global model only", held_out.global_only), ("with random effects", held_out.personalised)):
        table.add_row(name, "" if quality.auc is None else f"{quality.auc:.4f}", f"{quality.log_loss:.4f}")
    return table
