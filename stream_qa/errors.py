"""Every error of the project, and what the operator should do about it.

::

    StreamQAError
    ├── ConfigurationError            the worker does not start
    │   ├── SettingsError
    │   ├── PolicyError
    │   ├── InstanceIdError
    │   ├── FeatureNamesError
    │   ├── BundleError
    │   │   ├── CurveError
    │   │   └── OnnxModelError
    │   ├── ModelRefusedError
    │   └── TopicsError
    │       ├── TopicMissingError
    │       ├── TopicReplacedError
    │       ├── NotConfirmedError
    │       └── PartitionCountError
    ├── BrokerError
    │   ├── BrokerUnavailableError
    │   │   └── BrokerAccessError
    │   ├── BrokerStartError
    │   └── TransactionError          nothing of the transaction counts, or the changelog says that it does
    │       ├── FencedError
    │       ├── OutcomeUnknownError
    │       ├── HangingTransactionError
    │       ├── OffsetsTakenError     the worker makes it again by itself
    │       └── TransactionRefusedError
    ├── StateError                    the worker stops before anything is committed
    │   ├── PolicyChangedError
    │   ├── ModelChangedError
    │   ├── ModelMissingError
    │   ├── StateFormatError
    │   ├── RuleMismatchError
    │   ├── DiskError
    │   ├── CorruptTableError
    │   └── OffsetGapError
    ├── StoreError                    servers score by the global model alone meanwhile
    │   ├── StoreAheadError
    │   ├── StoreBehindError
    │   └── StoreUnavailableError
    ├── ChunkError                    a bug; the worker stops before anything is committed
    ├── WorkerStartError
    ├── GenerationError
    ├── IncompleteInputsError
    ├── LogError                      a replay does not start
    ├── ExportError
    ├── TrainingError
    ├── RetrainingError
    ├── RollbackError
    ├── EvaluationError
    ├── MissingExtraError
    ├── UnknownApplicationError
    ├── UnknownEntityError
    ├── UnknownLetterError
    ├── NothingChosenError
    ├── ReplayStalledError
    ├── RequestError                  the scoring service says so to the client, and goes on
    │   ├── UnfitRequestError
    │   └── OversizedRequestError
    └── RejectedError                 bad input: a dead letter, and the partition goes on
        ├── NotJSONError
        ├── InvalidEventError
        ├── MessageTooLargeError
        ├── FeatureSchemaMismatchError
        ├── ConflictingDuplicateError
        ├── FutureEventError
        ├── LateApplicationError
        ├── MismatchedJobError
        ├── OrphanEngagementError
        ├── PoisonousRecordError
        └── WrongPartitionError
"""


class StreamQAError(Exception):
    """Root of the tree: catch it to tell this project's errors from all others."""


class ConfigurationError(StreamQAError):
    """Something was set up wrongly; nothing was started. Correct what the message names and start again."""


class SettingsError(ConfigurationError):
    """A ``STREAM_QA_*`` variable cannot be read. Correct it; ``stream-qa config show`` prints all of them."""


class PolicyError(ConfigurationError):
    """The label policy cannot be read or contradicts itself. Correct the file that ``STREAM_QA_POLICY`` names."""


class InstanceIdError(ConfigurationError):
    """Another worker has joined the worker group under this one's ``STREAM_QA_INSTANCE_ID``. Give each its own."""


class BundleError(ConfigurationError):
    """A model bundle cannot be used: a file is missing or damaged, or says something that is no model.

    Nothing of it was used. Copy the bundle again, or train it again with ``stream-qa train``.
    """


class CurveError(BundleError):
    """Silence curves cannot be read or contradict themselves. Train the bundle again with ``stream-qa train``."""


class OnnxModelError(BundleError):
    """An ONNX file is no global model: it has other inputs or outputs, gives no numbers, or could do more than compute.

    Correct what the message names where the model is exported, and train the bundle again.
    """


class ModelRefusedError(ConfigurationError):
    """A published model bundle does not fit what was learned. The workers go on with the one that they have.

    A bundle takes another's place only with the same feature schema and the same feature scales: train it with
    ``stream-qa train --scales-of``. For other scales begin a new generation: ``stream-qa rebuild start --bundle``. For
    other features start a new group: docs/operations.md#starting-a-new-group-from-the-inputs.
    """


class FeatureNamesError(ConfigurationError):
    """The file with the features' names cannot be used. Correct it: the message names it, or says how many they are."""


class TopicsError(ConfigurationError):
    """The topics on the broker are not those that are declared. Run ``stream-qa topics plan``."""


class TopicMissingError(TopicsError):
    """A topic does not exist. Run ``stream-qa topics apply``; check ``STREAM_QA_TOPIC_PREFIX`` and the broker."""


class TopicReplacedError(TopicsError):
    """A topic is not the one that the state was made from: it was deleted and made anew, or truncated.

    Going on would skip or repeat records. Check that broker, prefix and data directory belong together. If the topic is
    another one, begin a new generation of workers, ``stream-qa rebuild start``, or empty the server's store.
    """


class NotConfirmedError(TopicsError):
    """There is nobody to ask whether changes are wanted. Look at ``stream-qa topics plan``, then say ``--yes``."""


class PartitionCountError(TopicsError):
    """A topic has another number of partitions than it must have, and that cannot be changed in place.

    State is kept by partition, so the count is decided once. Give ``--partitions`` as the topics have it. If one of the
    workers' own has got more, begin a new generation, ``stream-qa rebuild start``; if an input has, start a new group:
    docs/operations.md#starting-a-new-group-from-the-inputs.
    """


class BrokerError(StreamQAError):
    """The broker refuses something. The message says what; the broker's own log says more."""


class BrokerUnavailableError(BrokerError):
    """No broker answers. Check ``STREAM_QA_BROKER`` and that the broker runs (``stream-qa broker up`` for one)."""


class BrokerAccessError(BrokerUnavailableError):
    """Broker and client do not accept each other: a certificate, a user name, a password, a protocol.

    The message says which, and the settings that decide it. What runs already goes on trying, and says so in its log.
    """


class BrokerStartError(BrokerError):
    """The development broker did not start. Read the log file that the message names."""


class TransactionError(BrokerError):
    """A transaction did not end with an acknowledged commit. The message says why; see those below."""


class FencedError(TransactionError):
    """Another worker has begun to work on this partition, so nothing of ours is committed any more.

    After a pause longer than the session this is as it should be, and the worker joins again. If a worker stops with
    it, a second worker group uses the same topics: check ``STREAM_QA_APP_ID`` and ``STREAM_QA_TOPIC_PREFIX``.
    """


class OutcomeUnknownError(TransactionError):
    """The broker did not say how the transaction ended. The worker looks into its changelog and goes on from there."""


class HangingTransactionError(TransactionError):
    """The broker has ended a transaction, but not in all partitions: what it wrote there is not to be seen.

    Going on would do it again, and when the first is seen after all, it is there twice. Kafka 4.3.0 does this when it
    is stopped or killed (KAFKA-20734): use another version. ``kafka-transactions.sh find-hanging --broker-id`` shows
    which. What is hanging was committed or aborted in other partitions: begin a new generation, ``stream-qa rebuild
    start``, which has changelogs of its own.
    """


class OffsetsTakenError(TransactionError):
    """Others have written to a topic between two stages, so the transaction is taken back and made again by itself.

    Where the log says so again and again, find out who writes there: it costs time, and nothing is lost.
    """


class TransactionRefusedError(TransactionError):
    """The broker will never take this transaction. The message says why: a limit on sizes, or missing permissions."""


class StateError(StreamQAError):
    """The worker's local state cannot be trusted. The worker has stopped; nothing wrong was committed."""


class PolicyChangedError(StateError):
    """The durations of the label policy are not those by which the state's applications are aged.

    Some applications would be looked at twice, others never. Start the worker with the durations that the message
    names. To age them by the new ones, begin a new generation with them: ``stream-qa rebuild start``.
    """


class ModelChangedError(StateError):
    """The state began with other priors than ``STREAM_QA_BUNDLE``, or the precisions without one, say now.

    Set them back. A bundle that is to take the place of the one with which the group began is published:
    ``stream-qa models publish``. For other precisions begin a new generation: ``stream-qa rebuild start``.
    """


class ModelMissingError(StateError):
    """A label was made by a model that this worker cannot read: its partitions wait until it can.

    The worker's log says why: make the bundle's directory readable here, or publish the bundle again from another
    place.
    """

    def __init__(self, version: str) -> None:
        super().__init__(f"model {version} is not here yet")
        self.version = version


class StateFormatError(StateError):
    """A stored record has a format that this version does not know. Run the version that wrote it, or a newer one."""


class RuleMismatchError(StateError):
    """The state was learned by another rule than ``STREAM_QA_LEARNING_RULE`` names.

    Set it back. To learn by the other rule, begin a new generation with it: ``stream-qa rebuild start``.
    """


class DiskError(StateError):
    """RocksDB cannot read or write. The message says why: a full disk, a lost disk, permissions. Nothing is lost."""


class CorruptTableError(StateError):
    """The files of a table are damaged. A worker rebuilds it from its changelog by itself, a server from its topics."""


class OffsetGapError(StateError):
    """Records that were to come next are gone from a topic, or what came does not follow what was read before.

    The message says which. Where they are gone, begin a new generation, ``stream-qa rebuild start``: it reads what the
    inputs still have. Else restart the worker: it takes up where its state ends. See docs/operations.md#offsetgaperror.
    """


class StoreError(StreamQAError):
    """The store of a server's coefficients cannot be used. Its follower tries again by itself."""


class StoreAheadError(StoreError):
    """Another follower has brought the store further. Followers go on from there by themselves."""


class StoreBehindError(StoreError):
    """The store has lost something that it had, as one restored from an older copy. Its follower goes on from there."""


class StoreUnavailableError(StoreError):
    """The server that keeps the coefficients does not answer, or refuses. The message says why: look at that server.

    Followers try again by themselves; scores are those of the global model alone meanwhile.
    """


class ChunkError(StreamQAError):
    """The code of a stage fails and no record is at fault: on what has fallen due, a sweep, or a chunk only as a whole.

    The traceback is in the log. Report it (docs/operations.md#reporting-an-error); the worker will fail again at the
    same place, whatever ``STREAM_QA_ON_BUG`` is: to go around it would be to put aside one record after the other.
    """


class WorkerStartError(StreamQAError):
    """A worker that was to be run did not start. Read the log file that the message names."""


class GenerationError(StreamQAError):
    """The generation is not there, or not in a state for what was asked. See ``stream-qa rebuild status``."""


class IncompleteInputsError(StreamQAError):
    """A new generation would not learn all that is known, or some of it twice.

    Train the bundle until where the inputs begin and give ``--warm-start``, or say ``--anyway``.
    """


class LogError(StreamQAError):
    """An event log cannot be opened or read. Check the path and that the file is complete."""


class ExportError(StreamQAError):
    """An export of labels cannot be read or continued. The message says why; a new directory begins anew."""


class TrainingError(StreamQAError):
    """The event log holds nothing to train on. Take a longer one, or a later ``--until``; check policy and features."""


class RetrainingError(StreamQAError):
    """A retraining cannot work in its directory. The message says why; ``stream-qa models list`` says what is in use.

    That is the bundle that was in use before, unless the error came after the candidate was published.
    """


class RollbackError(StreamQAError):
    """There is no such model to go back to. ``stream-qa models list`` shows which there are, and why some cannot be."""


class EvaluationError(StreamQAError):
    """The event log has nothing to score there, or the bundle has seen what would be scored.

    Take ``--from`` not before the bundle's own ``--until``, and a log that goes on for the policy's window after it.
    """


class MissingExtraError(StreamQAError):
    """What was asked for needs a library that is not installed. Install the extra that the message names."""


class UnknownApplicationError(StreamQAError):
    """The event log does not have the application that was asked for. Check the id, and that it is the right log."""


class UnknownEntityError(StreamQAError):
    """The member or job that was asked for has learned nothing. Check the id, and ``STREAM_QA_TOPIC_PREFIX``.

    One of which no label has come yet is unknown as well: the global model decides.
    """


class UnknownLetterError(StreamQAError):
    """There is no such dead letter; retention may have taken it. See ``stream-qa dead-letters list`` for others."""


class NothingChosenError(StreamQAError):
    """It was not said which dead letters to send again. Name some, give a filter, or say ``--all``."""


class ReplayStalledError(StreamQAError):
    """The workers made no progress for too long. Check that one runs, and what its log says."""


class RequestError(StreamQAError):
    """A request to the scoring service is not answered. The client gets the message, and should send another one."""


class UnfitRequestError(RequestError):
    """The request contradicts itself or the model that the service scores by. Mend the client, or serve its bundle."""


class OversizedRequestError(RequestError):
    """The request asks for more at once than ``STREAM_QA_SERVE_MAX_PAIRS``. Send several, or raise the limit."""


class RejectedError(StreamQAError):
    """Input that cannot be used. It is in the dead letters with its bytes, key, headers and the reason.

    Of a record over 10 MB, which can have come compressed, only the reason is there, which says where the record is.
    """


class NotJSONError(RejectedError):
    """The bytes are no JSON document. Mend the producer, then send the record again."""


class InvalidEventError(RejectedError):
    """The JSON is no event of this topic: a missing field, a wrong type, a number out of range. Mend the producer."""


class MessageTooLargeError(RejectedError):
    """The message is over ``STREAM_QA_MAX_MESSAGE_BYTES``. Send less, or raise the limit on every worker."""


class FeatureSchemaMismatchError(RejectedError):
    """The features are of another schema or another length than this worker group learns. Mend the producer.

    A changed feature schema needs a worker group and topics of its own, under another ``STREAM_QA_TOPIC_PREFIX``:
    docs/operations.md#starting-a-new-group-from-the-inputs.
    """


class ConflictingDuplicateError(RejectedError):
    """The id was used before for something else. Find the producer that reuses ids."""


class FutureEventError(RejectedError):
    """The event is further ahead than ``jump_days`` of the policy. Look at the clock or the time unit of its producer.

    When a second event agrees, event time moves on; then send the first one again.
    """


class MismatchedJobError(RejectedError):
    """The engagement names another job than the application it answers. Mend the producer."""


class WrongPartitionError(RejectedError):
    """The record is not in the partition of its key. Set the producer's partitioner to Kafka's own, murmur2.

    With librdkafka that is ``partitioner=murmur2_random``. Then send the record again.
    """


class LateApplicationError(RejectedError):
    """The application came after its whole life was over, labels and revisions included. Find what held it back."""


class OrphanEngagementError(RejectedError):
    """The application that this engagement answers never came. Find out whether it was lost or has another id."""


class PoisonousRecordError(RejectedError):
    """The code of a stage fails on this record: a bug. The traceback is in the worker's log.

    Report it: docs/operations.md#reporting-an-error. The worker stops at it, before anything is committed, and will
    again; ``STREAM_QA_ON_BUG=dead-letter`` lets it keep the record in the dead letters and go on.
    """
