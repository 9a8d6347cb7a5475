"""Write the page of results: train on what was known in October 2012, score the half year after it.

    python examples/github_pull_requests/results.py pull_requests.csv.gz docs/results.md

Every figure of the page comes from the commands that stand beside it; they take about an hour.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
STREAM_QA = Path(sys.executable).with_name("stream-qa")
SINCE, UNTIL = "2012-10-01", "2013-04-01"
LEARNERS = "personalised,global,batch-daily-fast"
DEPLOYABLE = "personalised,global,trees-once,trees-monthly,batch-daily-14-day,batch-daily-fast"
#: As the page of results names it.
_ARTICLE = "[LinkedIn's article](comparison.md#linkedins-article-and-lambda-learner)"


class Case(NamedTuple):
    """One table of the page."""

    title: str
    text: str
    log: str
    bundle: str
    policy: str
    options: list[str]
    settings: Mapping[str, str] = {}
    """Environment variables."""

    @property
    def is_by_age(self) -> bool:
        """Whether it is about ages of coefficients and not about models."""
        return "--staleness" in self.options


CASES = [
    Case(
        "Merges and rejections are seen, the final label",
        "Against whether a request is merged within 14 days.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        [],
    ),
    Case(
        "Staleness: what servers lose that get nothing new",
        f"The pipeline learns on as in the first table. Servers got the last on {SINCE}, of members (who open "
        "requests), of jobs (the projects), or of both, and of the other side what was learned when the day began. AUC "
        "by how long ago that was; what is frozen by its difference to what is live.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        ["--staleness"],
    ),
    Case(
        "Merges and rejections are seen, the outcome, 14 days",
        "Against whether a request is ever merged; the learner takes 14 days of silence for a no. "
        "Most requests that wait for longer are merged here.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        ["--target", "outcome", "--models", DEPLOYABLE],
    ),
    Case(
        "Merges and rejections are seen, the outcome, answers alone",
        "The same where only answers are labels, whenever they come.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit-only",
        ["--target", "outcome", "--models", f"{LEARNERS},oracle"],
    ),
    Case(
        "Rejections withheld, silence by curves",
        "Nobody says no: silence must. Against the final label. Who waits for 14 days, as batch-daily-14-day does, "
        "has the same labels whether or not there are rejections: its row is in the first table.",
        "silent.jsonl.gz",
        "silent-bundle",
        "curve",
        ["--models", LEARNERS],
    ),
    Case(
        "Rejections withheld, silence by later answers",
        f"The rule of {_ARTICLE}: no, when the project answers a request that was opened later.",
        "silent.jsonl.gz",
        "silent-bundle",
        "later-response",
        ["--models", LEARNERS],
    ),
    Case(
        "Rejections withheld, waiting for 14 days",
        "Silence says nothing before the window is over.",
        "silent.jsonl.gz",
        "silent-bundle",
        "explicit",
        ["--models", LEARNERS],
    ),
    Case(
        "Another rule: a window of the last 32 applications",
        "As in the first table, with `window` in place of `adaptive-sgd`.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        ["--models", "personalised"],
        {"STREAM_QA_LEARNING_RULE": "window"},
    ),
    Case(
        "Another rule: plain steps",
        "As in the first table, with `sgd`.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        ["--models", "personalised"],
        {"STREAM_QA_LEARNING_RULE": "sgd"},
    ),
    Case(
        "Nothing fades",
        "As in the first table, where what was learned long ago counts as much as what was learned today.",
        "explicit.jsonl.gz",
        "explicit-bundle",
        "explicit",
        ["--models", "personalised"],
        {"STREAM_QA_DECAY_DAYS": "0"},
    ),
]


def main() -> None:
    """Make the logs and bundles, run every case, write the page."""
    parser = argparse.ArgumentParser(description="Write the page of results.")
    parser.add_argument("table", type=Path, help="the table of pull requests")
    parser.add_argument("page", type=Path, help="the page to write")
    arguments = parser.parse_args()
    table = arguments.table.resolve()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for log, more in (("explicit.jsonl.gz", []), ("silent.jsonl.gz", ["--withhold-rejections"])):
            _run(directory, [sys.executable, str(HERE / "to_events.py"), *more, str(table), log])
            bundle = log.replace(".jsonl.gz", "-bundle")
            _run(directory, [str(STREAM_QA), "train", log, "--until", SINCE, "--out", bundle, "--json"])
        found = [
            (case, json.loads(_run(directory, [str(STREAM_QA), *_evaluation(case), "--json"], case.settings)))
            for case in CASES
        ]
    arguments.page.write_text(_page(found), encoding="utf-8")


def _evaluation(case: Case) -> list[str]:
    policy = str(HERE / "policies" / f"{case.policy}.yaml")
    moments = ["--from", SINCE, "--until", UNTIL]
    return ["evaluate", case.log, "--bundle", case.bundle, *moments, "--policy", policy, *case.options]


def _run(directory: Path, command: list[str], settings: Mapping[str, str] | None = None) -> str:
    print(" ".join(command), file=sys.stderr)
    environment = {**os.environ, **(settings or {})}
    ran = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    # So that one who stops it halfway has what was found by then.
    print(ran.stdout, file=sys.stderr)
    return ran.stdout


def _page(found: list[tuple[Case, list[dict[str, Any]]]]) -> str:
    example = "examples/github_pull_requests"
    introduction = (
        f"Pull requests (`{example}`) as applications, to projects as jobs. Trained on "
        f"what was known on {SINCE}; scored are the requests from then until {UNTIL}, each when it was opened, with "
        "nothing known of later. [Evaluation](evaluation.md) says what models and figures are. Intervals are 95%, by "
        "projects."
    )
    lines = [
        "# Results",
        "",
        "<!-- Written by `make evaluate`. -->",
        "",
        introduction,
        "",
        f"    python {example}/to_events.py pull_requests.csv.gz explicit.jsonl.gz",
        f"    python {example}/to_events.py --withhold-rejections pull_requests.csv.gz silent.jsonl.gz",
        f"    stream-qa train explicit.jsonl.gz --until {SINCE} --out explicit-bundle",
        f"    stream-qa train silent.jsonl.gz --until {SINCE} --out silent-bundle",
    ]
    for case, models in found:
        settings = "".join(f"{name}={value} " for name, value in case.settings.items())
        command = " ".join(_evaluation(case)).replace(str(HERE), example)
        lines += ["", f"## {case.title}", "", case.text, "", f"    {settings}stream-qa {command}", ""]
        lines += _ages(models) if case.is_by_age else _table(models)
    return "\n".join(lines) + "\n"


def _ages(ages: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| days | applications | live | members frozen | jobs frozen | both frozen | global alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for age in ages:
        frozen = (age[name] - age["live"] for name in ("members_frozen", "jobs_frozen", "both_frozen", "global_alone"))
        figures = " | ".join([f"{age['live']:.4f}", *(f"{difference:+.4f}" for difference in frozen)])
        lines.append(f"| {age['from_day']} to {age['until_day'] - 1} | {age['applications']} | {figures} |")
    return lines


def _table(models: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{models[0]['applications']} applications:",
        "",
        "| model | AUC | 95% | log-loss | ECE | NDCG@10 | pair AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in models:
        auc, low, high = (f"{model[name]:.4f}" for name in ("auc", "auc_low", "auc_high"))
        rest = " | ".join(f"{model[name]:.4f}" for name in ("log_loss", "ece", "ndcg_at_10", "pair_auc"))
        lines.append(f"| {model['name']} | {auc} | {low} to {high} | {rest} |")
    by_name = {model["name"]: model["auc"] for model in models}
    if "trees-once" in by_name:
        gain = by_name["personalised"] / by_name["trees-once"] - 1
        lines += ["", f"AUC of personalised relative to trees-once: {gain:+.1%} ({_ARTICLE}: +27%, on its own data)."]
    return lines


if __name__ == "__main__":
    main()
