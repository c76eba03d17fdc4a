"""`digests.json`: the SHA-256 of every file of a run, and thereby the list of its rounds.

The file is replaced as a whole at the end of each round; from then on the round counts. Its last
entry is the digest of all other entries, so that damage to the file itself is detected too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

#: The version of the layout of run directories. Version 1 had no `digests.json`, version 2 no files
#: of the task, and version 3 no table `nodes` and no `media.json`.
FORMAT = 4

_READABLE = {2, 3, FORMAT}


class BadDigestsError(ValueError):
    """A `digests.json` that is damaged or of a later version; the message says which."""


@dataclass(frozen=True, slots=True)
class RoundDigests:
    """SHA-256 of a round's plan, of its file of each table, and of the checkpoint after it."""

    plan: str
    tables: Mapping[str, str]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the study, of the manifest and of each round's files, as hexadecimal text.

    `checkpoint_deleted` is true where the run is finished and its checkpoint was deleted on
    purpose. `task_files` has the digests of the files in the folder `task` by their names. `media`
    is the digest of `media.json`, None where an earlier version wrote none.
    """

    study: str
    manifest: str
    rounds: tuple[RoundDigests, ...] = ()
    checkpoint_deleted: bool = False
    task_files: Mapping[str, str] = field(default_factory=dict)
    media: str | None = None

    def to_bytes(self) -> bytes:
        """The file's content."""
        data = {"format": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps({**data, "sha256": _own(data)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parses the output of `to_bytes`; raises `BadDigestsError` for anything else."""
        try:
            data: dict[str, Any] = json.loads(content)
            own = data.pop("sha256")
            if own == _own(data) and data.pop("format") in _READABLE:
                rounds = tuple(RoundDigests(**each) for each in data.pop("rounds"))
                return cls(**data, rounds=rounds)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BadDigestsError("is damaged") from None
        raise BadDigestsError("is damaged, or was written by a later version")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own(data: Mapping[str, Any]) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode())
