"""From what was learned to what servers use: publishing deltas and snapshots, and the store that follows them."""

from stream_qa.coefficients.publishing import Publisher
from stream_qa.coefficients.store import Coefficients, CoefficientStore

__all__ = ["CoefficientStore", "Coefficients", "Publisher"]
