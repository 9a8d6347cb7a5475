"""``stream-qa capacity``: how many partitions, workers, disks and bytes a marketplace needs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.capacity.needs import Load, Needs, needs
from stream_qa.capacity.sample import Sample, simulated_events, take_sample
from stream_qa.durations import DAY
from stream_qa.events.fields import MAX_FEATURES
from stream_qa.replay.log import read_log
from stream_qa.settings import load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.topics import load_declarations

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MINUTE = 60


def capacity(
    applications_per_day: Annotated[float, typer.Option(min=1, help="Applications a day, in the mean.")],
    *,
    members: Annotated[int, typer.Option(min=0, help="Members with coefficients.")],
    jobs: Annotated[int, typer.Option(min=0, help="Jobs with coefficients.")],
    features: Annotated[
        int, typer.Option(min=1, max=MAX_FEATURES, help="Features a side, without the intercept.")
    ] = 16,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="Event logs of your own as the sample, instead of a simulated one: weeks of them."),
    ] = None,
    peak: Annotated[float, typer.Option(min=1, help="The busiest hour against the mean.")] = Load.peak,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of a core that a worker may use in the busiest hour.")
    ] = Load.utilisation,
    restore_minutes: Annotated[
        float, typer.Option(min=1, help="A worker whose disk has vanished must go on within so many.")
    ] = Load.restore_minutes,
    replication: Annotated[int, typer.Option(min=1, help="Replicas of every partition.")] = Load.replication,
    servers: Annotated[int, typer.Option(min=0, help="Hosts that follow the coefficients.")] = Load.servers,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print sample and needs as JSON.")] = False,
) -> None:
    """Say what a marketplace of some size needs, by a sample of events through the stages on this machine.

    The settings count: the label policy, the rule, the bundle. CPU time is that of this machine.

    Example: stream-qa capacity --applications-per-day 1e6 --members 5000000 --jobs 300000
    """
    settings = load_settings()
    console = Console(stderr=True)
    collect_rarely()
    with console.status("a sample goes through the stages"):
        pipeline = build_pipeline(settings)
        events = read_log(log, settings.topics).events if log else simulated_events(pipeline, features, seed)
        sample = take_sample(pipeline, events)
    load = Load(
        applications_per_day=applications_per_day,
        members=members,
        jobs=jobs,
        features=features,
        peak=peak,
        utilisation=utilisation,
        restore_minutes=restore_minutes,
        replication=replication,
        servers=servers,
        groups=settings.groups,
        notify=pipeline.notify is not None,
        cache_bytes=settings.state_cache_bytes,
        write_buffer_bytes=settings.state_write_buffer_bytes,
    )
    needed = needs(load, sample, pipeline.label.policy, load_declarations(), settings.topics)
    if as_json:
        document = {"load": asdict(load), "sample": asdict(sample), "needs": asdict(needed)}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    _show(load, sample, needed)
    open_days = pipeline.label.policy.retention / DAY
    if sample.days < 2 * open_days:
        console.print(
            f"the sample spans {sample.days:.0f} days, and applications are open for {open_days:.0f}: "
            "what is said of state is of less than a whole life",
            style="yellow",
        )


def _show(load: Load, sample: Sample, needed: Needs) -> None:
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for what, value, why in (
        (
            "events a second",
            f"{needed.events_a_second:,.0f}",
            f"in the busiest hour, {1 + sample.engagements:.2f} an application",
        ),
        (
            "workers",
            f"{needed.workers:,}",
            _workers(load, needed),
        ),
        ("STREAM_QA_GROUPS", f"{needed.groups:,}", _groups(load, needed)),
        ("partitions", f"{needed.partitions:,}", "for all time: they cannot be added later"),
        ("state", _bytes(needed.state), _state(sample)),
        ("disk of a worker", _bytes(needed.worker_disk), "a cache: it may vanish"),
        ("memory of a worker", _bytes(needed.worker_memory), "with its caches and write buffers full"),
        ("restoring", _duration(needed.restore_seconds), "of a worker whose disk has vanished"),
        ("broker, in", _bytes(needed.broker_bytes_in) + "/s", f"busiest hour, {load.replication} replicas"),
        ("broker, out", _bytes(needed.broker_bytes_out) + "/s", f"busiest hour, workers and {load.servers} servers"),
        ("disk of the brokers", _bytes(needed.broker_disk_total), f"{load.replication} replicas together"),
        *(
            (f"  {topic}", _bytes(size), f"{sample.sent[topic].records:.2f} records an application")
            for topic, size in sorted(needed.broker_disk.items(), key=lambda item: -item[1])
        ),
        ("memory of Redis", _bytes(needed.redis_memory), "if servers keep coefficients there; else RocksDB, on disk"),
    ):
        table.add_row(what, value, why)
    Console().print(table)


def _workers(load: Load, needed: Needs) -> str:
    rate = f"{needed.worker_events_a_second:,.0f} events a second each at {load.utilisation:.0%} of it"
    return f"of one core: {needed.workers_for_events} by {rate}, {needed.workers_for_restoring} to be restored in time"


def _groups(load: Load, needed: Needs) -> str:
    what = "so that each worker has as many"
    return what if needed.groups == load.groups else f"{what}: it is {load.groups} now"


def _state(sample: Sample) -> str:
    an_entity, an_open, one_over = (
        _bytes(size) for size in (sample.entity_bytes, sample.open_state.bytes, sample.over_state.bytes)
    )
    return f"{an_entity} a member or job, {an_open} an application that is open, {one_over} one that is over"


def _bytes(size: float) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} bytes"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MINUTE else f"{seconds / _MINUTE:.0f} min"
