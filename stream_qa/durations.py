"""Durations of event time: int milliseconds."""

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
