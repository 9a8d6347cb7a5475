"""The interface against its own description, with requests that schemathesis makes up: never an error of the server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving_ground import learn, listening, serving

from stream_qa.coefficients import CoefficientStore
from stream_qa.serving.application import create_application
from stream_qa.serving.scoring import Scorer
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import first_model

Operation = APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Any]

SETTINGS = Settings()
SCORER = Scorer.of(first_model(SETTINGS))
STORE = CoefficientStore()
#: Without a bundle it scores any features, so more of what is made up gets as far as a score.
SERVED = create_application(SETTINGS, serving(STORE, SCORER))
DESCRIPTION = SERVED.openapi()
FOUND = list(schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations())
OPERATIONS: list[Operation] = [found.ok() for found in FOUND if isinstance(found, Ok)]
POSTS = [path for path, methods in DESCRIPTION["paths"].items() if "post" in methods]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give the address of the service."""
    learn(STORE, "member", "m-1", [0.5, 2.0], model_version="none")
    with listening(SERVED) as address:
        yield address


def test_every_operation_is_tried() -> None:
    assert len(OPERATIONS) == len(FOUND) == sum(map(len, DESCRIPTION["paths"].values()))


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_any_request_gets_an_answer_that_the_description_allows(
    address: str, operation: Operation, mode: GenerationMode
) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return

    @settings(max_examples=10, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        # A schema cannot say that vectors must be equally long, or ids different: then a valid request is refused.
        case.call_and_validate(base_url=address, excluded_checks=[positive_data_acceptance])

    check()


@pytest.mark.parametrize("path", POSTS)
def test_the_examples_of_the_description_are_answered(address: str, path: str) -> None:
    body = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    examples = DESCRIPTION["components"]["schemas"][body.rpartition("/")[2]]["examples"]
    assert [httpx.post(f"{address}{path}", json=example).status_code for example in examples] == [200]


def test_the_page_about_the_service_names_every_path_and_every_metric(address: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    paths = set(re.findall(r"`(?:GET|POST) (/[^`?]*)", page))
    assert paths == {*DESCRIPTION["paths"], "/openapi.json", "/"}
    exposed = re.findall(r"^# TYPE (\w+) ", httpx.get(f"{address}/metrics").text, re.MULTILINE)
    # A counter has a second metric for when it was made.
    assert set(re.findall(r"`(stream_qa_\w+)`", page)) == {name for name in exposed if not name.endswith("_created")}
