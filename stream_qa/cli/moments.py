"""Moments on the command line: days, or seconds of them, in UTC."""

from datetime import UTC, datetime

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def milliseconds(time: datetime) -> int:
    """Return the milliseconds since the epoch of a time that was given without a zone, and means UTC."""
    return round(time.replace(tzinfo=UTC).timestamp() * 1000)


def in_words(moment: int) -> str:
    """Return a moment, given in milliseconds since the epoch, to the second in UTC."""
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
