"""Suggestions for misspelled names in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the most similar valid name, else a list of all."""
    names = list(valid)
    folded = {option.casefold(): option for option in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if close:
        return f"did you mean {folded[close[0]]}?"
    return f"there are {', '.join(names)}" if names else "there are none"
