import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from commands import parse
from constraints import EXTRAS
from typer.testing import CliRunner

from stream_qa.broker.java import KAFKA_VERSION
from stream_qa.cli import application
from stream_qa.settings import PREFIX, Settings, load_settings

REPOSITORY = Path(__file__).parents[2]
OURS = ["topics", "worker", "scores", "events"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the parsed compose file."""
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return document


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in service.get("environment", {}).items() if name.startswith(PREFIX)}


def check(document: Path) -> "subprocess.CompletedProcess[str]":
    """Hold a compose file against Compose's own schema, which the checker carries: no network is needed."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(document)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_valid_by_the_compose_schema() -> None:
    done = check(REPOSITORY / "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_is_one_that_finds_errors(compose: dict[str, Any], tmp_path: Path) -> None:
    spoilt = tmp_path / "docker-compose.yml"
    spoilt.write_text(yaml.safe_dump({**compose, "services": {"kafka": {"image": "kafka", "portz": []}}}))
    done = check(spoilt)
    assert done.returncode == 1
    assert "portz" in done.stdout


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_with_a_good_value(
    compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(compose["services"][name])
    assert f"{PREFIX}BROKER" in variables
    assert {variable.removeprefix(PREFIX).lower() for variable in variables} <= set(Settings.model_fields)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    load_settings()


def test_no_other_service_sets_our_variables(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if environment(service)] == OURS


@pytest.mark.parametrize("name", OURS)
def test_our_services_go_to_the_listener_for_containers(compose: dict[str, Any], name: str) -> None:
    advertised = listeners(compose["services"]["kafka"], "KAFKA_ADVERTISED_LISTENERS")
    assert environment(compose["services"][name])[f"{PREFIX}BROKER"] == advertised["INTERNAL"]


def test_the_host_reaches_the_broker_where_settings_expect_it(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    advertised = listeners(kafka, "KAFKA_ADVERTISED_LISTENERS")["HOST"]
    assert advertised == Settings.model_fields["broker"].default
    container_port = listeners(kafka, "KAFKA_LISTENERS")["HOST"].rpartition(":")[2]
    assert kafka["ports"] == [f"{advertised}:{container_port}"]


def test_every_listener_is_known_everywhere(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    listening = set(listeners(kafka, "KAFKA_LISTENERS"))
    protocols = {
        entry.split(":")[0] for entry in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    }
    assert listening == protocols == {"HOST", "INTERNAL", "CONTROLLER"}
    assert set(listeners(kafka, "KAFKA_ADVERTISED_LISTENERS")) == {"HOST", "INTERNAL"}


def test_the_broker_makes_no_topic_by_itself(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_only_loopback_is_published(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_workers_web_port_is_the_published_one(compose: dict[str, Any]) -> None:
    port = Settings.model_fields["web_port"].default
    assert compose["services"]["worker"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_scoring_service_can_be_run_by_the_image_and_reached(compose: dict[str, Any]) -> None:
    service = compose["services"]["scores"]
    assert service["command"] == ["stream-qa", "serve"]
    assert "serve" in EXTRAS
    port = Settings.model_fields["serve_port"].default
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    store = urlsplit(environment(service)[f"{PREFIX}SERVE_STORE"])
    assert store.scheme == "redis"
    assert store.hostname in compose["services"]
    assert store.hostname in service["depends_on"]


def test_each_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    topics = {"topics": {"condition": "service_completed_successfully"}}
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == topics
    assert services["scores"]["depends_on"] == {**topics, "valkey": {"condition": "service_healthy"}}
    assert services["events"]["depends_on"] == {"worker": {"condition": "service_healthy"}}


def test_what_runs_on_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    services = compose["services"]
    unknown = {name for name, service in services.items() if "healthcheck" not in service}
    assert unknown == {"topics", "events"}  # these two end


@pytest.mark.parametrize("name", ["worker", "scores"])
def test_ours_are_well_where_their_own_page_says_so(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    program, option, code = service["healthcheck"]["test"][1:]
    assert (program, option) == ("python", "-c")
    port = service["ports"][0].rpartition(":")[2]
    (address,) = re.findall(r"http://\S+(?=')", code)
    assert address == f"http://127.0.0.1:{port}/readyz"
    compile(code, name, "exec")


def test_only_what_is_asked_for_is_started(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles") for name, service in compose["services"].items()}
    assert {name for name, of in profiles.items() if of is None} == {"kafka", "topics", "worker", "scores", "valkey"}
    assert profiles["events"] == ["demo"]
    assert profiles["kafka-ui"] == ["ui"]


def test_images_are_of_a_version(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()} - {"stream-qa"}
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images), images


def test_its_kafka_is_the_one_that_is_tested_with(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_demo_commands_parse(compose: dict[str, Any]) -> None:
    shell, option, line = compose["services"]["events"]["command"]
    assert (shell, option) == ("sh", "-c")
    assert [parse(part) for part in line.split("&&")] == ["simulate", "replay"]


def test_monitoring_is_there_on_demand_and_mounts_what_there_is(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["monitoring"]} == {
        "prometheus",
        "grafana",
    }
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            path, mounted, mode = volume.split(":")
            assert (REPOSITORY / path).exists()
            assert mounted.startswith(("/etc/", "/var/lib/grafana/"))
            assert mode == "ro"
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "stream-qa.yaml").read_text())["providers"]
    dashboard = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert f"./deploy/grafana/dashboard.json:{dashboard}:ro" in services["grafana"]["volumes"]
    assert dashboard.startswith(provider["options"]["path"])
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_reads_the_services_and_is_otherwise_as_in_deploy(compose: dict[str, Any]) -> None:
    configuration = yaml.safe_load(compose["configs"]["prometheus"]["content"])
    alone = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    jobs = {job.pop("job_name"): job for job in configuration.pop("scrape_configs")}
    names = [job["job_name"] for job in alone.pop("scrape_configs")]
    assert configuration == alone
    assert names == list(jobs)
    for name, service in {"stream-qa": "worker", "stream-qa-serve": "scores"}.items():
        port = compose["services"][service]["ports"][0].rpartition(":")[2]
        assert jobs[name] == {"static_configs": [{"targets": [f"{service}:{port}"]}]}


def test_the_topics_command_exists(compose: dict[str, Any]) -> None:
    program, *arguments = compose["services"]["topics"]["command"]
    assert program == "stream-qa"
    assert CliRunner().invoke(application, [*arguments, "--help"]).exit_code == 0


def test_the_worker_command_names_an_app_that_exists(compose: dict[str, Any]) -> None:
    program, option, module, command = compose["services"]["worker"]["command"]
    assert (program, option, command) == ("faust", "-A", "worker")
    assert importlib.util.find_spec(module) is not None


def test_the_workers_state_is_on_a_volume_that_it_may_write_to(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    directory = environment(worker)[f"{PREFIX}DATA_DIRECTORY"]
    (volume,) = worker["volumes"]
    name, _, mounted = volume.partition(":")
    assert mounted == directory
    assert name in compose["volumes"]
    assert f"chown 10001: {directory}\n" in DOCKERFILE


def listeners(kafka: dict[str, Any], variable: str) -> dict[str, str]:
    """Return the addresses of a listener variable by the listeners' names."""
    return dict(listener.split("://") for listener in kafka["environment"][variable].split(","))
