"""A game day: ten incidents, each played for real, and what the operator sees of it."""
