"""The prior of a random effect: how far from zero coefficients are expected to be."""

from dataclasses import dataclass

import numpy as np

from stream_qa.learning.arrays import Floats


@dataclass(frozen=True, slots=True)
class Prior:
    """A diagonal Gaussian prior with mean 0."""

    intercept_precision: float = 4.0
    slope_precision: Floats | float = 16.0
    """One for all slopes, or one for each, shape ``(k,)``."""

    def scale(self, dimension: int) -> Floats:
        """Return the prior's standard deviations, shape ``(dimension,)``: the intercept first.

        Features times ``scale`` are whitened: in their space every coefficient has prior variance 1.
        """
        scale = np.empty(dimension)
        scale[1:] = 1.0 / np.sqrt(self.slope_precision)
        scale[0] = 1.0 / np.sqrt(self.intercept_precision)
        return scale
