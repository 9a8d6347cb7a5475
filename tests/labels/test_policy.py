"""The label policy: what each kind of engagement says, which one decides, and how it is read from a file."""

from itertools import permutations
from pathlib import Path

import pytest
from builders import DAY, START, engagement
from pydantic import ValidationError

from stream_qa.errors import PolicyError
from stream_qa.events import Engagement
from stream_qa.labels import LabelPolicy, load_policy
from stream_qa.labels.policy import Precedence

CLOSES_AT = START + 14 * DAY


def read(path: Path, text: str) -> LabelPolicy:
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def reason(path: Path, text: str) -> str:
    """Return why a file with this text is no policy."""
    with pytest.raises(PolicyError) as raised:
        read(path, text)
    return str(raised.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_kind_says_yes_or_no_or_nothing() -> None:
    policy = LabelPolicy(positive=frozenset({"call"}), negative=frozenset({"declined"}))
    assert (policy.value("call"), policy.value("declined"), policy.value("note")) == (1, 0, None)


def test_the_built_in_kinds() -> None:
    policy = LabelPolicy()
    assert [policy.value(kind) for kind in ("profile_view", "message", "interview", "offer")] == [1, 1, 1, 1]
    assert policy.value("rejection") == 0


def test_the_earliest_positive_decides_in_whatever_order_they_come() -> None:
    policy = LabelPolicy()
    deciding = engagement("message", engaged_at=START + 3)
    others = [engagement("rejection", engaged_at=START + 1), engagement("offer", engaged_at=START + 4)]
    for order in permutations([deciding, *others]):
        assert policy.deciding(order, START) == deciding


def test_without_a_positive_the_earliest_negative_decides() -> None:
    policy = LabelPolicy()
    deciding = engagement("rejection", engaged_at=START + 2)
    others = [engagement("note", engaged_at=START + 1), engagement("rejection", engaged_at=START + 3)]
    for order in permutations([deciding, *others]):
        assert policy.deciding(order, START) == deciding


INTERVIEW, REJECTION, OFFER = (
    engagement(kind, engaged_at=START + moment) for moment, kind in enumerate(["interview", "rejection", "offer"], 1)
)


@pytest.mark.parametrize(
    ("precedence", "several", "deciding"),
    [
        (Precedence.POSITIVE, [INTERVIEW, REJECTION], INTERVIEW),
        (Precedence.POSITIVE, [REJECTION, OFFER], OFFER),
        (Precedence.NEGATIVE, [INTERVIEW, REJECTION], REJECTION),
        (Precedence.NEGATIVE, [REJECTION, OFFER], REJECTION),
        (Precedence.FIRST, [INTERVIEW, REJECTION, OFFER], INTERVIEW),
        (Precedence.FIRST, [REJECTION, OFFER], REJECTION),
        (Precedence.LAST, [INTERVIEW, REJECTION], REJECTION),
        (Precedence.LAST, [INTERVIEW, REJECTION, OFFER], OFFER),
    ],
)
def test_where_several_say_different_things_the_precedence_decides(
    precedence: Precedence, several: list[Engagement], deciding: Engagement
) -> None:
    for order in permutations(several):
        assert LabelPolicy(precedence=precedence).deciding(order, START) == deciding


@pytest.mark.parametrize("precedence", [Precedence.FIRST, Precedence.LAST])
def test_at_the_same_moment_a_positive_one_comes_before_a_negative_one(precedence: Precedence) -> None:
    simultaneous = [engagement("rejection", engaged_at=START), engagement("offer", engaged_at=START)]
    for order in permutations(simultaneous):
        assert LabelPolicy(precedence=precedence).deciding(order, START) == simultaneous[1]


@pytest.mark.parametrize(
    ("precedence", "settled"),
    [(Precedence.POSITIVE, [False, True]), (Precedence.NEGATIVE, [True, False]), (Precedence.LAST, [False, False])],
)
def test_what_nothing_can_outrank_is_settled_at_once(precedence: Precedence, settled: list[bool]) -> None:
    policy = LabelPolicy(precedence=precedence)
    assert [policy.settles(0), policy.settles(1)] == settled


def test_at_the_same_moment_the_first_kind_in_the_alphabet_decides() -> None:
    simultaneous = [engagement("offer", engaged_at=START), engagement("message", engaged_at=START)]
    for order in permutations(simultaneous):
        deciding = LabelPolicy().deciding(order, START)
        assert deciding is not None
        assert deciding.kind == "message"


def test_what_is_neutral_or_too_late_decides_nothing() -> None:
    policy = LabelPolicy()
    assert policy.deciding([engagement("note"), engagement("message", engaged_at=CLOSES_AT)], START) is None
    in_time = engagement("rejection", engaged_at=CLOSES_AT - 1)
    assert policy.deciding([engagement("message", engaged_at=CLOSES_AT), in_time], START) == in_time


def test_days_are_milliseconds_in_the_code() -> None:
    policy = LabelPolicy(window_days=14, revision_days=0.5, memory_days=365, orphan_days=1.25)
    assert policy.window == 1_209_600_000
    assert policy.retention == 1_209_600_000 + 43_200_000
    assert policy.memory == 31_536_000_000
    assert policy.orphan_wait == 108_000_000


def test_no_period_is_ever_shorter_than_a_millisecond() -> None:
    policy = LabelPolicy(window_days=1e-12, revision_days=1e-12, memory_days=1e-12, orphan_days=1e-12)
    assert (policy.window, policy.retention, policy.memory, policy.orphan_wait) == (1, 2, 1, 1)


@pytest.mark.parametrize("days", [0, -1, 3_651, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["window_days", "revision_days", "memory_days", "orphan_days"])
def test_a_period_is_positive_and_at_most_ten_years(name: str, days: float) -> None:
    with pytest.raises(ValidationError):
        LabelPolicy.model_validate({name: days})


def test_without_a_file_the_built_in_policy_holds() -> None:
    assert load_policy(None) == LabelPolicy()


@pytest.mark.parametrize("text", ["", "# all as it is built in\n", "---\n"])
def test_an_empty_file_is_the_built_in_policy(path: Path, text: str) -> None:
    assert read(path, text) == LabelPolicy()


def test_a_file_changes_what_it_names(path: Path) -> None:
    policy = read(path, "positive: [merged, gefällt]\nnegative:\n  - closed\nwindow_days: 7.5\norphan_count: 3\n")
    assert policy == LabelPolicy(
        positive=frozenset({"merged", "gefällt"}), negative=frozenset({"closed"}), window_days=7.5, orphan_count=3
    )


def test_a_file_that_is_not_there_cannot_be_read(path: Path) -> None:
    with pytest.raises(PolicyError, match=r"^the label policy .*policy\.yaml cannot be read: .*No such file"):
        load_policy(path)


@pytest.mark.parametrize("text", ["positive: [message", "\tpositive: 1", "{[a]: b}", "window_days: 2026-13-45"])
def test_what_is_no_yaml_cannot_be_read(path: Path, text: str) -> None:
    assert reason(path, text).startswith(f"the label policy {path} cannot be read: ")


def test_what_is_no_text_cannot_be_read(path: Path) -> None:
    path.write_bytes(b"positive: [\xff]")
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("windw_days: 7", "windw_days"),
        ("window_days: 0", "window_days"),
        ("window_days: soon", "window_days"),
        ("positive: message", "positive"),
        ("positive: [yes]", "positive.0"),
        ("orphan_count: 1.5", "orphan_count"),
        ("orphan_count: 0", "orphan_count"),
        ("precedence: loudest", "precedence"),
        ("silence: {rule: later}", "silence.rule"),
        ("silence: {weight: 0}", "silence.weight"),
        ("silence: {wait: 1}", "silence.wait"),
        ("lateness_minutes: -1", "lateness_minutes"),
        ("jump_days: 0", "jump_days"),
        ("[message]", "the policy"),
        ("[]", "the policy"),
        ("message", "the policy"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_place(path: Path, text: str, place: str) -> None:
    assert reason(path, text).startswith(f"the label policy {path} is wrong at {place}: ")


def test_a_kind_that_says_yes_and_no_contradicts_itself(path: Path) -> None:
    text = reason(path, "positive: [reply, offer]\nnegative: [reply]")
    assert text.endswith("is wrong at the policy: Value error, ['reply'] cannot be positive and negative")
