"""The stages, set up from the settings: the flow on one page.

::

    applications, engagements ─► label ─► labels ─► member ─► examples ─► job
                                                      └─► scores ─► notify
"""

import math
from dataclasses import dataclass

from stream_qa.bundle import Bundle, load_bundle, load_random_effects
from stream_qa.coefficients import Publisher
from stream_qa.durations import DAY
from stream_qa.errors import SettingsError
from stream_qa.events import Application, Decoder, Engagement, Example, Label, Score, Tick, WireDecoder, wire
from stream_qa.labels import LabelPolicy, load_policy
from stream_qa.learning import (
    SGD,
    AdaptiveSGD,
    BaseRate,
    Prior,
    RandomEffect,
    Rule,
    Standardisation,
    Window,
)
from stream_qa.learning.entity_guard import EntityPolicy
from stream_qa.learning.guard import GuardPolicy
from stream_qa.products import NotificationPolicy
from stream_qa.settings import Settings
from stream_qa.stages import learn_job, learn_member
from stream_qa.stages.expiry import Expiry
from stream_qa.stages.label import LabelStage
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.learner_input import LearnerInput
from stream_qa.stages.models import Model, Models
from stream_qa.stages.notify import NotifyStage


@dataclass(frozen=True)
class Pipeline:
    """What decides: bytes in, bytes out, no Kafka."""

    models: Models
    """What they score and learn by."""
    label: LabelStage
    member: LearnStage[wire.Label]
    job: LearnStage[wire.Example]
    notify: NotifyStage | None
    """``None`` where nobody is to be notified."""


def build_pipeline(settings: Settings) -> Pipeline:
    """Set up the stages.

    Raises
    ------
    PolicyError
        The label policy cannot be read.
    BundleError
        The model bundle cannot be used.
    SettingsError
        Entities would be dropped while their labels may be revised.
    """
    policy = load_policy(settings.policy)
    models = Models(first_model(settings))
    expiry = _expiry(settings, policy)
    guard = _guard(settings)
    topics = settings.topics
    return Pipeline(
        models=models,
        label=LabelStage(
            topics=topics,
            policy=policy,
            models=models,
            applications=WireDecoder(wire.Application, Decoder(Application, settings.max_message_bytes)),
            engagements=WireDecoder(wire.Engagement, Decoder(Engagement, settings.max_message_bytes)),
            ticks=WireDecoder(wire.Tick, Decoder(Tick)),
            most_due=settings.due_applications,
        ),
        member=LearnStage(
            name="member",
            models=models,
            source=LearnerInput(
                effect=lambda model: model.member_effect,
                decoder=WireDecoder(wire.Label, Decoder(Label)),
                entity_id=lambda label: label.member_id,
                features=lambda label: label.job_features,
                offset=learn_member.offset,
            ),
            publisher=_publisher(settings, models.first.member_effect),
            forward=learn_member.MemberOutput(topics),
            dead_letters=topics.dead_letters,
            retention=policy.retention,
            warm_start=settings.warm_start,
            expiry=expiry,
            guard=guard,
        ),
        job=LearnStage(
            name="job",
            models=models,
            source=LearnerInput(
                effect=lambda model: model.job_effect,
                decoder=WireDecoder(wire.Example, Decoder(Example)),
                entity_id=lambda example: example.job_id,
                features=lambda example: example.member_features,
                offset=learn_job.offset,
            ),
            publisher=_publisher(settings, models.first.job_effect),
            forward=learn_job.no_output,
            dead_letters=topics.dead_letters,
            retention=policy.retention,
            warm_start=settings.warm_start,
            expiry=expiry,
            guard=guard,
        ),
        notify=_notify(settings),
    )


def first_model(settings: Settings) -> Model:
    """Return the model with which a group of these settings begins.

    Raises
    ------
    BundleError
        The model bundle cannot be used.
    """
    if settings.bundle is not None:
        return model_of(settings, load_bundle(settings.bundle), 0)
    rule, features = _rule(settings), Standardisation(settings.feature_bound)
    member_prior = Prior(settings.member_intercept_precision, settings.member_slope_precision)
    job_prior = Prior(settings.job_intercept_precision, settings.job_slope_precision)
    return Model(
        number=0,
        global_model=BaseRate(settings.base_rate),
        member_effect=RandomEffect("member", member_prior, rule, features),
        job_effect=RandomEffect("job", job_prior, rule, features),
    )


def model_of(settings: Settings, bundle: Bundle, number: int) -> Model:
    """Return what the stages take from a bundle, by the settings' rule.

    With a warm start it reads the coefficients of all entities, which takes a second or two for some hundred thousand.

    Raises
    ------
    BundleError
        Those cannot be used.
    """
    model, rule, version = bundle.global_model, _rule(settings), bundle.version
    of_member, of_job = None, None
    if settings.warm_start:
        effects = load_random_effects(bundle)
        of_member, of_job = effects.members, effects.jobs
    return Model(
        number=number,
        global_model=model,
        member_effect=RandomEffect(
            "member", bundle.member_prior, rule, model.job_features, number, version, start=of_member
        ),
        job_effect=RandomEffect("job", bundle.job_prior, rule, model.member_features, number, version, start=of_job),
        feature_schema=bundle.feature_schema,
        curves=bundle.curves,
        profile=bundle.profile,
    )


def _expiry(settings: Settings, policy: LabelPolicy) -> Expiry:
    idle = round(settings.idle_days * DAY)
    # An entity is as old as its newest answer, and that may be from before the application it is an answer to.
    least = policy.retention + policy.orphan_wait
    if 0 < idle < least:
        raise SettingsError(
            f"STREAM_QA_IDLE_DAYS is {settings.idle_days:g}, and must be at least {least / DAY:g}: a label may be of "
            f"an answer from {policy.orphan_wait / DAY:g} days before its application, and be revised until "
            f"{policy.retention / DAY:g} days after it"
        )
    return Expiry(idle)


def _guard(settings: Settings) -> GuardPolicy | None:
    if not settings.guard:
        return None
    entities = EntityPolicy(settings.guard_entity_evidence, settings.guard_flood, settings.guard_bound)
    return GuardPolicy(settings.guard_evidence, settings.guard_change, entities)


def _notify(settings: Settings) -> NotifyStage | None:
    if not settings.notify_per_job_and_day:
        return None
    return NotifyStage(
        topics=settings.topics,
        policy=NotificationPolicy(
            settings.notify_per_job_and_day, settings.notify_probability, settings.notify_least_steps
        ),
        scores=WireDecoder(wire.Score, Decoder(Score)),
    )


def _rule(settings: Settings) -> Rule:
    time_constant = settings.decay_days * DAY or math.inf
    match settings.learning_rule:
        case "adaptive-sgd":
            return AdaptiveSGD(time_constant, learning_rate=settings.learning_rate)
        case "sgd":
            return SGD(time_constant, learning_rate=settings.learning_rate)
        case "window":
            return Window(time_constant)


def _publisher(settings: Settings, effect: RandomEffect) -> Publisher:
    return Publisher(
        effect=effect,
        deltas=settings.topics.coefficients,
        snapshots=settings.topics.coefficient_snapshots,
        snapshot_every=settings.snapshot_every,
        snapshot_period=round(settings.snapshot_seconds * 1000),
    )
