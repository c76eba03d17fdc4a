"""`digests.json`: the SHA-256 of every file of a run, and with it which rounds there are.

It is replaced whole as a round ends, which is the moment from which the round counts. Its last
entry is the digest of the others, so that damage to the file itself is found too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: Counts up when a run directory is laid out anew; those without `digests.json` were the first.
FORMAT = 2


class BadDigestsError(ValueError):
    """A `digests.json` that can't be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class RoundDigests:
    """SHA-256 of a round's line in `plans.jsonl`, of its tables' files, of the checkpoint after."""

    plan: str
    tables: Mapping[str, str]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the study, of the manifest, and of what each round left, as hexadecimal text.

    `checkpoint_deleted` where the run needs none any more, and it was deleted on purpose.
    """

    study: str
    manifest: str
    rounds: tuple[RoundDigests, ...] = ()
    checkpoint_deleted: bool = False

    def to_bytes(self) -> bytes:
        """The file's content."""
        data = {"format": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps({**data, "sha256": _own(data)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` gave; raises `BadDigestsError` for anything else."""
        try:
            data: dict[str, Any] = json.loads(content)
            own = data.pop("sha256")
            if own == _own(data) and data.pop("format") == FORMAT:
                rounds = tuple(RoundDigests(**each) for each in data.pop("rounds"))
                return cls(**data, rounds=rounds)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BadDigestsError("is damaged") from None
        raise BadDigestsError("is damaged, or was written by a later version")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own(data: Mapping[str, Any]) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode())
