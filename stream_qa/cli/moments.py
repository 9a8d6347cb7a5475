"""Moments on the command line: days, or seconds of them, in UTC."""

from datetime import UTC, datetime

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def milliseconds(time: datetime) -> int:
    """Return the milliseconds since the epoch of a time that was given without a zone, and means UTC."""
    return round(time.replace(tzinfo=UTC).timestamp() * 1000)
