"""``stream-qa evaluate``: a log and a model bundle into how good scores would have been, beside what else there is."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.bundle import load_bundle
from stream_qa.cli.moments import FORMATS, milliseconds
from stream_qa.cli.progress import counted
from stream_qa.durations import MINUTE
from stream_qa.errors import EvaluationError
from stream_qa.evaluation.evaluate import ModelScores, Quality, Scored, Target, gain, quality
from stream_qa.evaluation.models import TREES, Ground, ModelName, model_scores
from stream_qa.evaluation.outcomes import eventual_outcomes
from stream_qa.evaluation.plots import plots
from stream_qa.evaluation.replayed import replayed
from stream_qa.evaluation.report import check_plots, figure, page, staleness_table, write_page
from stream_qa.evaluation.staleness import Staleness, staleness
from stream_qa.evaluation.trees import check_trees, trees_available
from stream_qa.replay.log import read_log
from stream_qa.settings import load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely

_ARTICLE = "LinkedIn's article of 2020 on such a model says +27%, on its own data"
_TARGETS = {Target.FINAL: "final labels", Target.OUTCOME: "eventual outcomes"}


def evaluate(
    logs: Annotated[list[Path], typer.Argument(help="Event logs: JSON Lines, gzip if the name ends in .gz.")],
    *,
    bundle: Annotated[Path, typer.Option(help="The model bundle, trained on nothing of --from or later.")],
    since: Annotated[
        datetime,
        typer.Option("--from", formats=FORMATS, help="UTC; scores of applications sent then or later count."),
    ],
    until: Annotated[
        datetime, typer.Option(formats=FORMATS, help="UTC; scores of applications sent then or later do not count.")
    ],
    target: Annotated[
        Target, typer.Option(help="The final label, or whether a positive engagement ever comes in the log.")
    ] = Target.FINAL,
    models: Annotated[
        str | None, typer.Option(help="Which models, separated by commas; by default all that can be made.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Label policy; by default that of STREAM_QA_POLICY.")] = None,
    chunk_minutes: Annotated[
        float,
        typer.Option(min=0, max=60, help="The most event time that the stages take at once; less is nearer to live."),
    ] = 5,
    report: Annotated[
        Path | None, typer.Option(help="Directory for a report, a page index.html that needs nothing beside it.")
    ] = None,
    ages: Annotated[
        bool,
        typer.Option(
            "--staleness",
            help="Instead of models, print how accuracy falls with the time in which servers get nothing new, counted "
            "from --from.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with an object a model, or with --staleness an age.")
    ] = False,
) -> None:
    """Replay a log with no look-ahead, and say how good the scores were that applications got when they arrived.

    Example: stream-qa evaluate log.jsonl.gz --bundle bundle --from 2012-10-01 --until 2013-04-01
    """
    console = Console(stderr=True)
    names = _asked_for(models, console, none=ages and report is None)
    if report is not None:
        check_plots()
    settings = load_settings()
    settings = settings.model_copy(update={"bundle": bundle, "policy": policy or settings.policy})
    trained = load_bundle(bundle)
    first, end = milliseconds(since), milliseconds(until)
    longest = round(chunk_minutes * MINUTE)
    if first >= end:
        raise typer.BadParameter("--from is not before --until", param_hint="--from")
    if trained.manifest.description.until > first:
        raise EvaluationError(f"the bundle {trained.version} was trained on what happened after --from")
    pipeline = build_pipeline(settings)
    with counted(console) as progress:
        reading = progress.add_task("reading the log", total=None)
        log = read_log(logs, settings.topics)
        collect_rarely()
        progress.update(reading, total=len(log.events), completed=len(log.events))
        replaying = progress.add_task("replaying", total=len(log.events))
        rows = replayed(
            log.events,
            pipeline=pipeline,
            bundle=trained,
            since=first,
            until=end,
            longest=longest,
            advance=lambda count: progress.advance(replaying, count),
        )
        truth = rows.final
        if target is Target.OUTCOME:
            truth = eventual_outcomes(
                [(name, rows.jobs.ids[job]) for name, job in zip(rows.ids, rows.jobs.of.tolist(), strict=True)],
                log.events,
                settings.topics.engagements,
                pipeline.label.policy,
                settings.max_message_bytes,
            )
        scored = Scored.of(rows, truth, first)
        ground = Ground(log.events, pipeline, trained, rows, truth, first, end, longest)
        models_scores: dict[str, ModelScores] = {}
        for name in names:
            task = progress.add_task(name, total=None)
            models_scores[name] = model_scores(name, ground)
            progress.update(task, total=1, completed=1)
        found = [quality(name, scores, scored) for name, scores in models_scores.items()]
    if report is not None:
        drawn = plots(models_scores, rows, scored, since=first, window=pipeline.label.policy.window)
        fact = (
            f"Applications sent from {since:%F %T} to {until:%F %T} (UTC), held against their {_TARGETS[target]}. "
            f"Model bundle {trained.version}, learning rule {settings.learning_rule}."
        )
        content = page("Evaluation", [fact, *_gains(found)], found, drawn)
        console.print(f"{write_page(report, content)} is the report", highlight=False)
    if ages:
        _show_ages(staleness(rows, scored, first), as_json=as_json)
        return
    if as_json:
        typer.echo(orjson.dumps([asdict(one) for one in found], option=orjson.OPT_INDENT_2))
        return
    Console().print(_table(found), highlight=False)
    for sentence in _gains(found):
        Console(soft_wrap=True).print(sentence, highlight=False)


def _asked_for(models: str | None, console: Console, *, none: bool) -> list[ModelName]:
    """Return the models that are compared; ``none`` where nobody would see them."""
    if none:
        return []
    return _all(console) if models is None else _names(models)


def _all(console: Console) -> list[ModelName]:
    if trees_available():
        return list(ModelName)
    console.print("no trees: they need scikit-learn, the extra `evaluation`", highlight=False)
    return [name for name in ModelName if name not in TREES]


def _names(models: str) -> list[ModelName]:
    try:
        names = [ModelName(name.strip()) for name in models.split(",")]
    except ValueError as error:
        known = ", ".join(ModelName)
        raise typer.BadParameter(f"{error}; the models are {known}", param_hint="--models") from None
    if TREES & set(names):
        check_trees()
    return names


def _show_ages(found: list[Staleness], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps([asdict(age) for age in found], option=orjson.OPT_INDENT_2))
        return
    names, *rows = staleness_table(found)
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)


def _table(found: list[Quality]) -> Table:
    title = f"{found[0].applications} applications"
    table = Table(title, "AUC", "95%", "log-loss", "ECE", "NDCG@10", "pair AUC", box=None, pad_edge=False)
    for one in found:
        low_to_high = "" if one.auc_low is None else f"{one.auc_low:.4f}-{one.auc_high:.4f}"
        table.add_row(
            one.name,
            figure(one.auc),
            low_to_high,
            figure(one.log_loss),
            figure(one.ece),
            figure(one.ndcg_at_10),
            figure(one.pair_auc),
        )
    return table


def _gains(found: list[Quality]) -> list[str]:
    """Return by how much the pipeline's AUC is above the trees', in a sentence for each of them."""
    by_name = {one.name: one for one in found}
    personalised = by_name.get(ModelName.PERSONALISED)
    sentences = []
    for name in sorted(TREES & set(by_name)):
        share = None if personalised is None else gain(personalised, by_name[name])
        if share is not None:
            sentences.append(f"The AUC of personalised is {share:+.1%} relative to that of {name}; {_ARTICLE}.")
    return sentences
