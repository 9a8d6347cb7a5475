"""Requests of Kafka's protocol that the client library does not have, or has in older versions only.

The names of the fields are Kafka's own; so are the numbers of the requests and their versions.
"""

from io import BytesIO
from typing import Any

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

_Text = CompactString("utf-8")
_Tags = ("tags", TaggedFields)


class _Uuid(AbstractType):  # type: ignore[misc] # aiokafka has no types
    """16 bytes, as they are."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class ProduceResponse_v12(Response):  # type: ignore[misc] # noqa: N801 # named as the library names them
    """Where the batches are in the log, by partition."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", _Text),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", CompactArray(("batch_index", Int32), ("message", _Text), _Tags)),
                        ("error_message", _Text),
                        _Tags,
                    ),
                ),
                _Tags,
            ),
        ),
        ("throttle_time_ms", Int32),
        _Tags,
    )


class ProduceRequest_v12(RequestStruct):  # type: ignore[misc] # noqa: N801
    """Batches to append; a partition joins the transaction by this (KIP-890)."""

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse_v12
    SCHEMA = Schema(
        ("transactional_id", _Text),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _Text),
                ("partitions", CompactArray(("partition", Int32), ("records", CompactBytes), _Tags)),
                _Tags,
            ),
        ),
        _Tags,
    )


class EndTxnResponse_v5(Response):  # type: ignore[misc] # noqa: N801
    """The producer id and epoch for the next transaction."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        _Tags,
    )


class EndTxnRequest_v5(RequestStruct):  # type: ignore[misc] # noqa: N801
    """The end of a transaction that has an epoch of its own."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _Text),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        _Tags,
    )


class ApiVersionsResponse_v3(Response):  # type: ignore[misc] # noqa: N801
    """Versions of all requests; the features of the cluster are among the tagged fields."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_versions", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), _Tags)),
        ("throttle_time_ms", Int32),
        _Tags,
    )


class ApiVersionsRequest_v3(RequestStruct):  # type: ignore[misc] # noqa: N801
    """What the broker speaks."""

    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse_v3
    SCHEMA = Schema(("client_software_name", _Text), ("client_software_version", _Text), _Tags)

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> Any:  # noqa: ANN401 # the library's own
        """Read the header of the answer, which for this request alone stays in its oldest form."""
        return ResponseHeader_v0.decode(read_buffer)


class MetadataResponse_v12(Response):  # type: ignore[misc] # noqa: N801
    """Topics with their ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _Text), ("port", Int32), ("rack", _Text), _Tags)),
        ("cluster_id", _Text),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _Text),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _Tags,
                    ),
                ),
                ("authorized_operations", Int32),
                _Tags,
            ),
        ),
        _Tags,
    )


class MetadataRequest_v12(RequestStruct):  # type: ignore[misc] # noqa: N801
    """What topics there are."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _Text), _Tags)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _Tags,
    )


class HeartbeatResponse_v3(Response):  # type: ignore[misc] # noqa: N801
    """Whether the member still is one."""

    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest_v3(RequestStruct):  # type: ignore[misc] # noqa: N801
    """A static member's sign of life."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class LeaveGroupResponse_v3(Response):  # type: ignore[misc] # noqa: N801
    """Whether the members were there."""

    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupRequest_v3(RequestStruct):  # type: ignore[misc] # noqa: N801
    """The end of a static membership."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class Exactly(Request[RequestStruct]):  # type: ignore[misc]
    """A request in one version, whatever others the broker has."""

    API_KEY = -1

    def __init__(self, struct: type[RequestStruct], *fields: Any) -> None:  # noqa: ANN401
        self._struct, self._fields = struct, fields

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Return the request."""
        return request_struct_class(*self._fields)

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        """Return the request, when the broker knows this version of it.

        Raises
        ------
        NotImplementedError
            It does not.
        """
        least, most = versions.get(self._struct.API_KEY, (0, -1))
        if not least <= self._struct.API_VERSION <= most:
            raise NotImplementedError(f"the broker has no {self._struct.__name__}")
        return self.build(self._struct)
