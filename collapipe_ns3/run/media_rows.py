"""The radio media of a run, as `media.json` has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collapipe_ns3.observed import Medium

#: The SINR (dB) at which the curve of a medium is recorded.
SINR_DB = tuple(step / 2 for step in range(-20, 91))


def media_rows(media: Iterable[Medium]) -> list[dict[str, Any]]:
    """Each medium with its links and its curve of goodput over SINR, as planners assume it.

    The goodput is that of a long transfer with the whole band to itself (`Medium.goodput_bps`).
    """
    return [
        {
            "medium": medium.name,
            "stack": medium.stack,
            "bandwidth_hz": medium.bandwidth_hz,
            "shared": medium.shared,
            "links": [list(pair) for pair in sorted(medium.links)],
            "sinr_db": list(SINR_DB),
            "goodput_bps": [medium.goodput_bps(10 ** (db / 10)) for db in SINR_DB],
        }
        for medium in media
    ]
