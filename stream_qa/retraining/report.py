"""The report of a retraining: as data, and to read."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from stream_qa.retraining.gate import Judgement, ModelFigures


class Verdict(StrEnum):
    """How a retraining ended."""

    PASSED = "passed"
    """It ended while the candidate was being published: ``stream-qa models list`` says whether it is."""
    PROMOTED = "promoted"
    REFUSED = "refused"


@dataclass
class Outcome:
    """What a retraining has done, as far as it has come."""

    began_at: datetime
    incumbent: str
    """Its version; ``none`` for the base rate."""
    labels: int
    """How many were read, revisions counted."""
    verdict: Verdict = Verdict.REFUSED
    reason: str = "it did not come to a decision"
    candidate: str | None = None
    """Its version; ``None`` where nothing could be trained."""
    number: int | None = None
    """That of the publication; ``None`` where there is none."""
    trained_until: int | None = None
    """All times in ms."""
    held_back_since: int | None = None
    held_back_until: int | None = None
    global_model: str | None = None
    """``retrained``, or ``kept`` where it is the incumbent's."""
    rejected: dict[str, int] = field(default_factory=dict)
    """What could not be trained on, by the error's name."""
    judgement: Judgement | None = None
    difference: dict[str, Any] | None = None
    """Of incumbent and candidate; ``None`` without an incumbent."""
    deleted: list[str] = field(default_factory=list)
    """Bundles that nobody needs any more."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each step took."""

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    def to_markdown(self) -> bytes:
        """Return it to be read."""
        lines = [
            f"# {self.verdict.capitalize()}: {self.candidate or 'no candidate'}",
            "",
            f"{self.reason[:1].upper()}{self.reason[1:]}.",
            "",
            f"- began at {self.began_at:%F %T} UTC, from {self.labels} revisions of labels",
            f"- in use before: {self.incumbent}",
        ]
        if self.number is not None:
            lines.append(f"- published with number {self.number}")
        if self.trained_until is not None:
            lines.append(
                f"- trained on what was known at {day_of(self.trained_until)}; global model {self.global_model}"
            )
        if self.held_back_since is not None and self.held_back_until is not None:
            days = f"{day_of(self.held_back_since)} to {day_of(self.held_back_until)}"
            lines.append(f"- held back: applications sent from {days}")
        if self.rejected:
            lines.append("- not used: " + ", ".join(f"{count} {name}" for name, count in self.rejected.items()))
        if self.deleted:
            lines.append("- deleted bundles: " + ", ".join(self.deleted))
        if self.judgement is not None:
            lines += ["", *_table(self.judgement)]
        return ("\n".join(lines) + "\n").encode()


def _table(judgement: Judgement) -> list[str]:
    rows = [("incumbent", judgement.incumbent), ("candidate", judgement.candidate)]
    return [
        f"{judgement.applications} applications, {judgement.positives} of them positive, to {judgement.jobs} jobs:",
        "",
        "| | log-loss | AUC | 95% |",
        "|---|---|---|---|",
        *(f"| {name} | {figures.log_loss:.5f} | {_auc(figures)} |" for name, figures in rows),
    ]


def _auc(figures: ModelFigures) -> str:
    if figures.auc is None:
        return "|"
    return f"{figures.auc:.4f} | {figures.auc_low:.4f} to {figures.auc_high:.4f}"


def day_of(moment: int) -> str:
    """Return the day (UTC) of a moment (ms)."""
    return f"{datetime.fromtimestamp(moment / 1000, UTC):%F}"
