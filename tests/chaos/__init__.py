"""A log through real workers on a real broker while faults strike, and whether the result shows any of it."""
