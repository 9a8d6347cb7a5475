"""All settings: environment variables that begin with ``STREAM_QA_``."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_serializer, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_qa.errors import SettingsError
from stream_qa.events.fields import FeatureBound, Precision
from stream_qa.events.topics import FIRST_GENERATION, TopicNames, generation_suffix
from stream_qa.kafka_access import KafkaAccess, SaslMechanism, SecurityProtocol
from stream_qa.logs import LogFormat, LogLevel

PREFIX = "STREAM_QA_"
_LAST_PORT = 65_535


class Settings(BaseSettings):
    """Every setting with its default; ``STREAM_QA_BROKER`` sets ``broker`` and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    broker: Annotated[str, Field(description="host:port of the Kafka broker, several separated by commas")] = (
        "127.0.0.1:9092"
    )
    security_protocol: Annotated[
        SecurityProtocol,
        Field(description="whether connections to Kafka are encrypted (SSL), and made with a user name (SASL)"),
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        SaslMechanism, Field(description="how the broker is shown the password; PLAIN only under TLS")
    ] = "SCRAM-SHA-512"
    sasl_username: Annotated[str | None, Field(min_length=1, description="user name at the broker")] = None
    sasl_password: Annotated[SecretStr | None, Field(min_length=1, description="its password")] = None
    sasl_password_file: Annotated[
        Path | None, Field(description="file with the password, as a mounted secret, instead")
    ] = None
    tls_ca: Annotated[
        Path | None, Field(description="PEM file of those who may sign the broker's certificate; none for the system's")
    ] = None
    tls_certificate: Annotated[
        Path | None, Field(description="PEM file of the certificate by which the broker knows this program")
    ] = None
    tls_key: Annotated[Path | None, Field(description="PEM file of its key, which has no password")] = None
    tls_hostname_check: Annotated[
        bool, Field(description="whether the broker's certificate must be one of its address")
    ] = True
    app_id: Annotated[str, Field(description="name of the worker group, and of its Kafka consumer group")] = "stream-qa"
    topic_prefix: Annotated[str, Field(description="in front of every topic's name, to keep worker groups apart")] = ""
    generation: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="which generation: from the second on, names of all its own end in it"),
    ] = FIRST_GENERATION
    data_directory: Annotated[Path, Field(description="where workers keep their local state; one for each worker")] = (
        Path("stream-qa-data")
    )

    log_format: Annotated[
        LogFormat, Field(description="how logs are written: for people, or one JSON object per line")
    ] = "console"
    log_level: Annotated[
        LogLevel | None,
        Field(description="the least that is logged; none for what a worker's -l says, info, and warning of commands"),
    ] = None

    policy: Annotated[Path | None, Field(description="YAML file with the label policy; none for the built-in one")] = (
        None
    )
    bundle: Annotated[
        Path | None,
        Field(
            description="directory of a model bundle: its global model, feature scales and priors take the place of "
            "base rate, feature bound and precisions"
        ),
    ] = None
    warm_start: Annotated[
        bool,
        Field(
            description="whether members and jobs that a bundle's training knew start from its coefficients; "
            "not where the log that it was trained on is read again"
        ),
    ] = False
    base_rate: Annotated[
        float, Field(gt=0, lt=1, description="probability of a positive where an application brings no global_log_odds")
    ] = 0.25
    learning_rule: Annotated[
        Literal["adaptive-sgd", "sgd", "window"], Field(description="how entities learn from a label")
    ] = "adaptive-sgd"
    learning_rate: Annotated[
        float, Field(gt=0, le=10, description="length of a coordinate's first steps, for the rules that take steps")
    ] = 0.5
    decay_days: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="days until what was learned counts 1/e of it; 0 for always all"),
    ] = 365.0
    idle_days: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="days of event time without a label after which members and jobs are dropped, at least as many "
            "as the label policy's orphan_days, window_days and revision_days together; 0 for never",
        ),
    ] = 730.0
    feature_bound: Annotated[FeatureBound, Field(description="features are clipped to plus and minus this")] = 20.0
    member_intercept_precision: Annotated[Precision, Field(description="prior precision of a member's intercept")] = 4.0
    member_slope_precision: Annotated[Precision, Field(description="prior precision of a member's slope")] = 16.0
    job_intercept_precision: Annotated[Precision, Field(description="prior precision of a job's intercept")] = 2.0
    job_slope_precision: Annotated[Precision, Field(description="prior precision of a job's slope")] = 16.0
    snapshot_every: Annotated[int, Field(ge=1, description="label steps of an entity between two full snapshots")] = 20
    snapshot_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=31_536_000,
            description="an entity's first change in each such period of event time brings a full snapshot as well",
        ),
    ] = 86_400.0

    guard: Annotated[
        bool, Field(description="whether coefficients stop being published where what is learned does harm")
    ] = True
    guard_evidence: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="nats by which what a side learns must have made scores worse; 0 for never",
        ),
    ] = 64.0
    guard_change: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="nats by which labels must differ from what they used to be like; 0 for never",
        ),
    ] = 128.0
    guard_entity_evidence: Annotated[
        float,
        Field(
            ge=0,
            le=1_000,
            description="nats by which what one member or job learns must have made scores worse; 0 for never",
        ),
    ] = 24.0
    guard_flood: Annotated[
        float,
        Field(
            ge=0,
            le=1_000,
            description="nats by which the positives of one member or job on a day must be surprising; 0 for never",
        ),
    ] = 96.0
    guard_bound: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="coefficients with one beyond plus or minus this are not published; 0 for no bound",
        ),
    ] = 8.0

    max_message_bytes: Annotated[
        int, Field(ge=1_000, description="larger applications and engagements go to the dead letters")
    ] = 1_000_000
    chunk_records: Annotated[
        int, Field(ge=1, description="records after which a transaction of a lane takes no further chunk")
    ] = 5_000
    groups: Annotated[
        int, Field(ge=1, description="partition groups; a worker that is alone makes one of all partitions")
    ] = 8
    commit_milliseconds: Annotated[
        int,
        Field(
            ge=0, le=1_000, description="least time between two transactions of a partition group that is not behind"
        ),
    ] = 5
    on_bug: Annotated[
        Literal["stop", "dead-letter"], Field(description="what to do with a record on which a stage's code fails")
    ] = "stop"
    instance_id: Annotated[
        str,
        Field(
            pattern=r"^[a-zA-Z0-9._-]{1,200}$",
            description="name by which the worker group knows a worker again after a restart; `auto` makes it of the "
            "host and the data directory, `none` makes every start a new worker",
        ),
    ] = "auto"
    order_seconds: Annotated[
        float,
        Field(ge=0, le=60, description="how long the input that is ahead in event time waits for records of the other"),
    ] = 10.0
    replay_step_hours: Annotated[
        float,
        Field(
            ge=0,
            le=8_760,
            description="event time after which labels that come faster than the clock wait for the jobs to learn from "
            "them; 0 for never",
        ),
    ] = 24.0
    notify_per_job_and_day: Annotated[
        int, Field(ge=0, le=1_000, description="most notifications of very high matches per job and day; 0 for none")
    ] = 0
    notify_probability: Annotated[
        float, Field(ge=0, le=1, description="of an answer, from which on a match is very high")
    ] = 0.8
    notify_least_steps: Annotated[
        int, Field(ge=0, description="label steps that must stand behind a score for a notification")
    ] = 5
    partitioner: Annotated[
        Literal["murmur2", "unchecked"],
        Field(description="how producers choose partitions; what is not in that of its key is a dead letter"),
    ] = "murmur2"
    quiet_seconds: Annotated[
        float,
        Field(ge=0, le=86_400, description="an input that brings nothing for so long moves on by ticks; 0 for never"),
    ] = 60.0
    due_applications: Annotated[
        int,
        Field(
            ge=1,
            description="applications that may fall due, or hear of others, in one commit; the rest follows",
        ),
    ] = 5_000
    session_timeout_seconds: Annotated[
        float,
        Field(ge=6, le=1_800, description="a worker silent for longer loses its partitions; brokers allow this range"),
    ] = 10.0
    state_cache_bytes: Annotated[
        int, Field(ge=1 << 20, description="block cache that all tables of a worker share")
    ] = 256 << 20
    state_write_buffer_bytes: Annotated[int, Field(ge=64 << 10, description="write buffer of each table")] = 8 << 20

    stall_seconds: Annotated[
        float,
        Field(ge=5, le=86_400, description="a worker that does not move for so long with records to read is not alive"),
    ] = 300.0
    web_enabled: Annotated[bool, Field(description="whether Faust's web server runs")] = True
    web_host: Annotated[str, Field(description="address it listens on; it has no authentication")] = "127.0.0.1"
    web_port: Annotated[int, Field(ge=1, le=65_535, description="port it listens on")] = 6066

    serve_host: Annotated[str, Field(description="address that the scoring service listens on")] = "127.0.0.1"
    serve_port: Annotated[int, Field(ge=1, le=65_535, description="port that the scoring service listens on")] = 8080
    serve_token: Annotated[
        SecretStr | None,
        Field(min_length=1, description="token that clients of the scoring service must bring"),
    ] = None
    serve_store: Annotated[
        str,
        Field(
            min_length=1,
            description="where the scoring service keeps coefficients: a directory of its own, or the address of a "
            "server that several may share: redis://, with TLS rediss://",
        ),
    ] = "stream-qa-store"
    serve_stale_seconds: Annotated[
        float,
        Field(gt=0, le=86_400, description="coefficients not seen up to date for so long are said to be stale"),
    ] = 30.0
    serve_max_pairs: Annotated[
        int, Field(ge=1, description="pairs, members and jobs that a request to the scoring service may have, each")
    ] = 2_000
    serve_max_bytes: Annotated[
        int, Field(ge=1_000, description="bytes that a request to the scoring service may have")
    ] = 4_000_000
    serve_request_seconds: Annotated[
        float, Field(gt=0, le=600, description="time that a request to the scoring service may take to arrive")
    ] = 10.0
    serve_look_up_seconds: Annotated[
        float,
        Field(gt=0, le=60, description="time that coefficients may take; then the global model scores alone"),
    ] = 0.5
    match_threshold: Annotated[
        float, Field(gt=0, le=1, description="probability at which a quality match is flagged")
    ] = 0.5
    match_margin: Annotated[
        float, Field(ge=0, lt=1, description="a flag is kept down to so much below the threshold")
    ] = 0.05
    match_labels: Annotated[
        int, Field(ge=0, description="labels behind member and job together, below which there is no flag")
    ] = 5
    top_share: Annotated[
        float, Field(gt=0, le=1, description="share of a job's applicants that may be top applicants")
    ] = 0.1
    top_applicants: Annotated[
        int, Field(ge=1, description="applicants of a job, below which there are no top ones and no percentiles")
    ] = 10

    @field_validator("broker")
    @classmethod
    def _addresses(cls, broker: str) -> str:
        for address in broker.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or "/" in host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
                raise ValueError(f"{address!r} is not host:port")
        return broker

    @field_serializer("serve_store", when_used="json")
    def _without_password(self, location: str) -> str:
        return without_password(location)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Say at once what is wrong with the access to Kafka, not when it is first needed."""
        _ = self.kafka
        return self

    @property
    def kafka(self) -> KafkaAccess:
        """What clients of the broker are made with."""
        return KafkaAccess(
            addresses=tuple(address.strip() for address in self.broker.split(",")),
            protocol=self.security_protocol,
            mechanism=self.sasl_mechanism,
            username=self.sasl_username,
            password=self.sasl_password,
            password_file=self.sasl_password_file,
            ca=self.tls_ca,
            certificate=self.tls_certificate,
            key=self.tls_key,
            check_hostname=self.tls_hostname_check,
        )

    @property
    def topics(self) -> TopicNames:
        """The names of the topics on the broker."""
        return TopicNames.with_prefix(self.topic_prefix, self.generation)

    @property
    def group_id(self) -> str:
        """The name of the Kafka consumer group."""
        return f"{self.app_id}{generation_suffix(self.generation)}"

    @property
    def state_directory(self) -> Path:
        """Where this generation's worker keeps its state: within the data directory, which may be a volume."""
        suffix = generation_suffix(self.generation)
        return self.data_directory / suffix.removeprefix(".") if suffix else self.data_directory


def without_password(location: str) -> str:
    """Return a URL as it may be shown."""
    hidden = "**********"
    # A password may have an @ itself: clients take all up to the last one.
    return re.sub(r"(?<=://).*(?=@)", hidden, re.sub(r"(?<=[?&]password=)[^&]*", hidden, location))


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    SettingsError
        A value cannot be read, or a ``STREAM_QA_*`` variable is no setting (most likely misspelt).
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise SettingsError(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "."))
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{PREFIX}{'.'.join(str(part) for part in detail['loc']).upper()}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("; ".join(problems)) from None
