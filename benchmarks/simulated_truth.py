"""Does it learn what is true? On a simulated marketplace, where the truth is known.

    python benchmarks/simulated_truth.py [--seeds 0 1] [--chunk-minutes 5]

Each seed is a marketplace of twelve weeks by the defaults of ``stream-qa simulate``. A bundle is trained on the first
four; applications of the other eight are scored with no look-ahead, by the built-in policy and by curves. Printed are
the AUC against what becomes of applications in the end, for coefficients that are published when they are learned,
hourly, daily and weekly, and the correlation of the learned effects' part of the score with the true one.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import orjson

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.durations import DAY
from stream_qa.evaluation.replayed import replayed
from stream_qa.learning.metrics import auc
from stream_qa.replay.log import LogEvent, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import EventLog, Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.training.history import read_history
from stream_qa.training.train import train

MARKET = Marketplace()
SINCE = MARKET.start + 28 * DAY
UNTIL = MARKET.start + MARKET.days * DAY
RULES = ("none", "later-response", "curve")


def main() -> None:
    """Simulate, train, replay by each rule, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--chunk-minutes", type=float, default=5)
    options = arguments.parse_args()
    print("| seed | silence | global | when learned | hourly | daily | weekly | truth | correlation with the truth |")
    print("|---|---|---|---|---|---|---|---|---|")
    for seed in options.seeds:
        truth = simulate(MARKET, np.random.default_rng(seed))
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            events = written(truth, directory / "log.jsonl")
            bundle = trained(events, directory / "bundle")
            for rule in RULES:
                policy = directory / f"{rule}.yaml"
                policy.write_text(f"silence: {{rule: {rule}}}\n")
                settings = Settings(bundle=directory / "bundle", policy=policy)
                figures = row(truth, events, bundle, settings, round(options.chunk_minutes * 60_000))
                print(f"| {seed} | {rule} | {' | '.join(f'{figure:.4f}' for figure in figures)} |", flush=True)


def written(truth: EventLog, path: Path) -> list[LogEvent]:
    """Write the log; return it as it is read back."""
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in truth.events()))
    events = read_log([path], Settings().topics).events
    collect_rarely()
    return events


def trained(events: list[LogEvent], directory: Path) -> Bundle:
    """Train on what is known when the first application is scored."""
    settings = Settings()
    policy = build_pipeline(settings).label.policy
    history = read_history(
        events, topics=settings.topics, policy=policy, until=SINCE, max_message_bytes=settings.max_message_bytes
    )
    train(history, policy=policy, until=SINCE).write(directory)
    return load_bundle(directory)


def row(truth: EventLog, events: list[LogEvent], bundle: Bundle, settings: Settings, longest: int) -> list[float]:
    """Return the figures of a row."""
    rows = replayed(events, pipeline=build_pipeline(settings), bundle=bundle, since=SINCE, until=UNTIL, longest=longest)
    number = np.array([int(name.removeprefix("application-")) for name in rows.ids])
    counts = rows.applied_at >= SINCE
    outcome = truth.outcome[number][counts].astype(float)
    published = rows.published
    true_effects = (truth.member_log_odds + truth.job_log_odds)[number]
    scores = (
        rows.global_log_odds,
        rows.log_odds,
        published.hourly,
        published.daily,
        published.weekly,
        rows.global_log_odds + true_effects,
    )
    areas = [auc(outcome, one[counts]) for one in scores]
    learned = (rows.log_odds - rows.global_log_odds)[counts]
    return [*(area for area in areas if area is not None), float(np.corrcoef(learned, true_effects[counts])[0, 1])]


if __name__ == "__main__":
    main()
