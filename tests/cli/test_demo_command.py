"""``stream-qa demo``: what it needs no broker to show."""

from stream_qa.cli.demo import set_alone


def test_nothing_of_the_settings_of_whoever_shows_it_is_left() -> None:
    environment = {"HOME": "/home/me", "STREAM_QA_LOG_LEVEL": "warning", "STREAM_QA_BROKER": "kafka-1:9092"}
    set_alone(environment, {"STREAM_QA_BROKER": "127.0.0.1:9092"})
    assert environment == {"HOME": "/home/me", "STREAM_QA_BROKER": "127.0.0.1:9092"}
