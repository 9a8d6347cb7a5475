"""Notifications: which scores are worth a recruiter's attention at once, and why, in a sentence."""

from dataclasses import dataclass

from stream_qa.events import wire

_LEAST_LOG_ODDS = 0.005


@dataclass(frozen=True)
class NotificationPolicy:
    """What a recruiter is told of."""

    per_job_and_day: int
    """The most notifications of a job on one day of event time, UTC. Those that come first are sent."""
    probability: float = 0.8
    """Of an answer, from which on a match is very high."""
    least_steps: int = 5
    """Label steps behind the score, of the member and the job together: a guess is no news."""


def is_very_high(score: wire.Score, policy: NotificationPolicy) -> bool:
    """Return whether a score is worth a notification, if there is room for one."""
    return score.probability >= policy.probability and score.member_version + score.job_version >= policy.least_steps


def explanation(score: wire.Score) -> str:
    """Return what speaks for a match and what against it, in log-odds, the most first."""
    parts = [
        (score.job_log_odds, f"what this job has answered before ({score.job_version} label steps)"),
        (score.member_log_odds, f"what this member has been answered to ({score.member_version} label steps)"),
        (score.global_log_odds, "what holds for everybody"),
    ]
    told = [
        f"{log_odds:+.2f} by {what}"
        for log_odds, what in sorted(parts, reverse=True)
        if abs(log_odds) >= _LEAST_LOG_ODDS
    ]
    return f"An answer is {score.probability:.0%} likely: {', '.join(told) or 'as for everybody'}."
