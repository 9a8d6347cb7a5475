"""The file server.properties of a single Kafka node that is broker and controller at once."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from stream_qa.broker.ports import LOOPBACK


def render(
    port: int,
    controller_port: int,
    data: Path,
    listeners: Mapping[str, tuple[str, int]] = MappingProxyType({}),
    more: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write out the properties: loopback only, one replica of everything, no topics that nobody declared.

    Parameters
    ----------
    port
        Where clients connect.
    controller_port
        Where the node talks to its own controller.
    data
        Kafka's log directory.
    listeners
        More of them for clients, by name: protocol and port.
    more
        Properties beside these, or instead of them.
    """
    others = "".join(f",{name}://{LOOPBACK}:{number}" for name, (_, number) in listeners.items())
    protocols = "".join(f",{name}:{protocol}" for name, (protocol, _) in listeners.items())
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}{others}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}{others}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}",
        # Escapes of JSON strings are escapes of Java properties too.
        "log.dirs": json.dumps(str(data))[1:-1],
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        # Kafka makes these topics when the first consumer or transaction comes, and its 50 partitions take seconds.
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # After a kill the new process has to wait until the session of the old one is over; by default that is 9 s.
        "broker.session.timeout.ms": 2_000,
        "broker.heartbeat.interval.ms": 500,
        # The first member of a group need not wait for others.
        "group.initial.rebalance.delay.ms": 0,
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def read_ports(file: Path) -> tuple[int, int] | None:
    """Read the ports back from such a file.

    Returns
    -------
    tuple of int, or None
        The clients' port and the controller's; None if there is no such file.
    """
    if not file.exists():
        return None
    found = re.search(
        r"^listeners=PLAINTEXT://[^:]+:(\d+),CONTROLLER://[^:]+:(\d+)(?:,|$)", file.read_text(), re.MULTILINE
    )
    return (int(found[1]), int(found[2])) if found else None
