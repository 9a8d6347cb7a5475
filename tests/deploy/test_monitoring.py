"""Alert rules and dashboard: what they name exists, and each alert is given when it should be, and only then."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring import (
    ALERTS,
    DASHBOARD,
    DEPLOY,
    Query,
    exported,
    exported_by_services,
    names_in,
    panel_queries,
    program,
    queries,
)

EXPORTED = exported() | exported_by_services()
RUNBOOK = (DEPLOY.parent / "docs" / "runbook.md").read_text()
#: Minutes of a trial.
MINUTES = 60

Series = dict[str, str]
"""Values a minute, in promtool's notation, by series."""

READING = {
    'stream_qa_lag_records{instance="a", stage="label", topic="applications"}': "500x60",
    'stream_qa_lag_records{instance="a", stage="label", topic="engagements"}': "0x60",
}
DRIFTED_OTHERWISE = {'stream_qa_drifted{what="positives", side="", feature=""}': "1x60"}
#: By alert, and what is tried where there is more than one: what it is given for, and what it is not given for.
TRIALS: dict[str, tuple[Series, Series]] = {
    "StreamQAWorkerDown": ({'up{job="stream-qa"}': "0x60"}, {'up{job="stream-qa"}': "1x60", 'up{job="other"}': "0x60"}),
    "StreamQANotReady": ({"stream_qa_ready": "0x60"}, {"stream_qa_ready": "0x50 1x10"}),
    "StreamQAModelRefused": (
        {'stream_qa_model_refused{instance="a"}': "0x50 1x10", 'stream_qa_model_refused{instance="b"}': "0x60"},
        {"stream_qa_model_refused": "1x50 0x10"},
    ),
    "StreamQAScoresDown": (
        {'up{job="stream-qa-serve"}': "0x60", 'up{job="stream-qa"}': "1x60"},
        {'up{job="stream-qa-serve"}': "1x60", 'up{job="stream-qa"}': "0x60"},
    ),
    "StreamQAScoresDegraded": (
        {"stream_qa_serve_degraded_total": "0x50 0+3x10"},
        {"stream_qa_serve_degraded_total": "0+3x40 120x20"},
    ),
    "StreamQAScoresStale": ({"stream_qa_store_ready": "1x50 0x10"}, {"stream_qa_store_ready": "0x58 1x2"}),
    # Without a broker it stays ready: what it has is the best that there is.
    "StreamQAScoresStale without a broker": (
        {"stream_qa_store_ready": "1x60", "stream_qa_store_stale_seconds": "0x50 0+60x10"},
        {"stream_qa_store_ready": "1x60", "stream_qa_store_stale_seconds": "20x58 60x2"},
    ),
    "StreamQARestoreStands": (
        {"stream_qa_restoring_records": "700x60", "stream_qa_restored_records_total": "300x60"},
        {"stream_qa_restoring_records": "7000-100x60", "stream_qa_restored_records_total": "0+100x60"},
    ),
    "StreamQAStageStands": (
        {**READING, 'stream_qa_events_total{instance="a", stage="member"}': "0+100x60"},
        {**READING, 'stream_qa_events_total{instance="a", stage="label"}': "0+100x60"},
    ),
    "StreamQALagging": (
        {**READING, 'stream_qa_events_total{instance="a", stage="label"}': "0+30x60"},
        {**READING, 'stream_qa_events_total{instance="a", stage="label"}': "0+60x60"},
    ),
    "StreamQADeadLetters": (
        {
            'stream_qa_events_total{stage="label"}': "0+100x60",
            'stream_qa_dead_letters_total{stage="label", reason="NotJSONError"}': "0+2x60",
        },
        {
            'stream_qa_events_total{stage="label"}': "0+1000x60",
            'stream_qa_dead_letters_total{stage="label", reason="NotJSONError"}': "0+2x60",
        },
    ),
    "StreamQABug": (
        {'stream_qa_dead_letters_total{stage="job", reason="PoisonousRecordError"}': "_x50 1x10"},
        {'stream_qa_dead_letters_total{stage="job", reason="NotJSONError"}': "0+1x60"},
    ),
    "StreamQAFenced": (
        {"stream_qa_fenced_total": "0x50 0+1x10"},
        {"stream_qa_fenced_total": "0x50 1x10"},
    ),
    "StreamQAInterruptions": (
        {'stream_qa_interruptions_total{reason="OutcomeUnknownError"}': "0+2x60"},
        {'stream_qa_interruptions_total{reason="OutcomeUnknownError"}': "0x50 4x10"},
    ),
    "StreamQASlowTransactions": (
        {
            'stream_qa_transaction_seconds_bucket{le="1"}': "0+97x60",
            'stream_qa_transaction_seconds_bucket{le="2.5"}': "0+100x60",
            'stream_qa_transaction_seconds_bucket{le="+Inf"}': "0+100x60",
        },
        {
            'stream_qa_transaction_seconds_bucket{le="0.5"}': "0+100x60",
            'stream_qa_transaction_seconds_bucket{le="1"}': "0+100x60",
            'stream_qa_transaction_seconds_bucket{le="+Inf"}': "0+100x60",
        },
    ),
    "StreamQAEventTimeStands": (
        {
            'stream_qa_watermark_seconds{instance="a", partition="0"}': "5000x60",
            'stream_qa_events_total{stage="label"}': "0+1x60",
        },
        # It has gone to another worker, and moves on there.
        {
            'stream_qa_watermark_seconds{instance="a", partition="0"}': "5000x30 _x30",
            'stream_qa_watermark_seconds{instance="b", partition="0"}': "_x30 5000+60x30",
            'stream_qa_events_total{stage="label"}': "0+1x60",
        },
    ),
    # Prometheus' own clock begins at 0 in a trial, and the tests look at its end, an hour later.
    "StreamQAEventTimeAhead": (
        {'stream_qa_watermark_seconds{instance="a", partition="0"}': "9000x60"},
        {'stream_qa_watermark_seconds{instance="a", partition="0"}': "3500x60"},
    ),
    "StreamQAGuardStopped": (
        {'stream_qa_guard_stopped{instance="a", stage="job", reason="harm"}': "0x55 1x5"},
        {
            'stream_qa_guard_stopped{instance="a", stage="job", reason="harm"}': "0x30 1x20 0x10",
            'stream_qa_guard_held{stage="job"}': "5x60",
        },
    ),
    "StreamQAFeatureOutsideRange": (
        # Two workers, one of which has the values.
        {
            'stream_qa_feature_outside_range_total{instance="a", side="job", feature="pay"}': "0+10x60",
            'stream_qa_feature_outside_range_total{instance="b", side="job", feature="pay"}': "0x60",
            'stream_qa_profiled_applications_total{instance="a"}': "0+100x60",
            'stream_qa_profiled_applications_total{instance="b"}': "0+100x60",
        },
        {
            'stream_qa_feature_outside_range_total{instance="a", side="job", feature="pay"}': "0+2x60",
            'stream_qa_profiled_applications_total{instance="a"}': "0+100x60",
        },
    ),
    "StreamQAFeatureDrift": (
        {
            'stream_qa_drifted{instance="a", what="feature", side="job", feature="pay"}': "1x60",
            'stream_qa_drifted{instance="b", what="feature", side="job", feature="pay"}': "0x60",
        },
        {'stream_qa_drifted{what="feature", side="job", feature="pay"}': "1x40 0x20", **DRIFTED_OTHERWISE},
    ),
    "StreamQAPositivesDrift": (
        {'stream_qa_drifted{what="positives", side="", feature=""}': "1x60"},
        {'stream_qa_drifted{what="answers", side="", feature=""}': "1x60"},
    ),
    "StreamQAAnswersDrift": (
        {'stream_qa_drifted{what="answers", side="", feature=""}': "1x60"},
        {'stream_qa_drifted{what="positives", side="", feature=""}': "1x60"},
    ),
}


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.name)
def test_a_query_names_metrics_that_a_worker_or_service_exports(query: Query) -> None:
    assert names_in(query.text) or query.text.startswith("up{")
    assert names_in(query.text) <= EXPORTED


def test_every_metric_is_on_the_dashboard() -> None:
    ours = {name for name in EXPORTED if name.startswith("stream_qa_")}
    asked = set().union(*(names_in(query.text) for query in panel_queries()))
    assert {name for name in ours - asked if not name.endswith(("_sum", "_count"))} == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_its_section_of_the_runbook_what_to_do(rule: dict[str, Any]) -> None:
    name, severity = rule["alert"], rule["labels"]["severity"]
    assert severity in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    said = re.search(rf"^## {name}\n\n(.+?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert said, f"docs/runbook.md has no section `## {name}`"
    assert said[1].startswith(f"**{severity}**: ")
    for part in ("- Look: ", "- Do: ", "- Over: "):
        assert f"\n{part}" in said[1]


def test_the_runbook_has_no_alert_that_does_not_exist() -> None:
    assert re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in ALERTS]


def test_no_two_panels_lie_on_each_other() -> None:
    covered = Counter(
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(covered.values()) == {1}
    assert max(x for x, _ in covered) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_its_configuration() -> None:
    promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yaml"))


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"q{number}", "expr": query.text} for number, query in enumerate(queries())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_each_alert_is_given_when_it_should_be_and_only_then(tmp_path: Path) -> None:
    assert {name.split()[0] for name in TRIALS} == {rule["alert"] for rule in ALERTS}
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": f"{MINUTES}m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if given else [],
                }
            ],
        }
        for alert, trial in [(name.split()[0], trial) for name, trial in TRIALS.items()]
        for series, given in zip(trial, (True, False), strict=True)
    ]
    document = {
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(tmp_path / "tests.yaml"))
