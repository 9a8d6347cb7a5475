"""The packed record of a life cycle in the label table: the format's version in the first byte, then MessagePack."""

import msgspec

from stream_qa.errors import StateFormatError
from stream_qa.labels.life_cycle import LifeCycle

FORMAT = 2
_FORMAT_BYTE = bytes([FORMAT])
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LifeCycle).decode


def pack(life_cycle: LifeCycle) -> bytes:
    """Return the table's record of ``life_cycle``."""
    return _FORMAT_BYTE + _encode(life_cycle)


def unpack(record: bytes) -> LifeCycle:
    """Return what :func:`pack` packed.

    Raises
    ------
    StateFormatError
        The record was written in another format.
    """
    if record[0] != FORMAT:
        raise StateFormatError(f"a life cycle of format {record[0]}, where format {FORMAT} is read")
    return _decode(memoryview(record)[1:])
