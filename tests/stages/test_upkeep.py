"""What fails of a learner's work that no label brings along says so: no label is put aside for it."""

import pytest
from builders import as_records, label

from stream_qa.errors import DiskError
from stream_qa.events import wire
from stream_qa.settings import Settings
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.stages.upkeep import UpkeepError


@pytest.fixture
def stage() -> LearnStage[wire.Label]:
    """Give a learner that does all of it."""
    return build_pipeline(Settings(warm_start=True)).member


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("learn_chunk.start_some", "entities that start from a bundle"),
        ("learn_chunk.LearnChunk._forget", "what no revision can reach any more"),
        ("expiry.Expiry.sweep", "a sweep for entities that are over"),
        ("guarded_publishing.GuardedPublishing.release_some", "entities that are published again"),
    ],
)
def test_a_bug_in_a_learners_upkeep_is_told_from_one_in_its_learning(
    stage: LearnStage[wire.Label], name: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [ZeroDivisionError(), DiskError("full")]

    def fails(*_arguments: object, **_options: object) -> None:
        raise errors[0]

    monkeypatch.setattr(f"stream_qa.stages.{name}", fails)
    records = as_records([label("application-1", value=1)])
    with pytest.raises(UpkeepError, match=what) as raised:
        stage.process(0, records, MemoryState())
    assert raised.value.__cause__ is errors.pop(0)
    with pytest.raises(DiskError):
        stage.process(0, records, MemoryState())
