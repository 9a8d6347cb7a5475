"""How good scores would have been: a log replayed with no look-ahead, and beside it what else one could deploy."""
