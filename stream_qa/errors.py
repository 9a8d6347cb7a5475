"""Every error of the project, and what the operator should do about it.

::

    StreamQAError
    ├── ConfigurationError            the worker does not start
    │   ├── SettingsError
    │   ├── PolicyError
    │   └── TopicsError
    │       ├── TopicMissingError
    │       └── PartitionCountError
    ├── BrokerError
    │   ├── BrokerUnavailableError
    │   └── BrokerStartError
    ├── StateError                    the worker stops before anything is committed
    │   ├── StateFormatError
    │   └── OffsetGapError
    ├── WorkerStartError
    ├── LogError                      a replay does not start
    ├── ReplayStalledError
    └── RejectedError                 bad input: a dead letter, and the partition goes on
        ├── NotJSONError
        ├── InvalidEventError
        ├── MessageTooLargeError
        ├── FeatureSchemaMismatchError
        ├── ConflictingDuplicateError
        ├── LateApplicationError
        └── OrphanEngagementError
"""


class StreamQAError(Exception):
    """Root of the tree: catch it to tell this project's errors from all others."""


class ConfigurationError(StreamQAError):
    """Something was set up wrongly; nothing was started. Correct what the message names and start again."""


class SettingsError(ConfigurationError):
    """A ``STREAM_QA_*`` variable cannot be read. Correct it; ``stream-qa config show`` prints all of them."""


class PolicyError(ConfigurationError):
    """The label policy cannot be read or contradicts itself. Correct the file that ``STREAM_QA_POLICY`` names."""


class TopicsError(ConfigurationError):
    """The topics on the broker are not those that are declared. Run ``stream-qa topics plan``."""


class TopicMissingError(TopicsError):
    """A topic does not exist. Run ``stream-qa topics apply``; check ``STREAM_QA_TOPIC_PREFIX`` and the broker."""


class PartitionCountError(TopicsError):
    """A topic has another number of partitions than it must have, and that cannot be changed in place.

    State is kept by partition, so the count is decided once. Declare the count that the topic has, or move to new
    topics under another ``STREAM_QA_TOPIC_PREFIX`` and replay the log into them.
    """


class BrokerError(StreamQAError):
    """The broker refuses something. The message says what; the broker's own log says more."""


class BrokerUnavailableError(BrokerError):
    """No broker answers. Check ``STREAM_QA_BROKER`` and that the broker runs (``stream-qa broker up`` for one)."""


class BrokerStartError(BrokerError):
    """The development broker did not start. Read the log file that the message names."""


class StateError(StreamQAError):
    """The worker's local state cannot be trusted. The worker has stopped; nothing wrong was committed."""


class StateFormatError(StateError):
    """A stored record has a format that this version does not know. Run the version that wrote it, or a newer one."""


class OffsetGapError(StateError):
    """Records of an input partition are missing or came twice. Restart the worker: it takes up where its state ends.

    If it happens again, the topic was truncated below the worker's position or made anew: see docs/operations.md.
    """


class WorkerStartError(StreamQAError):
    """A worker that was to be run did not start. Read the log file that the message names."""


class LogError(StreamQAError):
    """An event log cannot be opened or read. Check the path and that the file is complete."""


class ReplayStalledError(StreamQAError):
    """The workers made no progress for too long. Check that one runs, and what its log says."""


class RejectedError(StreamQAError):
    """Input that cannot be used. It is in the dead letters with its bytes, key, headers and the reason."""


class NotJSONError(RejectedError):
    """The bytes are no JSON document. Mend the producer, then send the record again."""


class InvalidEventError(RejectedError):
    """The JSON is no event of this topic: a missing field, a wrong type, a number out of range. Mend the producer."""


class MessageTooLargeError(RejectedError):
    """The message is over ``STREAM_QA_MAX_MESSAGE_BYTES``. Send less, or raise the limit on every worker."""


class FeatureSchemaMismatchError(RejectedError):
    """The features are of another schema or another length than this worker group learns. Mend the producer.

    A changed feature schema is a new generation: it needs a worker group and topics of its own.
    """


class ConflictingDuplicateError(RejectedError):
    """The id was used before for something else. Find the producer that reuses ids."""


class LateApplicationError(RejectedError):
    """The application came after its whole life was over, labels and revisions included. Find what held it back."""


class OrphanEngagementError(RejectedError):
    """The application that this engagement answers never came. Find out whether it was lost or has another id."""
