"""Seeds derived from a seed and a path of names. No TensorFlow import."""

from __future__ import annotations

import zlib


def seed_of(seed: int, *names: object) -> int:
    """A seed derived from `seed` and a path of names: equal on every machine and Python version."""
    return zlib.crc32("/".join(map(str, (seed, *names))).encode()) & 0x7FFFFFFF
