"""Settings: environment variables, and what is said of those that cannot be read."""

from dataclasses import fields
from pathlib import Path

import pytest

from stream_qa.errors import SettingsError
from stream_qa.events import TopicNames
from stream_qa.settings import PREFIX, Settings, load_settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def reason(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return why these variables are refused."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    return str(raised.value)


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.broker == "127.0.0.1:9092"
    assert settings.policy is None
    assert settings.topics == TopicNames()


def test_a_variable_sets_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_QA_BROKER", "one:9092, two:9092")
    monkeypatch.setenv("STREAM_QA_BASE_RATE", "0.1")
    monkeypatch.setenv("STREAM_QA_POLICY", "policy.yaml")
    monkeypatch.setenv("STREAM_QA_WEB_ENABLED", "false")
    settings = load_settings()
    assert settings.kafka.addresses == ("one:9092", "two:9092")
    assert (settings.base_rate, settings.policy, settings.web_enabled) == (0.1, Path("policy.yaml"), False)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("STREAM_QA_BROKERS", "STREAM_QA_BROKER"),
        ("STREAM_QA_POLCY", "STREAM_QA_POLICY"),
        ("STREAM_QA_TOPICS_PREFIX", "STREAM_QA_TOPIC_PREFIX"),
        ("STREAM_QA_MAX_MESSAGE_SIZE", "STREAM_QA_MAX_MESSAGE_BYTES"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str
) -> None:
    assert reason(monkeypatch, **{misspelt: "1"}) == f"{misspelt} is not a setting; did you mean {meant}?"


def test_an_unknown_variable_that_is_like_no_setting_is_refused_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "STREAM_QA_" + "X" * 40
    assert reason(monkeypatch, **{name: "1"}) == f"{name} is not a setting."


def test_other_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_QUALITY", "1")
    monkeypatch.setenv("BROKER", "elsewhere:1")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_RATE", "1"),
        ("BASE_RATE", "nan"),
        ("BASE_RATE", "a quarter"),
        ("LEARNING_RATE", "0"),
        ("LEARNING_RULE", "newton"),
        ("DECAY_DAYS", "-1"),
        ("DECAY_DAYS", "inf"),
        ("FEATURE_BOUND", "inf"),
        ("FEATURE_BOUND", "nan"),
        ("FEATURE_BOUND", "1001"),
        ("MEMBER_INTERCEPT_PRECISION", "1e-308"),
        ("MEMBER_SLOPE_PRECISION", "1e7"),
        ("JOB_INTERCEPT_PRECISION", "0"),
        ("JOB_SLOPE_PRECISION", "0.009"),
        ("MEMBER_INTERCEPT_PRECISION", "inf"),
        ("MEMBER_SLOPE_PRECISION", "inf"),
        ("JOB_INTERCEPT_PRECISION", "inf"),
        ("JOB_SLOPE_PRECISION", "-1"),
        ("SESSION_TIMEOUT_SECONDS", "inf"),
        ("MAX_MESSAGE_BYTES", "1e6 bytes"),
        ("MAX_MESSAGE_BYTES", "999"),
        ("CHUNK_RECORDS", "0"),
        ("WEB_PORT", "65536"),
        ("WEB_ENABLED", "perhaps"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert reason(monkeypatch, **{f"STREAM_QA_{name}": value}).startswith(f"STREAM_QA_{name}: ")


def test_all_that_cannot_be_read_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = reason(monkeypatch, STREAM_QA_BASE_RATE="2", STREAM_QA_CHUNK_RECORDS="many")
    assert "STREAM_QA_BASE_RATE: " in text
    assert "; STREAM_QA_CHUNK_RECORDS: " in text


def test_the_prefix_stands_in_front_of_every_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_QA_TOPIC_PREFIX", "eu-")
    topics = load_settings().topics
    assert topics.all() == tuple(f"eu-{name}" for name in TopicNames().all())
    assert len(set(topics.all())) == len(fields(TopicNames))
    assert set(topics.partitioned_together()) <= set(topics.all())


def test_the_names_of_the_topics() -> None:
    assert TopicNames().all()[:11] == (
        "applications",
        "engagements",
        "ticks",
        "labels",
        "examples",
        "scores",
        "notifications",
        "coefficients",
        "coefficient-snapshots",
        "models",
        "dead-letters",
    )


@pytest.mark.parametrize("broker", ["", ",", "host", "host:abc", "kafka://host:9092", "host:0", "host:70000", ":9092"])
def test_an_address_that_is_not_host_and_port_is_refused(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_QA_BROKER", broker)
    with pytest.raises(SettingsError, match=r"STREAM_QA_BROKER: .*host:port"):
        load_settings()
