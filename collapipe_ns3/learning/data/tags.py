"""Tags of entities, converted to IOB2."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TAG = re.compile(r"O|[BIELSU]-\S+")


def is_tag(text: str) -> bool:
    """Whether this is `O`, or a type of entity after one of `B-`, `I-`, `E-`, `L-`, `S-`, `U-`."""
    return _TAG.fullmatch(text) is not None


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags of a sentence in IOB1, IOB2, BIOES or BILOU as IOB2.

    `E-` and `L-` mark the last word of an entity and become `I-`; `S-` and `U-` mark an entity of
    one word and become `B-`. An `I-`, `E-` or `L-` that does not continue an entity of its type
    begins one, as in IOB1, and becomes `B-`.
    """
    converted = []
    inside = ""  # the type of the entity that the next word may continue
    for tag in tags:
        if tag == "O":
            converted.append(tag)
            inside = ""
            continue
        prefix, kind = tag[0], tag[2:]
        continues = prefix in "IEL" and kind == inside
        converted.append(f"{'I' if continues else 'B'}-{kind}")
        inside = "" if prefix in "ELSU" else kind
    return tuple(converted)
