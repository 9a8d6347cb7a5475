"""What deploy/ asks Prometheus, and what workers export."""

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from serving_ground import learn, model_scorer, serving

from stream_qa.coefficients import CoefficientStore
from stream_qa.serving.metrics import ServiceMetrics
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.metrics_page import WorkerCollector

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
#: What Grafana would put in place of its own variable.
RATE_INTERVAL = "1m"


class Query(NamedTuple):
    """A query, and which alert or panel asks it."""

    name: str
    text: str


def queries() -> list[Query]:
    """Return all of them, with Grafana's variable filled in."""
    return [*(Query(rule["alert"], rule["expr"]) for rule in ALERTS), *panel_queries()]


def panel_queries() -> list[Query]:
    """Return those of the dashboard."""
    return [
        Query(f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", RATE_INTERVAL))
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


def names_in(text: str) -> set[str]:
    """Return the metrics that a query names."""
    return set(re.findall(r"\b(?:stream_qa_|process_)\w+", text))


def exported() -> set[str]:
    """Return the names, as queries use them, of what a worker exports."""
    settings = Settings()
    pipeline = build_pipeline(settings)
    lanes = Lanes(settings, pipeline, lambda error: pytest.fail(str(error)))
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(WorkerCollector(lanes, pipeline.label, settings.topics))
    return used_names(registry.collect())


def exported_by_services() -> set[str]:
    """Return the same of what a scoring service exports."""
    store = CoefficientStore()
    learn(store, "member", "m-1", [0.5, 1.0])
    service = serving(store, model_scorer())
    text = ServiceMetrics(service.now, service.not_ready).exposition().decode()
    return used_names(text_string_to_metric_families(text))


def used_names(families: Iterable[Metric]) -> set[str]:
    """Return the names of metrics as queries use them."""
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        f"{family.name}{ending}"
        for family in families
        for ending in endings.get(family.type, [""])
        # When a counter began is of no interest.
        if not family.name.endswith("_created")
    }


def program(name: str) -> str:
    """Return the path of one of Prometheus' programs; skip where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return path


def name_of(family: Metric) -> str:
    """Return the name as queries use it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def has_caught_up(found: Mapping[str, Metric]) -> bool:
    """Whether nothing waits for a worker, by what it says; where the broker has not told, that is not known."""
    samples = found["stream_qa_lag_records"].samples
    return bool(samples) and not any(sample.value for sample in samples)


def readiness(port: int) -> tuple[int, Any]:
    """Return the status of a worker's /readyz, and what it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def scraped(port: int) -> dict[str, Metric]:
    """Return what a worker says at /metrics, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    return {name_of(family): family for family in text_string_to_metric_families(text)}
