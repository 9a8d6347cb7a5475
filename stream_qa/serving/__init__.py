"""The scoring service: features in the request, coefficients from the store, scores by component in the answer."""
