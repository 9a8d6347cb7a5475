"""Coefficients on a server that speaks Redis's protocol: Redis or Valkey, shared by many followers and servers."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast, get_args
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream_qa.coefficients.backend import Place, Reach, Swap
from stream_qa.coefficients.record import HEAD_BYTES
from stream_qa.errors import StoreAheadError, StoreBehindError, StoreUnavailableError
from stream_qa.events import EntityKind

#: Keys: those of the records, then that of the positions. Arguments: the length of a head; for each record the head
#: before and the record after, empty to delete it; for each position its field, and from where to where it moves.
#: Returns which records are not as before; -1 where a position is before where it should be, or 1 where one is beyond.
_SWAP = """
local records = #KEYS - 1
local positions = KEYS[#KEYS]
local ahead = false
for at = 2 * records + 2, #ARGV, 3 do
  local offset, since = tonumber(redis.call('HGET', positions, ARGV[at]) or 0), tonumber(ARGV[at + 1])
  if offset < since then return -1 end
  ahead = ahead or offset > since
end
if ahead then return 1 end
local refused = {}
for number = 1, records do
  local key, after = KEYS[number], ARGV[2 * number + 1]
  if redis.call('GETRANGE', key, 0, ARGV[1] - 1) ~= ARGV[2 * number] then refused[#refused + 1] = number - 1
  elseif after == '' then redis.call('DEL', key)
  else redis.call('SET', key, after) end
end
if #refused == 0 then
  for at = 2 * records + 2, #ARGV, 3 do
    if tonumber(ARGV[at + 1]) ~= tonumber(ARGV[at + 2]) then redis.call('HSET', positions, ARGV[at], ARGV[at + 2]) end
  end
end
return refused
"""
_SCANNED = 1_000
_KINDS = tuple(f"{kind}:".encode() for kind in get_args(EntityKind))


class RedisBackend:
    """Keeps records on one server; several followers may fill it, and any number of servers read it.

    Parameters
    ----------
    url
        ``redis://[user:password@]host:port/number``, ``rediss://`` for TLS, ``unix://path``.
    prefix
        In front of every key, to keep worker groups apart.
    answer_seconds
        How long an answer may take.

    Raises
    ------
    StoreUnavailableError
        The URL is none.
    """

    def __init__(self, url: str, prefix: str = "stream_qa:", answer_seconds: float = 2.0) -> None:
        try:
            self._client = redis.Redis.from_url(
                _whole(url),
                socket_timeout=answer_seconds,
                socket_connect_timeout=answer_seconds,
                # Once more for a connection that the server has closed meanwhile; who waits is told about the rest.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError:
            # Its message can have a part of the password.
            raise StoreUnavailableError(
                "the store's URL cannot be used: it must be redis://[user:password@]host:port/number, rediss:// or "
                "unix://, with what is special in the password percent-encoded"
            ) from None
        self._prefix = prefix.encode()
        self._positions = self._prefix + b"positions"
        self._followed = self._prefix + b"followed"
        self._swap = self._client.register_script(_SWAP)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key, in one query; ``None`` where there is none."""
        if not keys:
            return []
        with _translated():
            return cast("list[bytes | None]", self._client.mget([self._prefix + key for key in keys]))

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        """Make the swaps whose record before is still there, in one script; return the keys of the others."""
        keys = list(swaps)
        arguments: list[bytes | int] = [HEAD_BYTES]
        for swap in swaps.values():
            arguments += (swap.before, swap.after or b"")
        for place, reach in positions.items():
            arguments += (place.pack(), *reach)
        with _translated():
            refused = self._swap([*(self._prefix + key for key in keys), self._positions], arguments)
        if refused == -1:
            raise StoreBehindError("the store has lost what it had: it is behind where it was")
        if refused == 1:
            raise StoreAheadError("another follower has brought the store further")
        return [keys[number] for number in cast("list[int]", refused)]

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept."""
        with _translated():
            held = cast("dict[bytes, bytes]", self._client.hgetall(self._positions))
        return {Place.unpack(field): int(offset) for field, offset in held.items()}

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        """Return the id of the topic that is followed under a name: the first one that was given for it."""
        with _translated(), self._client.pipeline() as one_step:
            one_step.hsetnx(self._followed, topic, topic_id)
            one_step.hget(self._followed, topic)
            return cast("bytes", one_step.execute()[1])

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records; what changes meanwhile may be as before or after, and more than once."""
        with _translated():
            cursor = 0
            while True:
                cursor, found = cast(
                    "tuple[int, list[bytes]]", self._client.scan(cursor, match=self._pattern(), count=_SCANNED)
                )
                # The pattern also finds what belongs to a longer prefix.
                keys = [key for each in found if (key := each.removeprefix(self._prefix)).startswith(_KINDS)]
                for key, record in zip(keys, self.get_many(keys), strict=True):
                    if record is not None:
                        yield key, record
                if cursor == 0:
                    return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _pattern(self) -> bytes:
        return re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StoreUnavailableError(f"the store does not do as it should: {error}") from error


def _whole(url: str) -> str:
    """Return a URL whose host is not a part of a password: of one with an @ and a slash that are not encoded."""
    _, host, path, query, fragment = urlsplit(url)
    parameters = [each for each in query.split("&") if not each.startswith(("username=", "password="))]
    # The path of a socket, which has no host before it, may have an @.
    if host and any("@" in each for each in (path, *parameters, fragment)):
        raise ValueError("there is an @ behind the host")
    return url
