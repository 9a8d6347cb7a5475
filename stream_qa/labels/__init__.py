"""From events to labels: the policy of a context, the life cycle of an application, event time."""

from stream_qa.labels.life_cycle import LifeCycle, Verdict
from stream_qa.labels.policy import LabelPolicy, load_policy

__all__ = ["LabelPolicy", "LifeCycle", "Verdict", "load_policy"]
