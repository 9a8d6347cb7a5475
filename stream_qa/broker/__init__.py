"""A real Apache Kafka for development and tests: from two wheels, without a container engine or a Java installation."""

from stream_qa.broker.development import BrokerStatus, DevelopmentBroker
from stream_qa.broker.readiness import cluster_id

__all__ = ["BrokerStatus", "DevelopmentBroker", "cluster_id"]
