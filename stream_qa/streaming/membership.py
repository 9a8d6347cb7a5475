"""How a worker is a member of its group: known again after a restart, and gone at once when it leaves in order.

The client library can join under a fixed instance id (static membership), but then never leaves, so that partitions
would wait for the session's end whenever a worker stops for good; and two workers under one id would push each other
out for ever.
"""

import asyncio
import hashlib
import logging
import re
import socket
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest

from stream_qa.errors import InstanceIdError
from stream_qa.settings import Settings
from stream_qa.streaming.protocol import Exactly, HeartbeatRequest_v3, LeaveGroupRequest_v3

_log = logging.getLogger(__name__)

_AUTOMATIC, _NONE = "auto", "none"
_HOST_LETTERS = 100
_UNKNOWN_MEMBER = 25
_FENCED_INSTANCE = 82
_LEAVE_SECONDS = 2.0


def instance_id(settings: Settings) -> str | None:
    """Return the name by which the group knows this worker again; ``None`` where every start is a new member."""
    if settings.instance_id == _NONE:
        return None
    if settings.instance_id != _AUTOMATIC:
        return settings.instance_id
    host = re.sub("[^a-zA-Z0-9._-]", "-", socket.gethostname())[:_HOST_LETTERS]
    directory = str(settings.state_directory.resolve())
    return f"{host}-{hashlib.sha256(directory.encode()).hexdigest()[:12]}"


class MemberCoordinator(GroupCoordinator):  # type: ignore[misc] # aiokafka has no types
    """The library's membership in a group, with an end to it.

    One whose place was taken by another of its name must learn so, whatever it asks first. The library would take
    itself for forgotten, join as somebody new under the same name, and so take the place back.
    """

    member_id: str

    async def _send_req(self, request: Any) -> Any:  # noqa: ANN401 # the library's own
        if self._group_instance_id is not None and isinstance(request, HeartbeatRequest):
            fields = (self.group_id, self.generation, self.member_id, self._group_instance_id)
            request = Exactly(HeartbeatRequest_v3, *fields)
        answer = await super()._send_req(request)
        error = getattr(answer, "error_code", None)
        if error == _FENCED_INSTANCE:
            taken = InstanceIdError(f"another worker of {self.group_id} has the instance id {self._group_instance_id}")
            # The library gives those who wait an error of its own, which does not know its cause.
            self._subscription.abort_waiters(taken)
            raise taken
        if error == _UNKNOWN_MEMBER and isinstance(request, JoinGroupRequest):
            super().reset_generation()  # the session is over and nobody has the place
        return answer

    def reset_generation(self) -> None:
        """Join again, under the old member id where the broker can tell from it that the place was taken."""
        member_id = self.member_id
        super().reset_generation()
        if self._group_instance_id is not None:
            self.member_id = member_id

    async def _maybe_leave_group(self) -> None:
        if self._group_instance_id is not None and self.generation > 0:
            members = [(self.member_id, self._group_instance_id)]
            try:
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._send_req(Exactly(LeaveGroupRequest_v3, self.group_id, members))
            except (KafkaError, TimeoutError) as error:
                _log.warning("the group's coordinator was not told that this worker leaves: %r", error)
        await super()._maybe_leave_group()


class Member(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka has no types
    """The library's consumer, with our coordinator."""

    async def start(self) -> None:
        """Connect; the group is joined when topics are subscribed."""
        await super().start()
        # It makes its coordinator itself and has no way to be given one.
        if isinstance(self._coordinator, GroupCoordinator):
            self._coordinator.__class__ = MemberCoordinator
