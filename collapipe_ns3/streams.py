"""Named random streams: all randomness of a study flows from its seed through these."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """An independent generator for a purpose, the same for the same seed and name."""
    return np.random.default_rng(number(seed, *name))


def number(seed: int, *name: str | int) -> int:
    """A 63-bit seed for a purpose, for libraries that want a number."""
    text = "/".join(map(str, (seed, *name)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
