"""The three stages, set up from the settings: the flow on one page.

::

    applications, engagements ─► label ─► labels ─► member ─► examples ─► job
                                                      └─► scores
"""

from dataclasses import dataclass

from stream_qa.coefficients import Publisher
from stream_qa.events import Application, Decoder, Engagement, EntityKind, Example, Label, Tick, WireDecoder, wire
from stream_qa.labels import load_policy
from stream_qa.learning import AdaptiveSGD, BaseRate, GlobalModel, Prior, RandomEffect, Standardisation
from stream_qa.settings import Settings
from stream_qa.stages import learn_job, learn_member
from stream_qa.stages.label import LabelStage
from stream_qa.stages.learn import LearnerInput, LearnStage


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
    """
    policy = load_policy(settings.policy)
    global_model = BaseRate(settings.base_rate)
    member_effect = _effect(settings, "member", settings.member_intercept_precision, settings.member_slope_precision)
    job_effect = _effect(settings, "job", settings.job_intercept_precision, settings.job_slope_precision)
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


def _effect(settings: Settings, kind: EntityKind, intercept_precision: float, slope_precision: float) -> RandomEffect:
    return RandomEffect(
        kind=kind,
        prior=Prior(intercept_precision, slope_precision),
        rule=AdaptiveSGD(learning_rate=settings.learning_rate),
        features=Standardisation(settings.feature_bound),
    )


def _publisher(settings: Settings, effect: RandomEffect, global_model: GlobalModel) -> Publisher:
    return Publisher(
        effect=effect,
        deltas=settings.topics.coefficients,
        snapshots=settings.topics.coefficient_snapshots,
        model_version=global_model.version,
        snapshot_every=settings.snapshot_every,
    )
