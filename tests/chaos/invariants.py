"""What must hold whatever struck: each is a function that returns what differs, a sentence each."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ground import PARTITIONS
from label_oracle import without_wording
from refolding import decided_outcomes, decoded, delta_of, labels_in_process, publishing_differences, refold

from chaos.bad_inputs import bad_inputs
from chaos.evidence import STAGES, Evidence, Table
from chaos.server import held
from stream_qa.coefficients import CoefficientStore, read_delta, read_snapshot
from stream_qa.events import Decoder, Label, Message, Snapshot
from stream_qa.events.dead_letter import OFFSET, PARTITION, TOPIC
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.positions import CHANGELOG_MARK, POSITION, Mark
from stream_qa.streaming.snapshots import snapshots_of

Differences = list[str]

_NEVER = -1


def input_is_complete(evidence: Evidence) -> Differences:
    """Check that the producer has lost nothing: otherwise the others would say nothing about the workers."""
    topics = evidence.settings.topics
    found = Counter(
        (topic, record.key, record.value)
        for topic in (topics.applications, topics.engagements)
        for record in evidence.records(topic)
    )
    sent = Counter((delivery.topic, delivery.key, delivery.value) for delivery in evidence.delivered)
    return [f"{count} deliveries of {entry} are not on the broker" for entry, count in (sent - found).items()]


def decided_labels_equal_those_of_a_replay(evidence: Evidence) -> Differences:
    """Check that every application has a label, and that those final or by an answer are those of the good events.

    These go through the same stages in one process, without Kafka.
    """
    events = [delivery.event for delivery in evidence.delivered if delivery.event is not None]
    replayed = labels_in_process(events, evidence.settings, PARTITIONS)
    labels = decoded(Decoder(Label), evidence.records(evidence.settings.topics.labels))
    expected, found = decided_outcomes(replayed), decided_outcomes(labels)
    without = {label.application_id for label in replayed} - {label.application_id for label in labels}
    return [f"{application_id} has no label" for application_id in sorted(without)] + [
        f"{application_id}: the label is {found.get(application_id)}, and by the events {expected.get(application_id)}"
        for application_id in sorted(expected.keys() | found.keys())
        if _worded_alike(expected, application_id) != _worded_alike(found, application_id)
    ]


def every_revision_is_there_once(evidence: Evidence) -> Differences:
    """Check that the revisions of a label are 1, 2, 3 and so on, in this order, each of them once."""
    differences = []
    newest: dict[str, int] = {}
    for label in decoded(Decoder(Label), evidence.records(evidence.settings.topics.labels)):
        before = newest.get(label.application_id, 0)
        if label.revision != before + 1:
            differences.append(f"{label.application_id}: revision {label.revision} of its label follows {before}")
        newest[label.application_id] = max(before, label.revision)
    return differences


def members_learn_each_revision_once(evidence: Evidence) -> Differences:
    """Fold the labels: that gives the examples and scores, each once, the members' versions, and their tables."""
    topics = evidence.settings.topics
    refolded = refold(evidence.pipeline.member, evidence.topics[topics.labels])
    return [
        *_message_differences(evidence, topics.examples, refolded.messages),
        *_message_differences(evidence, topics.scores, refolded.messages),
        *_published_differences(evidence, "member", refolded.versions),
        *_table_differences(evidence, "member", refolded.states),
    ]


def jobs_learn_each_example_once(evidence: Evidence) -> Differences:
    """Fold the examples: that gives the jobs' versions, and their tables."""
    refolded = refold(evidence.pipeline.job, evidence.topics[evidence.settings.topics.examples])
    return [
        *_published_differences(evidence, "job", refolded.versions),
        *_table_differences(evidence, "job", refolded.states),
    ]


def servers_hold_what_the_workers_do(evidence: Evidence) -> Differences:
    """Check that a server that followed, and one that starts, hold the learners' tables by their changelogs.

    To the last bit, and without a gap.
    """
    topics = evidence.settings.topics
    starting, tables = CoefficientStore(), CoefficientStore()
    for topic, read in ((topics.coefficient_snapshots, read_snapshot), (topics.coefficients, read_delta)):
        starting.apply([read(record.key, record.value) for record in evidence.records(topic)])
    for stage in (evidence.pipeline.member, evidence.pipeline.job):
        for partition in evidence.changelog(stage.name):
            for messages in snapshots_of(stage, _folded(evidence, stage.name, partition)):
                tables.apply([read_snapshot(message.key, message.value) for message in messages])
    known = held(tables)
    gaps = [f"{starting.metrics.gaps} deltas lack one before them"] if starting.metrics.gaps else []
    return gaps + [
        f"{' '.join(entity)}: {name} holds {found.get(entity)}, and the worker {known.get(entity)}"
        for name, found in (("a server that starts", held(starting)), ("one that followed", evidence.followed))
        for entity in sorted(found.keys() | known.keys())
        if found.get(entity) != known.get(entity)
    ]


def jobs_are_told_of_their_matches_once(evidence: Evidence) -> Differences:
    """Fold the scores: that gives the notifications, each once, and their tables."""
    topics, stage = evidence.settings.topics, evidence.pipeline.notify
    assert stage is not None
    messages: list[Message] = []
    states = {partition: MemoryState() for partition in evidence.topics[topics.scores]}
    for partition, records in evidence.topics[topics.scores].items():
        for record in records:
            outcome = stage.process([record], states[partition])
            states[partition].apply(outcome.changes)
            messages += outcome.messages
    return [
        *_message_differences(evidence, topics.notifications, messages),
        *_table_differences(evidence, "notify", states),
    ]


def no_transaction_is_open(evidence: Evidence) -> Differences:
    """Check that a reader of committed records can read every topic to its end."""
    return [
        f"{topic}-{partition}: {count} records are behind a transaction that nobody has ended"
        for (topic, partition), count in evidence.not_readable.items()
    ]


def dead_letters_are_exactly_the_bad_inputs(evidence: Evidence) -> Differences:
    """Check that every bad input is there once, untouched, and nothing else."""
    expected = dict(bad_inputs(evidence))
    found: Counter[tuple[str, int, int]] = Counter()
    differences = []
    for letter in evidence.records(evidence.settings.topics.dead_letters):
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        place = headers[TOPIC], int(headers[PARTITION]), int(headers[OFFSET])
        found[place] += 1
        if place not in expected:
            differences.append(f"{_named(place)} is no bad input, and is in the dead letters: {headers}")
        elif (letter.key, letter.value) != expected[place]:
            differences.append(f"{_named(place)} is not untouched in the dead letters")
    differences += [
        f"{_named(place)} is in the dead letters {count} times" for place, count in found.items() if count > 1
    ]
    return differences + [f"{_named(place)} is not in the dead letters" for place in expected.keys() - found.keys()]


def a_fresh_worker_restores_the_changelog(evidence: Evidence) -> Differences:
    """Check that a worker without local state has all that the changelogs give, folded, and nothing else."""
    return [
        difference
        for stage in STAGES
        for partition in evidence.changelog(stage)
        for difference in _compared(
            f"{stage}-{partition} of a fresh worker",
            evidence.restored.get(f"{stage}-{partition}", {}),
            _folded(evidence, stage, partition),
        )
    ]


def local_tables_hold_committed_state_only(evidence: Evidence) -> Differences:
    """Check that every table on a worker's disk is what the changelog gives up to the offset in the table."""
    differences = []
    for worker, tables in evidence.kept.items():
        for name, table in tables.items():
            stage, _, number = name.partition("-")
            mark = Mark.unpack(table.get(CHANGELOG_MARK, b""))
            offset = _NEVER if mark is None else mark.offset
            folded = _folded(evidence, stage, int(number), offset)
            differences += _compared(f"{name} of {worker}, at changelog offset {offset}", table, folded)
    return differences


INVARIANTS: tuple[Callable[[Evidence], Differences], ...] = (
    input_is_complete,
    decided_labels_equal_those_of_a_replay,
    every_revision_is_there_once,
    members_learn_each_revision_once,
    jobs_learn_each_example_once,
    jobs_are_told_of_their_matches_once,
    servers_hold_what_the_workers_do,
    no_transaction_is_open,
    dead_letters_are_exactly_the_bad_inputs,
    a_fresh_worker_restores_the_changelog,
    local_tables_hold_committed_state_only,
)


def all_differences(evidence: Evidence) -> dict[str, Differences]:
    """Return the differences by the invariant that does not hold."""
    found = {invariant.__name__: invariant(evidence) for invariant in INVARIANTS}
    return {name: differences for name, differences in found.items() if differences}


def _worded_alike(outcomes: Mapping[str, Any], application_id: str) -> Any:  # noqa: ANN401
    outcome = outcomes.get(application_id)
    return None if outcome is None else without_wording(outcome)


def _message_differences(evidence: Evidence, topic: str, messages: Iterable[Any]) -> Differences:
    """Compare what is on a topic, message by message, with what was to be sent there."""
    expected = Counter((message.key, message.value) for message in messages if message.topic == topic)
    found = Counter((record.key, record.value) for record in evidence.records(topic))
    return [
        f"{topic}: {found[entry]} times instead of {expected[entry]}: {entry[1]!r}"
        for entry in {**expected, **found}
        if found[entry] != expected[entry]
    ]


def _published_differences(evidence: Evidence, kind: str, versions: Any) -> Differences:  # noqa: ANN401
    topics = evidence.settings.topics
    deltas = [delta_of(record.value) for record in evidence.records(topics.coefficients)]
    differences = publishing_differences([delta for delta in deltas if delta.entity_kind == kind], versions)
    for record in evidence.records(topics.coefficient_snapshots):
        snapshot = Snapshot.model_validate_json(record.value)
        expected = versions.get((snapshot.entity_id, snapshot.version))
        if snapshot.entity_kind == kind and (expected is None or snapshot.coefficients != expected.tolist()):
            differences.append(
                f"{kind} {snapshot.entity_id}: the snapshot {snapshot.version} is not what its log gives"
            )
    return differences


def _table_differences(evidence: Evidence, stage: str, states: Mapping[int, Any]) -> Differences:
    """Compare the changelog's table with the one that the stage's log gives."""
    return [
        difference
        for partition, state in states.items()
        for difference in _compared(
            f"{stage}-{partition} by its changelog",
            {key: value for key, value in _folded(evidence, stage, partition).items() if not key.startswith(POSITION)},
            dict(state.scan(b"", b"\xff" * 64)),
        )
    ]


def _folded(evidence: Evidence, stage: str, partition: int, until: int | None = None) -> Table:
    """Return what a changelog gives, to its end or up to and with an offset."""
    table: dict[bytes, bytes] = {}
    for record in evidence.changelog(stage)[partition]:
        if until is not None and record.offset > until:
            break
        if record.value is None:
            table.pop(record.key, None)
        else:
            table[record.key] = record.value
    return table


def _compared(name: str, found: Table, expected: Table) -> Differences:
    return [
        f"{name}: {key!r} is {_short(found.get(key))} instead of {_short(expected.get(key))}"
        for key in sorted(found.keys() | expected.keys())
        if key != CHANGELOG_MARK and found.get(key) != expected.get(key)
    ]


def _short(value: bytes | None) -> str:
    return repr(value if value is None else value[:80])


def _named(place: tuple[str, int, int]) -> str:
    return f"{place[0]}-{place[1]} at offset {place[2]}"
