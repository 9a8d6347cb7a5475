"""A synthetic two-sided marketplace with known truth: what a learner can be held against."""

from stream_qa.simulation.event_log import EventLog
from stream_qa.simulation.marketplace import Marketplace, simulate

__all__ = ["EventLog", "Marketplace", "simulate"]
