"""What a server runs to have the newest coefficients: where they are kept, and the follower of the topics."""

from stream_qa.following.follower import Follower, FollowerMetrics
from stream_qa.following.opening import open_store
from stream_qa.following.rocksdb import RocksDBBackend

__all__ = ["Follower", "FollowerMetrics", "RocksDBBackend", "open_store"]
