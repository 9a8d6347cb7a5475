"""A request from its pairs to their scores: checked, looked up once, scored, with what there is to say about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_qa.errors import OversizedRequestError
from stream_qa.events import EntityKind
from stream_qa.serving.answers import Answer, MadeBy, scores_answer
from stream_qa.serving.metrics import ServiceMetrics
from stream_qa.serving.scoring import Pairs, Scored
from stream_qa.serving.served import Served


@dataclass(frozen=True)
class ScoringService:
    """Scores requests."""

    served: Callable[[], Served]
    """Returns the generation that answers now."""
    metrics: ServiceMetrics
    most_pairs: int

    async def score(self, pairs: Pairs) -> tuple[Scored, Answer]:
        """Return the scores of pairs, and the answer that says them.

        Raises
        ------
        OversizedRequestError
            There are too many.
        UnfitRequestError
            They have other features than the model.
        """
        self.check_count(max(len(pairs.member_of), len(pairs.members.ids), len(pairs.jobs.ids)))
        # Once, and what is said of it now: while this waits for coefficients, another generation may take its place.
        served = self.served()
        scorer, notices, staleness = served.scorer(), served.followed.notices(), served.followed.staleness
        scorer.check(pairs)
        ids: dict[EntityKind, Sequence[str]] = {"member": pairs.members.ids, "job": pairs.jobs.ids}
        with self.metrics.look_up_seconds.time():
            found = await served.look_ups.look_up(ids, scorer.dimensions(pairs))
        scored = scorer.score(pairs, found.held)
        self.metrics.scores.inc(len(pairs.member_of))
        if found.failure is not None:
            self.metrics.degraded.inc()
            notices = [f"{found.failure}: these are scores of the global model alone", *notices]
        made_by = MadeBy(served.generation, scorer.model.version, personalised=found.failure is None)
        return scored, scores_answer(scored, made_by, notices, staleness)

    def check_count(self, count: int) -> None:
        """Check how much a request asks for at once.

        Raises
        ------
        OversizedRequestError
            It is too much.
        """
        if count > self.most_pairs:
            raise OversizedRequestError(f"{count} at once, where this service takes at most {self.most_pairs}")
