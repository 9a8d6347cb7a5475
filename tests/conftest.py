"""What all tests share: a real broker, and a summary that tells a tier which ran from one which could not."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
from evaluation_ground import EvaluationGround, new_evaluation_ground
from ground import Ground, new_ground
from loaded_program import load
from ports import free_port
from redis_server import RedisServer
from retraining_ground import RetrainingGround, new_retraining_ground
from secure_broker import SecureBroker

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.java import java_with_kafka
from stream_qa.errors import BrokerStartError
from stream_qa.evaluation.replayed import Replayed

TIERS = ["pure", "browser", "redis", "kafka", "chaos", "containers", "shared_data"]
NOT_COLLECTED = "not collected"
OUTCOMES = {"passed": "passed", "xfailed": "passed", "failed": "failed", "error": "failed", "xpassed": "failed"}

# Before scikit-learn is imported: its threads wait for each other by spinning, on a busy machine for most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# One example may be held up for long beside brokers.
hypothesis.settings.register_profile("beside brokers", deadline=None)
hypothesis.settings.load_profile("beside brokers")

_TIER = "tier"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Get Kafka's jars before several processes of this session look for them at once."""
    if getattr(session.config.option, "numprocesses", None):
        with contextlib.suppress(BrokerStartError):
            java_with_kafka(lambda _: None)


@pytest.fixture(scope="session")
def pull_requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the event log of all pull requests of the example, where the data set is beside the checkout."""
    repository = Path(__file__).parents[1]
    table = repository.parent / "shared" / "data" / "github_pull_requests" / "pull_requests.csv.gz"
    if not table.exists():
        pytest.skip("the pull-request data set is not beside the checkout")
    log = tmp_path_factory.mktemp("pull-requests") / "log.jsonl"
    script = repository / "examples" / "github_pull_requests" / "to_events.py"
    subprocess.run([sys.executable, str(script), str(table), str(log)], check=True, capture_output=True)
    return log


@pytest.fixture(scope="module")
def poisoning() -> ModuleType:
    """Give the benchmark that has the attacks, as a module that the tests of one file may change."""
    return load(Path(__file__).parents[1] / "benchmarks" / "poisoning.py")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real Kafka."""
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))
    development_broker = DevelopmentBroker(tmp_path_factory.mktemp("broker"), free_port())
    development_broker.up()
    try:
        yield development_broker.bootstrap
    finally:
        development_broker.down()


@pytest.fixture(scope="session")
def secure_broker(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:  # noqa: ARG001 # skips where it does
    """Give a broker with TLS, SCRAM, client certificates and access lists."""
    secure = SecureBroker(tmp_path_factory.mktemp("secure-broker"))
    secure.broker.up()
    try:
        yield secure
    finally:
        secure.broker.down()


@pytest.fixture(scope="session")
def classic_broker(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: ARG001 # skips where it does
    """Give the address of a broker as they are that have not moved to an epoch for every transaction."""
    directory = tmp_path_factory.mktemp("classic-broker")
    classic = DevelopmentBroker(directory, free_port(), features={"transaction.version": 1})
    classic.up()
    try:
        yield classic.bootstrap
    finally:
        classic.down()


@pytest.fixture(params=["epoch-a-transaction", "classic"])
def any_broker(request: pytest.FixtureRequest) -> str:
    """Give the address of a broker of each of the two protocols for transactions."""
    name = "broker" if request.param == "epoch-a-transaction" else "classic_broker"
    address: str = request.getfixturevalue(name)
    return address


@pytest.fixture
def ground(broker: str, tmp_path: Path) -> Ground:
    """Give topics, with four partitions each, that no other test uses."""
    return new_ground(broker, tmp_path)


@pytest.fixture
def on_ground(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Give the same, and let the commands that the test runs in its own process be about them."""
    ground.set_for_commands(monkeypatch)
    return ground


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Give a real server that speaks Redis's protocol: whichever of Redis and Valkey the machine has."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"), free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def evaluation_ground(tmp_path_factory: pytest.TempPathFactory) -> EvaluationGround:
    """Give a small log, and a bundle of its first weeks."""
    return new_evaluation_ground(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="session")
def rows(evaluation_ground: EvaluationGround) -> Replayed:
    """Give what the stages say of that log."""
    return evaluation_ground.replayed()


@pytest.fixture(scope="session")
def retraining_ground(tmp_path_factory: pytest.TempPathFactory) -> RetrainingGround:
    """Give a small log without scores of its own, and the labels that the stages make of it."""
    return new_retraining_ground(tmp_path_factory.mktemp("retraining"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note the tier of each test, its marker or the most demanding of several, where its report will have it.

    The most demanding files come first: the quick ones then fill what the last long one leaves of a second process.
    """
    demands: Counter[Path] = Counter()
    for item in items:
        marked = [tier for tier in TIERS if item.get_closest_marker(tier)]
        tier = marked[-1] if marked else TIERS[0]
        item.user_properties.append((_TIER, tier))
        demands[item.path] = max(demands[item.path], TIERS.index(tier))
    items.sort(key=lambda item: -demands[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line a tier, so that a skip never looks like a pass."""
    if terminalreporter.config.option.collectonly:
        return
    counts: dict[str, Counter[str]] = {tier: Counter() for tier in TIERS}
    reasons: dict[str, str] = {}
    for category in [*OUTCOMES, "skipped"]:
        for report in terminalreporter.stats.get(category, []):
            # A whole module that is skipped or broken has none.
            tier = dict(getattr(report, "user_properties", ())).get(_TIER, NOT_COLLECTED)
            counts.setdefault(tier, Counter())[OUTCOMES.get(category, category)] += 1
            if category == "skipped":
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                reasons.setdefault(tier, reason.removeprefix("Skipped: "))
    terminalreporter.section("tiers")
    for tier, counted in counts.items():
        terminalreporter.line(f"tier {tier}: {_outcome(counted, reasons.get(tier, ''))}")


def _outcome(count: Counter[str], reason: str) -> str:
    if not count:
        return "no test was selected"
    if not count["passed"] and not count["failed"]:
        return f"could not run: {reason} ({count['skipped']} skipped)"
    skips = f" (first: {reason})" if count["skipped"] else ""
    return f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped{skips}"
