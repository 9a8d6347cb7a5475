"""From what was learned to what servers use: publishing deltas and snapshots, and the store that follows them."""

from stream_qa.coefficients.backend import Backend, MemoryBackend, Place, Reach, Swap
from stream_qa.coefficients.messages import Change, Renewal, Tombstone, entity_key, read_delta, read_snapshot
from stream_qa.coefficients.names import FeatureNames, Named, load_feature_names
from stream_qa.coefficients.protocol import Coefficients, Verdict, follow
from stream_qa.coefficients.publishing import Publisher
from stream_qa.coefficients.store import Cache, CoefficientStore, LookedUp, StoreMetrics

__all__ = [
    "Backend",
    "Cache",
    "Change",
    "CoefficientStore",
    "Coefficients",
    "FeatureNames",
    "LookedUp",
    "MemoryBackend",
    "Named",
    "Place",
    "Publisher",
    "Reach",
    "Renewal",
    "StoreMetrics",
    "Swap",
    "Tombstone",
    "Verdict",
    "entity_key",
    "follow",
    "load_feature_names",
    "read_delta",
    "read_snapshot",
]
