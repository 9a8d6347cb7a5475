"""Opens the store that a server was told to use."""

from pathlib import Path

from stream_qa.coefficients import CoefficientStore
from stream_qa.errors import MissingExtraError
from stream_qa.events.topics import FIRST_GENERATION, generation_suffix
from stream_qa.following.recent import RecentRecords
from stream_qa.following.rocksdb import RocksDBBackend

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def open_store(
    location: str,
    prefix: str = "",
    generation: int = FIRST_GENERATION,
    *,
    cached_entities: int = 100_000,
    cached_seconds: float = 1.0,
) -> CoefficientStore:
    """Return the store at a location.

    Parameters
    ----------
    location
        A directory for RocksDB, which belongs to one process; or the URL of a server that speaks Redis's protocol.
    prefix
        Of the topics that it follows: keeps worker groups apart on one server.
    generation
        Whose coefficients it has: keeps generations apart, on one server by their keys, and on a disk by a directory of
        their own beside ``location``, whose name ends in the generation.
    cached_entities, cached_seconds
        What this process remembers of such a server's answers, at most, and for how long. So much later than there,
        coefficients are new here.

    Raises
    ------
    DiskError
        The directory cannot be used.
    StoreUnavailableError
        The URL cannot be used.
    MissingExtraError
        The extra ``redis`` is not installed.
    """
    if not location.startswith(_REDIS_SCHEMES):
        return CoefficientStore(RocksDBBackend(Path(f"{location.rstrip('/')}{generation_suffix(generation)}")))
    try:
        from stream_qa.following.redis import RedisBackend  # noqa: PLC0415 # an extra
    except ImportError as error:
        raise MissingExtraError(f"a store at {location.partition(':')[0]}:// needs the extra redis: {error}") from None
    recent = RecentRecords(cached_entities, cached_seconds)
    keys = f"stream_qa:{prefix}"
    if suffix := generation_suffix(generation):
        keys += f"{suffix.removeprefix('.')}:"
    return CoefficientStore(RedisBackend(location, keys), recent)
