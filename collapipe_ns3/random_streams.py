"""Named random streams: all randomness of a study comes from its seed through these functions.

torch gets its seeds from `number`: one for the initial weights (`learning.models.build_encoder` and
`build_translator`), and one for the roundings of every message (`engine.air`). ns-3 gets its run
numbers from `number` (`topology.layout.scenario`); `StreamNumber` of
`ns3_scenarios/native/random-streams.h` numbers its streams within a run by name, and
`ns3_scenarios.runtime.reset` sets the run before each episode.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """A random generator for the purpose `name`; the same seed and name give the same numbers."""
    return np.random.default_rng(number(seed, *name))


def number(seed: int, *name: str | int) -> int:
    """A 63-bit seed for the purpose `name`, for libraries that need a number."""
    text = "/".join(map(str, (seed, *name)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
