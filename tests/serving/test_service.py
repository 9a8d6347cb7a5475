"""The scoring service over HTTP: what it answers, what it refuses, and what it says when something is missing."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from builders import START
from onnx_files import looked_up
from ports import free_port
from pydantic import SecretStr
from redis_server import RedisServer
from serving_ground import MODEL, SCHEMA, Following, application, learn, listening, model_scorer, serving

from stream_qa.coefficients import CoefficientStore, MemoryBackend
from stream_qa.errors import BrokerUnavailableError, DiskError
from stream_qa.following import open_store
from stream_qa.learning import LOG_ODDS_BOUND, OnnxFunction, OnnxModel
from stream_qa.serving.answers import (
    CoefficientsAnswer,
    MatchesAnswer,
    RankingAnswer,
    ScoresAnswer,
    StandingsAnswer,
    ThresholdAnswer,
)
from stream_qa.serving.application import create_application
from stream_qa.settings import Settings

MEMBER = {"member_id": "m-1", "features": [3.0, 14.0]}
JOB = {"job_id": "j-1", "features": [5.0]}
AGAINST_JOBS = {"feature_schema": SCHEMA, "member": MEMBER, "jobs": [JOB]}
AGAINST_MEMBERS = {"feature_schema": SCHEMA, "job": JOB, "members": [MEMBER]}
BATCH = {
    "feature_schema": SCHEMA,
    "members": [MEMBER],
    "jobs": [JOB],
    "pairs": [{"member_id": "m-1", "job_id": "j-1"}],
}


@pytest.fixture(scope="module")
def store() -> CoefficientStore:
    """Give a store in which a member and a job have learned."""
    store = CoefficientStore()
    learn(store, "member", "m-1", [0.5, 2.0], version=3, labels=4)
    learn(store, "job", "j-1", [-1.0, 0.25, 0.5], version=9, labels=7)
    learn(store, "job", "j-other", [9.0, 9.0, 9.0], model_version="another")
    return store


@pytest.fixture(scope="module")
def client(store: CoefficientStore) -> Iterator[httpx.Client]:
    """Give a client of a service over it."""
    with client_of(store) as client:
        yield client


def client_of(store: CoefficientStore, following: Following | None = None, **settings: object) -> "_Client":
    return _Client(store, following, settings)


class _Client:
    def __init__(self, store: CoefficientStore, following: Following | None, settings: dict[str, object]) -> None:
        self._listening = listening(application(store, following, settings))

    def __enter__(self) -> httpx.Client:
        self._client = httpx.Client(base_url=self._listening.__enter__())
        return self._client

    def __exit__(self, *error: object) -> None:
        self._client.close()
        self._listening.__exit__(None, None, None)


def answer(client: httpx.Client, path: str, body: object) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refusal(client: httpx.Client, path: str, body: object) -> tuple[int, str]:
    response = client.post(path, json=body)
    return response.status_code, response.json()["detail"]


def applicants(scores: Sequence[float], **more: object) -> dict[str, Any]:
    """Return applicants of a job nobody knows, whose scores are these."""
    members = [
        {"member_id": f"m-{number}", "features": [0, 10], "global_log_odds": score}
        for number, score in enumerate(scores, start=10)
    ]
    return {"feature_schema": SCHEMA, "job": {"job_id": "j-new", "features": [1]}, "members": members, **more}


def test_a_score_says_its_parts_and_what_stands_behind_them(client: httpx.Client) -> None:
    found = answer(client, "/v1/scores/member", AGAINST_JOBS)
    ScoresAnswer.model_validate(found)
    assert found == {
        "generation": 1,
        "model_version": MODEL,
        "personalised": True,
        "notices": [],
        "stale_seconds": 0.25,
        "members": {"m-1": {"version": 3, "labels": 4, "newest_at": START + 3, "model_version": MODEL}},
        "jobs": {"j-1": {"version": 9, "labels": 7, "newest_at": START + 9, "model_version": MODEL}},
        "scores": [
            {
                "member_id": "m-1",
                "job_id": "j-1",
                "log_odds": 3.0,
                "probability": 1 / (1 + np.exp(-3.0)),
                "global_log_odds": -0.25,
                "member_log_odds": 2.5,
                "job_log_odds": 0.75,
            }
        ],
    }


def test_the_three_ways_to_ask_score_alike(client: httpx.Client) -> None:
    ways = [("member", AGAINST_JOBS), ("job", AGAINST_MEMBERS), ("batch", BATCH)]
    first, *others = [answer(client, f"/v1/scores/{way}", body) for way, body in ways]
    assert others == [first, first]


def test_a_batch_scores_the_pairs_that_it_names_in_their_order(client: httpx.Client) -> None:
    body = {
        "feature_schema": SCHEMA,
        "members": [MEMBER, {"member_id": "m-new", "features": [0, 10]}],
        "jobs": [JOB, {"job_id": "j-new", "features": [1]}],
        "pairs": [
            {"member_id": "m-new", "job_id": "j-new"},
            {"member_id": "m-1", "job_id": "j-new", "global_log_odds": 1.5},
            {"member_id": "m-new", "job_id": "j-1"},
        ],
    }
    found = answer(client, "/v1/scores/batch", body)
    assert [
        (score["member_id"], score["job_id"], score["global_log_odds"], score["member_log_odds"], score["job_log_odds"])
        for score in found["scores"]
    ] == [("m-new", "j-new", 0.5, 0.0, 0.0), ("m-1", "j-new", 1.5, 0.5, 0.0), ("m-new", "j-1", 0.75, 0.0, -1.0)]
    assert found["members"]["m-new"] == {
        "version": 0,
        "labels": 0,
        "newest_at": None,
        "model_version": None,
    }


def test_an_entity_says_by_which_model_it_learned_last(client: httpx.Client) -> None:
    found = answer(client, "/v1/scores/member", {**AGAINST_JOBS, "jobs": [{"job_id": "j-other", "features": [5]}]})
    assert found["scores"][0]["job_log_odds"] == 9 + 9 * 3 + 9 * 2
    assert found["jobs"]["j-other"]["model_version"] == "another"


def test_a_match_needs_a_probability_and_evidence_and_is_kept_within_the_margin(store: CoefficientStore) -> None:
    pairs = [
        {"member_id": "m-1", "job_id": "j-1"},
        {"member_id": "m-1", "job_id": "j-1", "global_log_odds": -3.25},
        {"member_id": "m-1", "job_id": "j-1", "global_log_odds": -3.26},
        {"member_id": "m-1", "job_id": "j-1", "global_log_odds": -3.26, "flagged": True},
        {"member_id": "m-1", "job_id": "j-new", "global_log_odds": 9},
    ]
    jobs = [JOB, {"job_id": "j-new", "features": [1]}]
    with client_of(store, match_threshold=0.5, match_margin=0.05, match_labels=11) as client:
        found = answer(client, "/v1/quality-matches", {**BATCH, "jobs": jobs, "pairs": pairs})
    MatchesAnswer.model_validate(found)
    assert [(score["verdict"], score["flagged"], score["labels"]) for score in found["scores"]] == [
        ("match", True, 11),
        ("match", True, 11),
        ("below", False, 11),
        ("kept", True, 11),
        ("little-evidence", False, 4),
    ]


def test_the_threshold_of_matches_comes_from_past_scores(client: httpx.Client) -> None:
    past = {"probabilities": [0.9, 0.8, 0.7], "outcomes": [1, 1, 0], "precision": 1.0, "least_flagged": 1}
    found = answer(client, "/v1/quality-matches/threshold", past)
    ThresholdAnswer.model_validate(found)
    assert found == {"threshold": 0.8, "precision": 1.0, "recall": 1.0, "flagged": 2}
    none = answer(client, "/v1/quality-matches/threshold", {**past, "least_flagged": 3})
    assert none == dict.fromkeys(found)


def test_every_applicant_gets_a_rank_and_a_percentile(store: CoefficientStore) -> None:
    with client_of(store, top_share=0.34, top_applicants=3) as client:
        found = answer(client, "/v1/standings", applicants([0.5, 2.0, 0.5]))
        few = answer(client, "/v1/standings", applicants([0.5, 2.0]))
    StandingsAnswer.model_validate(found)
    standings = [(score["rank"], score["tied"], score["percentile"], score["top"]) for score in found["scores"]]
    assert standings == [(2, 1, 25.0, False), (1, 0, 100.0, True), (2, 1, 25.0, False)]
    assert [(score["rank"], score["percentile"], score["top"]) for score in few["scores"]] == [
        (2, None, False),
        (1, None, False),
    ]


def test_applicants_are_put_in_order_and_explored_only_where_that_is_asked_for(client: httpx.Client) -> None:
    scores = [0.5, 2.0, 1.0, 0.4, 0.3, 0.2]
    found = answer(client, "/v1/rankings", applicants(scores))
    RankingAnswer.model_validate(found)
    assert [score["member_id"] for score in found["scores"]] == ["m-11", "m-12", "m-10", "m-13", "m-14", "m-15"]
    assert [score["rank_by_score"] for score in found["scores"]] == [1, 2, 3, 4, 5, 6]
    explored = answer(client, "/v1/rankings", applicants(scores, exploration=10.0, seed="monday"))["scores"]
    assert sorted(score["rank_by_score"] for score in explored) == [1, 2, 3, 4, 5, 6]
    assert [score["rank_by_score"] for score in explored] != [1, 2, 3, 4, 5, 6]


def test_what_an_entity_has_learned_can_be_asked_for(client: httpx.Client) -> None:
    found = client.get("/v1/coefficients", params={"side": "job", "entity_id": "j-1"}).json()
    CoefficientsAnswer.model_validate(found)
    assert (found["coefficients"], found["version"], found["model_version"]) == ([-1.0, 0.25, 0.5], 9, MODEL)
    nobody = client.get("/v1/coefficients", params={"side": "member", "entity_id": "m/ä ?"}).json()
    assert (nobody["entity_id"], nobody["coefficients"], nobody["version"]) == ("m/ä ?", [], 0)
    model = client.get("/v1/model").json()
    schema = {"feature_schema": SCHEMA, "member_features": 2, "job_features": 1}
    assert model == {"generation": 1, "model_version": MODEL, **schema}


class BrokenBackend(MemoryBackend):
    """A place whose disk has gone."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        raise DiskError(f"no disk for {len(keys)} keys")


class HangingBackend(MemoryBackend):
    """A place that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.let.wait()
        return super().get_many(keys)


def test_without_its_store_the_global_model_scores_alone_and_it_says_so() -> None:
    with client_of(CoefficientStore(BrokenBackend())) as client:
        found = answer(client, "/v1/scores/member", AGAINST_JOBS)
        coefficients = client.get("/v1/coefficients", params={"side": "job", "entity_id": "j-1"})
        metrics = client.get("/metrics").text
    ScoresAnswer.model_validate(found)
    assert found["personalised"] is False
    assert found["notices"] == [
        "the coefficient store does not answer: no disk for 2 keys: these are scores of the global model alone"
    ]
    assert found["scores"][0]["log_odds"] == found["scores"][0]["global_log_odds"] == -0.25
    assert (coefficients.status_code, "no disk" in coefficients.json()["detail"]) == (503, True)
    assert "stream_qa_serve_degraded_total 1.0" in metrics


@pytest.mark.redis
def test_a_shared_store_that_goes_away_and_comes_back_takes_no_request_with_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    own = RedisServer(redis_server.program, tmp_path, free_port())
    own.start()
    try:
        store = open_store(own.url, cached_seconds=0)
        learn(store, "member", "m-1", [0.5, 2.0])
        with closing(store), client_of(store) as client:
            assert answer(client, "/v1/scores/member", AGAINST_JOBS)["scores"][0]["member_log_odds"] == 2.5
            own.stop()
            without = answer(client, "/v1/scores/member", AGAINST_JOBS)
            assert (without["personalised"], without["scores"][0]["log_odds"]) == (False, -0.25)
            assert "these are scores of the global model alone" in without["notices"][0]
            own.start()
            learn(store, "member", "m-1", [0.5, 1.0])
            again = answer(client, "/v1/scores/member", AGAINST_JOBS)
            assert (again["personalised"], again["scores"][0]["member_log_odds"]) == (True, 1.5)
    finally:
        own.stop()


def test_a_store_that_hangs_holds_up_no_request_for_longer_than_it_may() -> None:
    backend = HangingBackend()
    others = set(threading.enumerate())
    with client_of(CoefficientStore(backend), serve_look_up_seconds=0.05) as client:
        try:
            # More than there are threads for look-ups.
            found = [answer(client, "/v1/scores/member", AGAINST_JOBS) for _ in range(6)]
            own = set(threading.enumerate()) - others
            assert sum(thread.name.startswith("look-up") for thread in own) == 4
        finally:
            backend.let.set()
        while not answer(client, "/v1/scores/member", AGAINST_JOBS)["personalised"]:
            pass
    assert {one["personalised"] for one in found} == {False}
    assert "did not answer within 0.05 seconds" in found[-1]["notices"][0]


def test_until_the_topics_are_read_it_is_not_ready_and_scores_say_so(store: CoefficientStore) -> None:
    following = Following(is_ready=False)
    with client_of(store, following) as client:
        reason = "the topics are still being read to where they ended"
        early = client.get("/readyz")
        assert (early.status_code, early.json()) == (503, {"detail": reason})
        found = answer(client, "/v1/scores/member", AGAINST_JOBS)
        assert (found["personalised"], found["notices"]) == (True, [reason])
        following.is_ready = True
        assert client.get("/readyz").status_code == 200
        assert answer(client, "/v1/scores/member", AGAINST_JOBS)["notices"] == []
        assert client.get("/livez").json() == {"state": "live", "notices": []}


def test_coefficients_that_nobody_saw_up_to_date_for_long_are_said_to_be_stale(store: CoefficientStore) -> None:
    following = Following(staleness=40.2)
    with client_of(store, following) as client:
        found = answer(client, "/v1/scores/member", AGAINST_JOBS)
        assert found["stale_seconds"] == 40.2
        assert found["notices"] == ["the coefficients were last seen to be up to date 40 seconds ago"]
        assert client.get("/readyz").json() == {"state": "ready", "notices": found["notices"]}
        assert "stream_qa_store_stale_seconds 40.2" in client.get("/metrics").text
        following.staleness = None
        assert answer(client, "/v1/scores/member", AGAINST_JOBS)["stale_seconds"] is None


def test_a_published_model_that_cannot_be_used_is_said_beside_what_else_there_is(store: CoefficientStore) -> None:
    refusal = "model second was published last and cannot be used here: a file is missing"
    following = Following(refusal=refusal)
    with client_of(store, following) as client:
        assert answer(client, "/v1/scores/member", AGAINST_JOBS)["notices"] == [refusal]
        assert client.get("/readyz").json() == {"state": "ready", "notices": [refusal]}
        following.staleness = 40.2
        stale = "the coefficients were last seen to be up to date 40 seconds ago"
        assert answer(client, "/v1/scores/member", AGAINST_JOBS)["notices"] == [stale, refusal]


def test_when_the_coefficients_are_not_followed_any_more_it_goes_on_but_is_not_ready(store: CoefficientStore) -> None:
    with client_of(store, Following(failure=BrokerUnavailableError("no broker"))) as client:
        gone = client.get("/readyz")
        assert gone.status_code == 503
        assert gone.json()["detail"] == "the topics are not followed any more: no broker"
        found = answer(client, "/v1/scores/member", AGAINST_JOBS)
        assert found["scores"][0]["log_odds"] == 3.0
        assert found["notices"] == [gone.json()["detail"]]


def test_with_a_token_only_its_bearer_is_answered(store: CoefficientStore) -> None:
    with client_of(store, serve_token=SecretStr("secret-ä")) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            for response in (
                client.post("/v1/scores/member", json=AGAINST_JOBS, headers=headers),
                client.get("/metrics", headers=headers),
                client.get("/v1/model", headers=headers),
            ):
                assert response.status_code == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert "STREAM" not in response.text
        bearer = {b"Authorization": "Bearer secret-ä".encode()}
        assert client.post("/v1/scores/member", json=AGAINST_JOBS, headers=bearer).status_code == 200
        assert [client.get(path).status_code for path in ("/livez", "/readyz", "/", "/openapi.json")] == [200] * 4


PAST = {"probabilities": [0.5], "outcomes": [1], "precision": 0.5}


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (
            "/v1/scores/member",
            {**AGAINST_JOBS, "feature_schema": "v9"},
            "v9 (2 of the member, 1 of the job), where this",
        ),
        (
            "/v1/scores/member",
            {**AGAINST_JOBS, "jobs": [{"job_id": "j-1", "features": [1, 2]}]},
            "2 of the job), where",
        ),
        ("/v1/scores/member", {**AGAINST_JOBS, "jobs": []}, "body.jobs: List should have at least 1 item"),
        (
            "/v1/scores/member",
            {**AGAINST_JOBS, "jobs": [JOB, {"job_id": "j-2", "features": []}]},
            "the jobs have different numbers of features: from 0 to 1",
        ),
        ("/v1/scores/member", {**AGAINST_JOBS, "job": JOB}, "body.job: Extra inputs are not permitted"),
        ("/v1/scores/member", {}, "body.feature_schema: Field required (and 2 more)"),
        ("/v1/scores/member", [], "body: Input should be a valid dictionary"),
        (
            "/v1/scores/member",
            {**AGAINST_JOBS, "member": {"member_id": "m-1", "features": ["3", 14]}},
            "body.member.features.0: Input should be a valid number",
        ),
        ("/v1/scores/member", {**AGAINST_JOBS, "member": {"member_id": "", "features": []}}, "body.member.member_id:"),
        ("/v1/scores/member", {**AGAINST_JOBS, "member": {"member_id": "ä" * 200, "features": []}}, "256 bytes"),
        ("/v1/scores/job", {**AGAINST_MEMBERS, "members": [{**MEMBER, "global_log_odds": 1e10}]}, "global_log_odds"),
        ("/v1/scores/batch", {**BATCH, "pairs": [{"member_id": "m-1", "job_id": "j-2"}]}, "not among those"),
        ("/v1/scores/batch", {**BATCH, "jobs": [JOB, JOB]}, "1 of the jobs are there more than once"),
        (
            "/v1/standings",
            {**AGAINST_MEMBERS, "members": [MEMBER, MEMBER]},
            "1 of the members are there more than once",
        ),
        ("/v1/rankings", {**AGAINST_MEMBERS, "exploration": -1}, "body.exploration:"),
        ("/v1/quality-matches/threshold", {**PAST, "outcomes": [1, 0]}, "there are 1 probabilities and 2 outcomes"),
        ("/v1/quality-matches/threshold", {**PAST, "outcomes": [2]}, "body.outcomes.0:"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_a_sentence(
    client: httpx.Client, path: str, body: object, sentence: str
) -> None:
    status, detail = refusal(client, path, body)
    assert status == 422
    assert sentence in detail


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5_000, "0x1", "1_0", "nan", "null", '"1"', "[1]", "true"]
)
def test_what_is_no_finite_number_is_refused(client: httpx.Client, number: str) -> None:
    text = f'{{"feature_schema": "two-and-one", "member": {{"member_id": "m", "features": [{number}, 1]}}, "jobs": []}}'
    response = client.post("/v1/scores/member", content=text, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"].startswith(("the body is no JSON: ", "body.member.features"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"feature_schema": "\\ud800"}', b"text"])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data"])
def test_what_is_no_json_is_refused(client: httpx.Client, content: bytes, media_type: str) -> None:
    response = client.post("/v1/scores/member", content=content, headers={"Content-Type": media_type})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


def test_any_finite_features_give_finite_scores(client: httpx.Client) -> None:
    extremes = [
        {"job_id": f"j-{number}", "features": [feature]} for number, feature in enumerate([1e308, -1e308, 5e-324])
    ]
    body = {**AGAINST_JOBS, "member": {"member_id": "m-1", "features": [1e308, -1e308]}, "jobs": extremes}
    for score in answer(client, "/v1/scores/member", body)["scores"]:
        assert abs(score["global_log_odds"]) <= LOG_ODDS_BOUND
        assert np.isfinite(score["log_odds"])
        assert 0 < score["probability"] < 1


def test_an_onnx_model_without_a_finite_number_scores_by_its_base_and_one_that_cannot_be_run_refuses(
    store: CoefficientStore, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = model_scorer()
    function = OnnxFunction(looked_up([0.5, float("inf")]), 2, 1)
    model = OnnxModel(function, -0.75, plain.member_features, plain.job_features, MODEL)
    served = create_application(Settings(), serving(store, replace(plain, model=model)))
    with listening(served) as address, httpx.Client(base_url=address) as client:

        def of(feature: float) -> dict[str, object]:
            return {**AGAINST_JOBS, "member": {"member_id": "m-1", "features": [feature, 14.0]}}

        found = [answer(client, "/v1/scores/member", of(feature))["scores"][0] for feature in (0, 1)]
        assert [each["global_log_odds"] for each in found] == [0.5, -0.75]
        refused = refusal(client, "/v1/scores/member", of(98_765))
        assert refused == (422, "the ONNX model cannot be run on these features")
        # The runtime's words have the number in them, and a feature is logged at debug level only.
        assert caplog.messages == ["the ONNX model cannot be run on a request's features (InvalidArgument)"]
        assert "98765" not in capfd.readouterr().err
        caplog.set_level("DEBUG", logger="stream_qa.serving")
        refusal(client, "/v1/scores/member", of(98_765))
        assert "98765" in caplog.text


def test_more_pairs_than_are_allowed_are_refused(store: CoefficientStore) -> None:
    jobs = [{"job_id": f"j-{number}", "features": [1]} for number in range(4)]
    pairs = [{"member_id": "m-1", "job_id": "j-1"}] * 4
    with client_of(store, serve_max_pairs=3) as client:
        assert answer(client, "/v1/scores/member", {**AGAINST_JOBS, "jobs": jobs[:3]})["scores"]
        for path, body in (
            ("/v1/scores/member", {**AGAINST_JOBS, "jobs": jobs}),
            ("/v1/scores/batch", {**BATCH, "pairs": pairs}),
            ("/v1/scores/batch", {**BATCH, "jobs": [JOB, {"job_id": "a", "features": [1]}, *jobs[2:]]}),
            ("/v1/quality-matches/threshold", {**PAST, "probabilities": [0.5] * 4, "outcomes": [1] * 4}),
        ):
            assert refusal(client, path, body) == (413, "4 at once, where this service takes at most 3")


@pytest.mark.parametrize("announced", [True, False])
def test_more_bytes_than_are_read_are_refused(store: CoefficientStore, announced: bool) -> None:
    body = b'{"feature_schema": "' + b"x" * 2_000 + b'"}'
    with client_of(store, serve_max_bytes=1_000) as client:
        content = body if announced else iter([body[:900], body[900:]])
        response = client.post("/v1/scores/member", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["detail"] == "the request has more than the 1000 bytes that are read"


def test_a_request_that_does_not_arrive_is_given_up(store: CoefficientStore) -> None:
    head = (
        b"POST /v1/scores/member HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with (
        client_of(store, serve_request_seconds=0.1) as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection,
    ):
        connection.sendall(head)
        connection.settimeout(30)
        answered = connection.recv(10_000)
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"the request did not arrive within 0.1 seconds" in answered


def test_there_are_metrics_without_ids(store: CoefficientStore) -> None:
    with client_of(store) as client:
        answer(client, "/v1/scores/member", AGAINST_JOBS)
        refusal(client, "/v1/scores/member", {})
        client.get("/no/such/path")
        text = client.get("/metrics").text
    assert 'stream_qa_serve_requests_total{path="/v1/scores/member",status="200"} 1.0' in text
    assert 'stream_qa_serve_requests_total{path="/v1/scores/member",status="422"} 1.0' in text
    assert 'stream_qa_serve_requests_total{path="other",status="404"} 1.0' in text
    assert "stream_qa_serve_scores_total 1.0" in text
    assert "stream_qa_serve_look_up_seconds_count 1.0" in text
    assert 'stream_qa_store_changes_total{verdict="applied"} 3.0' in text
    assert f"stream_qa_store_newest_label_seconds {(START + 9) / 1000:.12e}" in text
    assert "m-1" not in text


def test_a_service_over_a_filled_store_that_has_applied_nothing_itself_has_no_newest_label() -> None:
    backend = MemoryBackend()
    learn(CoefficientStore(backend), "member", "m-1", [0.5, 2.0])
    with client_of(CoefficientStore(backend)) as client:
        found = answer(client, "/v1/scores/member", AGAINST_JOBS)
        assert found["members"]["m-1"]["version"] == 1
        assert "stream_qa_store_newest_label_seconds" not in client.get("/metrics").text


def test_the_interface_is_described_and_nothing_is_fetched_from_elsewhere(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert "/v1/scores/member" in schema["paths"]
    assert [client.get(path).status_code for path in ("/docs", "/redoc", "/no/such/path")] == [404] * 3
    assert client.get("/v1/scores/member").status_code == 405
