"""The example for Kubernetes: each object by the schema of its kind, and what they name of each other and of ours."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from commands import parse
from pages import strimzi_topics

from stream_qa.settings import PREFIX, Settings
from stream_qa.streaming.health import LIVE_PATH, READY_PATH
from stream_qa.topics.declaration import load_declarations

DIRECTORY = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())
#: A version that is supported for long; newer ones take the same kinds.
KUBERNETES = "1.32"
OPERATIONS = (DIRECTORY.parents[1] / "docs" / "operations.md").read_text()

Object = dict[str, Any]


def objects(name: str) -> list[Object]:
    return [document for document in yaml.safe_load_all((DIRECTORY / name).read_text()) if document]


APPLIED = [document for name in KUSTOMIZATION["resources"] if name != "topics.yaml" for document in objects(name)]
#: Applied once, by hand.
CREDENTIALS = objects("credentials.yaml")
OURS = [*APPLIED, *CREDENTIALS]
PODS = [document for document in OURS if document["kind"] in {"StatefulSet", "Deployment", "CronJob"}]


def name_of(document: Object) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def pod(document: Object) -> Object:
    """Return the description of the pods that an object makes."""
    spec = document["spec"]["jobTemplate"]["spec"] if document["kind"] == "CronJob" else document["spec"]
    found: Object = spec["template"]
    return found


def container(document: Object) -> Object:
    (found,) = pod(document)["spec"]["containers"]
    return dict(found)


def of_kind(kind: str) -> dict[str, Object]:
    return {document["metadata"]["name"]: document for document in OURS if document["kind"] == kind}


each = pytest.mark.parametrize("document", OURS, ids=name_of)
each_pod = pytest.mark.parametrize("document", PODS, ids=name_of)


def test_the_kustomization_names_all_files_but_the_example_of_a_secret() -> None:
    named = {*KUSTOMIZATION["resources"], "kustomization.yaml", "credentials.yaml"}
    assert named == {path.name for path in DIRECTORY.iterdir()}


def test_applying_it_again_leaves_the_credentials_alone() -> None:
    assert [name_of(document) for document in APPLIED if document["kind"] == "Secret"] == []
    (secret,) = CREDENTIALS
    assert secret["metadata"]["namespace"] == KUSTOMIZATION["namespace"]


@each
def test_an_object_is_as_its_schema_says(document: Object) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_schema_is_one_that_finds_errors() -> None:
    (document,) = (each for each in OURS if each["kind"] == "Namespace")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "spec": {"finalisers": []}}, KUBERNETES, strict=True)


def settings(document: Object) -> dict[str, str | None]:
    """Return the variables that a container has; ``None`` for one whose value only the cluster knows."""
    shared = dict(literal.split("=", 1) for literal in KUSTOMIZATION["configMapGenerator"][0]["literals"])
    assert container(document)["envFrom"] == [
        {"configMapRef": {"name": KUSTOMIZATION["configMapGenerator"][0]["name"]}}
    ]
    return {**shared, **{one["name"]: one.get("value") for one in container(document).get("env", [])}}


@each_pod
def test_every_variable_is_a_setting_and_its_value_one_that_it_takes(
    document: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings(document).items():
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields
        monkeypatch.setenv(name, value or "worker-0")
    Settings()


@each_pod
def test_a_command_exists(document: Object) -> None:
    command = container(document)["command"]
    if command[0] == "faust":
        assert command[1:4] == ["-A", "stream_qa.app", "worker"]
    else:
        assert parse(command[-1] if command[0] == "sh" else " ".join(command))


@each_pod
def test_what_is_mounted_is_there_and_what_is_there_is_mounted(document: Object) -> None:
    spec = pod(document)["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    claims = {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container(document)["volumeMounts"]} == set(volumes) | claims
    for volume in volumes.values():
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in of_kind("PersistentVolumeClaim")
        if "secret" in volume:
            assert volume["secret"]["secretName"] in of_kind("Secret")


@each_pod
def test_what_is_written_to_is_a_volume(document: Object) -> None:
    places = {mount["mountPath"] for mount in container(document)["volumeMounts"] if not mount.get("readOnly")}
    written = {"STREAM_QA_DATA_DIRECTORY", "STREAM_QA_SERVE_STORE"} & settings(document).keys()
    for name in written:
        assert any(str(settings(document)[name]).startswith(place) for place in places)
    secret = str(settings(document)["STREAM_QA_SASL_PASSWORD_FILE"])
    (key,) = [key for key in of_kind("Secret")["kafka-credentials"]["stringData"] if secret == f"/credentials/{key}"]
    assert key == "password"


@each_pod
def test_nothing_runs_as_root_or_writes_to_its_image(document: Object) -> None:
    assert pod(document)["spec"]["securityContext"]["runAsNonRoot"]
    assert container(document)["securityContext"]["readOnlyRootFilesystem"]
    dockerfile = (DIRECTORY.parents[1] / "Dockerfile").read_text()
    assert f"USER {pod(document)['spec']['securityContext']['runAsUser']}\n" in dockerfile


@each_pod
def test_the_image_is_the_one_that_the_kustomization_names(document: Object) -> None:
    assert container(document)["image"] in {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize(("name", "port"), [("StatefulSet/worker", "web_port"), ("Deployment/scores", "serve_port")])
def test_what_runs_on_is_probed_where_it_answers(name: str, port: str) -> None:
    (found,) = (container(document) for document in PODS if name_of(document) == name)
    (opened,) = found["ports"]
    assert opened["containerPort"] == Settings.model_fields[port].default
    assert found["livenessProbe"]["httpGet"] == {"path": LIVE_PATH, "port": opened["name"]}
    assert found["readinessProbe"]["httpGet"] == {"path": READY_PATH, "port": opened["name"]}


def selectors() -> Iterator[tuple[Object, dict[str, str]]]:
    for document in OURS:
        if document["kind"] in {"StatefulSet", "Deployment", "PodDisruptionBudget"}:
            yield document, document["spec"]["selector"]["matchLabels"]
        if document["kind"] == "Service":
            yield document, document["spec"]["selector"]


@pytest.mark.parametrize(("document", "selector"), list(selectors()), ids=[name_of(found) for found, _ in selectors()])
def test_a_selector_finds_the_pods_of_its_name(document: Object, selector: dict[str, str]) -> None:
    found = [each for each in PODS if selector.items() <= pod(each)["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in found] == [document["metadata"]["name"]]
    if document["kind"] == "Service":
        names = {port["name"] for port in container(found[0])["ports"]}
        assert {port["targetPort"] for port in document["spec"]["ports"]} <= names


def test_a_worker_has_its_own_name_and_service() -> None:
    (worker,) = of_kind("StatefulSet").values()
    assert worker["spec"]["serviceName"] in of_kind("Service")
    (name,) = (each for each in container(worker)["env"] if each["name"] == "STREAM_QA_INSTANCE_ID")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_a_refused_candidate_is_no_failed_job() -> None:
    command = container(of_kind("CronJob")["retrain"])["command"][-1]
    (code,) = re.findall(r"test \$\? -eq (\d+)$", command)
    assert re.search(rf"^\| {code} \| `stream-qa retrain` \|", OPERATIONS, re.MULTILINE)


def test_the_topics_are_those_that_are_declared() -> None:
    assert (DIRECTORY / "topics.yaml").read_text() == strimzi_topics(), "make pages"
    declared = {each.name: each for each in load_declarations()}
    found = {document["metadata"]["name"]: document for document in objects("topics.yaml")}
    assert found.keys() == declared.keys()
    for name, document in found.items():
        assert document["kind"] == "KafkaTopic"
        assert document["spec"]["partitions"] == declared[name].partitions
        assert declared[name].config.items() <= document["spec"]["config"].items()


def test_kustomize_builds_it() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: kustomize cannot build the example")
    done = subprocess.run([kubectl, "kustomize", DIRECTORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [document for document in yaml.safe_load_all(done.stdout) if document]
    # The ConfigMap of the settings besides.
    assert len(built) == len(APPLIED) + len(objects("topics.yaml")) + 1
    for document in built:
        if document["kind"] != "KafkaTopic":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
