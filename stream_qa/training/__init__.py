"""From a log to a model bundle: what is learned rarely, over everything."""
