"""The three stages, set up from the settings: the flow on one page.

::

    applications, engagements ─► label ─► labels ─► member ─► examples ─► job
                                                      └─► scores
"""

import math
from dataclasses import dataclass

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.coefficients import Publisher
from stream_qa.events import Application, Decoder, Engagement, Example, Label, Tick, WireDecoder, wire
from stream_qa.labels import load_policy
from stream_qa.learning import (
    SGD,
    AdaptiveSGD,
    BaseRate,
    GlobalModel,
    Prior,
    RandomEffect,
    Rule,
    Standardisation,
    Window,
)
from stream_qa.settings import Settings
from stream_qa.stages import learn_job, learn_member
from stream_qa.stages.label import LabelStage
from stream_qa.stages.learn import LearnerInput, LearnStage

_DAY = 86_400_000.0


@dataclass(frozen=True)
class Pipeline:
    """What decides: bytes in, bytes out, no Kafka."""

    label: LabelStage
    member: LearnStage[wire.Label]
    job: LearnStage[wire.Example]


def build_pipeline(settings: Settings) -> Pipeline:
    """Set up the stages.

    Raises
    ------
    PolicyError
        The label policy cannot be read.
    BundleError
        The model bundle cannot be used.
    """
    policy = load_policy(settings.policy)
    bundle = None if settings.bundle is None else load_bundle(settings.bundle)
    global_model = BaseRate(settings.base_rate) if bundle is None else bundle.global_model
    member_effect, job_effect = _effects(settings, bundle)
    topics = settings.topics
    return Pipeline(
        label=LabelStage(
            topics=topics,
            policy=policy,
            global_model=global_model,
            job_effect=job_effect,
            applications=WireDecoder(wire.Application, Decoder(Application, settings.max_message_bytes)),
            engagements=WireDecoder(wire.Engagement, Decoder(Engagement, settings.max_message_bytes)),
            ticks=WireDecoder(wire.Tick, Decoder(Tick, settings.max_message_bytes)),
            feature_schema=None if bundle is None else bundle.feature_schema,
            curves=None if bundle is None else bundle.curves,
            most_due=settings.due_applications,
        ),
        member=LearnStage(
            name="member",
            effect=member_effect,
            source=LearnerInput(
                decoder=WireDecoder(wire.Label, Decoder(Label, settings.max_message_bytes)),
                entity_id=lambda label: label.member_id,
                features=lambda label: label.job_features,
                offset=learn_member.offset,
            ),
            publisher=_publisher(settings, member_effect, global_model),
            forward=learn_member.MemberOutput(topics, global_model.version),
            dead_letters=topics.dead_letters,
            retention=policy.retention,
        ),
        job=LearnStage(
            name="job",
            effect=job_effect,
            source=LearnerInput(
                decoder=WireDecoder(wire.Example, Decoder(Example, settings.max_message_bytes)),
                entity_id=lambda example: example.job_id,
                features=lambda example: example.member_features,
                offset=learn_job.offset,
            ),
            publisher=_publisher(settings, job_effect, global_model),
            forward=learn_job.no_output,
            dead_letters=topics.dead_letters,
            retention=policy.retention,
        ),
    )


def _effects(settings: Settings, bundle: Bundle | None) -> tuple[RandomEffect, RandomEffect]:
    """Return the member's effect, over job features, and the job's, over member features."""
    rule = _rule(settings)
    if bundle is not None:
        return (
            RandomEffect("member", bundle.member_prior, rule, bundle.global_model.job_features),
            RandomEffect("job", bundle.job_prior, rule, bundle.global_model.member_features),
        )
    features = Standardisation(settings.feature_bound)
    return (
        RandomEffect(
            "member", Prior(settings.member_intercept_precision, settings.member_slope_precision), rule, features
        ),
        RandomEffect("job", Prior(settings.job_intercept_precision, settings.job_slope_precision), rule, features),
    )


def _rule(settings: Settings) -> Rule:
    time_constant = settings.decay_days * _DAY or math.inf
    match settings.learning_rule:
        case "adaptive-sgd":
            return AdaptiveSGD(time_constant, learning_rate=settings.learning_rate)
        case "sgd":
            return SGD(time_constant, learning_rate=settings.learning_rate)
        case "window":
            return Window(time_constant)


def _publisher(settings: Settings, effect: RandomEffect, global_model: GlobalModel) -> Publisher:
    return Publisher(
        effect=effect,
        deltas=settings.topics.coefficients,
        snapshots=settings.topics.coefficient_snapshots,
        model_version=global_model.version,
        snapshot_every=settings.snapshot_every,
    )
