"""Damages the files of tables as a disk does."""

from pathlib import Path


def damage(file: Path, offset: int) -> None:
    """Turn the bits of one byte of a file over."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def damage_values(directory: Path) -> None:
    """Damage a closed table so that it shows only when its values are read."""
    files = list(directory.glob("*.sst"))
    assert files
    for file in files:
        damage(file, file.stat().st_size // 2)
