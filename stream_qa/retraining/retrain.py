"""A retraining, step by step. Whoever is killed between two of them leaves the incumbent in use, and can begin again.

::

    labels ─► events ─► candidate ─► trial on days held back ─► gate ─► report ─► published ─► old bundles deleted
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stream_qa.bundle import Bundle, difference, load_bundle, published_model
from stream_qa.durations import DAY
from stream_qa.errors import EvaluationError, ModelRefusedError, TrainingError
from stream_qa.events import PublishedModel
from stream_qa.labels import load_policy
from stream_qa.retraining.candidate import GlobalChoice, keeps_global, trained
from stream_qa.retraining.gate import Gate, judge
from stream_qa.retraining.report import Outcome, Verdict, day_of
from stream_qa.retraining.shelf import Shelf, report_name
from stream_qa.retraining.trial import tried
from stream_qa.settings import Settings
from stream_qa.streaming.publications import Publications
from stream_qa.training.history import read_history
from stream_qa.training.label_log import LabelLog, believing

_NO_BUNDLE = "none"


@dataclass(frozen=True)
class Options:
    """How to retrain."""

    until: int | None = None
    """What happened then or later (ms) is not looked at; ``None`` for all that labels say."""
    held_back_days: int = 7
    global_after_days: float = 28.0
    """The age from which on the global model is trained anew."""
    global_choice: GlobalChoice = GlobalChoice.LIKE_INCUMBENT
    keep: int = 7
    """How many bundles that were published stay, and how many others."""
    gate: Gate = field(default_factory=Gate)
    location: Path | None = None
    """The shelf's directory as workers see it; ``None`` where that is the same path."""


class Refused(Exception):  # noqa: N818 # no error: a way in which a retraining ends
    """The candidate is not promoted, or there is none; the message says why."""


class Retraining:
    """One retraining.

    Parameters
    ----------
    settings
        The group's.
    options
        How to retrain.
    shelf
        Where bundles and reports are put.
    log
        What there is to train on.
    standing
        Returns what is published now.
    publish
        Publishes a model, and returns its number.
    told
        Is told of every step that is done.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        shelf: Shelf,
        log: LabelLog,
        *,
        standing: Callable[[], Publications],
        publish: Callable[[PublishedModel], int],
        told: Callable[[str], object] = lambda _step: None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._shelf = shelf
        self._log = log
        self._standing = standing
        self._publish = publish
        self._told = told
        self._step_began = time.monotonic()

    def run(self) -> Outcome:
        """Retrain; return what was done.

        Raises
        ------
        RetrainingError
            Another one is at work, or the directory cannot be written.
        """
        with self._shelf.alone():
            before = self._standing()
            incumbent = _incumbent(self._settings, before)
            version = _NO_BUNDLE if incumbent is None else incumbent.version
            outcome = Outcome(datetime.now(UTC), version, self._log.labels)
            try:
                candidate = self._train(incumbent, before, outcome)
                self._try(incumbent, candidate, outcome)
                self._look_again(version)
            except Refused as refusal:
                outcome.reason = str(refusal)
            else:
                outcome.verdict = Verdict.PASSED
                self._report(outcome)
                location = self._options.location
                seen = None if location is None else location / candidate.version
                outcome.number = self._publish(published_model(candidate, seen))
                outcome.verdict = Verdict.PROMOTED
                self._done("published", outcome)
            self._report(outcome)
            self._clear(outcome)
            self._report(outcome)
        return outcome

    def _train(self, incumbent: Bundle | None, before: Publications, outcome: Outcome) -> Bundle:
        """Train a candidate, and put its bundle on the shelf."""
        settings, options = self._settings, self._options
        policy = load_policy(settings.policy)
        reached = self._log.reached if options.until is None else min(options.until, self._log.reached)
        # Of those sent before, the final labels are known.
        until = (reached - policy.window - policy.lateness) // DAY * DAY
        since = until - options.held_back_days * DAY
        outcome.held_back_since, outcome.held_back_until, outcome.trained_until = since, until, since
        if incumbent is not None and incumbent.manifest.description.until >= since:
            raise Refused(
                f"the incumbent was trained on what was known at {day_of(incumbent.manifest.description.until)}, and a "
                f"candidate could only be on what was known at {day_of(since)}"
            )
        keep_global = keeps_global(incumbent, options.global_choice, since, options.global_after_days)
        outcome.global_model = "kept" if keep_global else "retrained"
        try:
            history = read_history(
                self._log.events(since),
                topics=settings.topics,
                policy=believing(policy),
                until=since,
                max_message_bytes=settings.max_message_bytes,
            )
            outcome.rejected = dict(sorted(history.rejected.items()))
            training = trained(
                history,
                policy,
                incumbent,
                until=since,
                choice=options.global_choice,
                keep_global=keep_global,
                plain_bound=settings.feature_bound,
            )
        except TrainingError as error:
            raise Refused(f"there is nothing to train on yet: {error}") from error
        self._done("trained", outcome)
        candidate = load_bundle(self._shelf.put(training))
        outcome.candidate = candidate.version
        self._done("kept", outcome)
        if candidate.version == outcome.incumbent:
            raise Refused("the training gives the bundle that is in use already")
        if candidate.version in before.withdrawn:
            raise Refused("this very bundle was rolled back")
        if incumbent is not None:
            outcome.difference = difference(incumbent, candidate)
        return candidate

    def _try(self, incumbent: Bundle | None, candidate: Bundle, outcome: Outcome) -> None:
        """Let the candidate pass the gate."""
        since, until = outcome.held_back_since or 0, outcome.held_back_until or 0
        events = self._log.events(self._options.until)
        try:
            trial = tried(events, self._settings, incumbent, candidate, since=since, until=until)
        except EvaluationError as error:
            raise Refused(f"there is nothing to try it on: {error}") from error
        except ModelRefusedError as error:
            raise Refused(f"workers would refuse it: {error}") from error
        outcome.judgement = judge(trial, self._options.gate)
        outcome.reason = outcome.judgement.reason
        self._done("tried", outcome)
        if not outcome.judgement.is_better:
            raise Refused(outcome.judgement.reason)

    def _look_again(self, version: str) -> None:
        """Check that the incumbent is in use still."""
        if _incumbent_version(self._settings, self._standing()) != version:
            raise Refused(f"{version} is not in use any more: somebody published another one meanwhile")

    def _report(self, outcome: Outcome) -> None:
        """Write the report, over the one of an earlier step."""
        name = report_name(outcome.began_at, outcome.candidate or "no-candidate")
        self._shelf.report(name, {"json": outcome.to_json(), "md": outcome.to_markdown()})
        self._done("reported", outcome)

    def _clear(self, outcome: Outcome) -> None:
        """Delete the bundles that nobody needs."""
        now = self._standing()
        retention = load_policy(self._settings.policy).retention
        # A worker needs what unread labels name; those of open applications are the last that may be.
        named = {version for version, at in self._log.named_until.items() if at > self._log.reached - retention}
        in_use = _incumbent_version(self._settings, now)
        needed = {*named, in_use, *([] if outcome.candidate is None else [outcome.candidate])}
        if self._settings.bundle is not None:
            needed.add(load_bundle(self._settings.bundle).version)
        outcome.deleted = self._shelf.clear(self._options.keep, needed, {one.model.version for one in now.all})
        self._done("cleared", outcome)

    def _done(self, step: str, outcome: Outcome) -> None:
        now = time.monotonic()
        outcome.seconds[step] = round(now - self._step_began, 3)
        self._step_began = now
        self._told(step)


def _incumbent(settings: Settings, now: Publications) -> Bundle | None:
    """Return the bundle that workers use; ``None`` where they have none."""
    if now.in_use is not None:
        return now.in_use.bundle
    return None if settings.bundle is None else load_bundle(settings.bundle)


def _incumbent_version(settings: Settings, now: Publications) -> str:
    bundle = _incumbent(settings, now)
    return _NO_BUNDLE if bundle is None else bundle.version
