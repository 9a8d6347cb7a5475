"""The short tier: a few rounds of faults after which nothing may differ, and four broken workers that must differ."""

from pathlib import Path

import pytest

from chaos.brokers import Brokers
from chaos.driver import GOES_ON, Round

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ROUNDS = [
    Round(
        "one-worker",
        seed=1,
        groups=1,
        kinds=[
            "kill -9",
            "kill -9 inside a transaction",
            "kill -9 as the commit is sent",
            "kill -9 between commit and local write",
            "kill -9 after the local write",
            "kill -9 while restoring",
            "broker kill -9",
        ],
    ),
    Round(
        "two-workers",
        seed=2,
        workers=2,
        epoch_a_transaction=False,
        kinds=[
            "SIGSTOP inside a transaction",
            "kill -9 in a rebalance",
            "broker stopped",
            "SIGTERM",
            "a worker leaves",
        ],
    ),
]


@pytest.mark.parametrize("plan", ROUNDS, ids=lambda plan: plan.name)
def test_nothing_differs_whatever_strikes(plan: Round, breakable: Brokers, tmp_path: Path) -> None:
    result = plan.run(breakable, tmp_path / "round")
    assert result.differences == {}
    assert [fault.kind for fault in result.faults] == list(plan.kinds)


def test_there_are_ten_faults_at_least() -> None:
    assert sum(len(plan.kinds) for plan in ROUNDS) >= 10


#: What is lost is of the lanes that were in the transaction: labels, or what is learned of them.
RESULTS = {
    "decided_labels_equal_those_of_a_replay",
    "every_revision_is_there_once",
    "members_learn_each_revision_once",
    "jobs_learn_each_example_once",
}


@pytest.mark.parametrize(
    ("sabotage", "kind", "seen_by"),
    [
        ("positions_apart", "kill -9 inside a transaction", RESULTS),
        ("no_fencing", "SIGSTOP inside a transaction", {"every_revision_is_there_once"}),
        ("local_write_first", "kill -9 inside a transaction", {"local_tables_hold_committed_state_only"}),
        ("uncommitted_recovery", "kill -9 inside a transaction", RESULTS),
    ],
)
def test_a_worker_that_is_wrong_is_seen(
    sabotage: str, kind: str, seen_by: set[str], breakable: Brokers, tmp_path: Path
) -> None:
    plan = Round(sabotage.replace("_", "-"), seed=4, kinds=[kind], sabotage=sabotage)
    result = plan.run(breakable, tmp_path / "round")
    assert result.faults, result.differences[GOES_ON]
    assert seen_by & result.differences.keys()
