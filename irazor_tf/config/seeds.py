"""Seeds for the parts of a run, derived from one seed. No TensorFlow import."""

from __future__ import annotations

import zlib


def seed_of(seed: int, *names: object) -> int:
    """A seed from 0 to 2^31 - 1 for one part of a run, equal on every machine and Python version.

    Args:
      seed: The seed of the run.
      names: The names that lead to the part, for example "rows", "supernet"; other names give
        another seed.
    """
    return zlib.crc32("/".join(map(str, (seed, *names))).encode()) & 0x7FFFFFFF
