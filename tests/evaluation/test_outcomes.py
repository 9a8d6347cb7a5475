"""What became of applications: the answers count that the pipeline takes, whenever they came."""

from builders import DAY, engagement

from stream_qa.evaluation.outcomes import eventual_outcomes
from stream_qa.events import Engagement
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import LogEvent


def outcome(*answers: Engagement) -> float:
    """Return what became of the application that engagements are about by default."""
    events = [LogEvent(one.engaged_at, 1, one.model_dump_json().encode(), None, "engagements") for one in answers]
    [found] = eventual_outcomes([("application-1", "job-1")], events, "engagements", LabelPolicy(), 1_000_000)
    return float(found)


def test_a_positive_answer_counts_whenever_it_came() -> None:
    assert outcome() == 0
    assert outcome(engagement(kind="rejection")) == 0
    assert outcome(engagement(kind="rejection"), engagement(engaged_at=engagement().engaged_at + 300 * DAY)) == 1


def test_an_answer_that_names_another_job_is_none_of_the_application() -> None:
    assert outcome(engagement(job_id="job-2")) == 0
    assert outcome(engagement(job_id="job-2"), engagement()) == 1
