"""Number and date phrases in English and German, made with num2words and split into tokens.

num2words takes seconds for ten thousand numbers in two languages, and every command that plans
needs them. So it is asked for the numbers below 1000 alone: larger ones are put together from
those, token for token as num2words says them.
"""

from __future__ import annotations

import re
from functools import cache

from num2words import num2words

from collapipe_ns3.tasks.sizes import MOST_ORDINALS, YEARS

Tokens = tuple[str, ...]
Pair = tuple[Tokens, Tokens]  # English and German tokens of one phrase

KINDS = ("cardinal", "ordinal", "year", "date")

_MONTHS = {
    "January": "Januar",
    "February": "Februar",
    "March": "März",
    "April": "April",
    "May": "Mai",
    "June": "Juni",
    "July": "Juli",
    "August": "August",
    "September": "September",
    "October": "Oktober",
    "November": "November",
    "December": "Dezember",
}


def english_tokens(text: str) -> Tokens:
    """Words, without commas and hyphens."""
    return tuple(re.findall(r"\w+", text))


def german_tokens(text: str) -> Tokens:
    """German number words split into morphemes, which a word as long as a phrase needs.

    A trained sub-word vocabulary would do as well and make sequences longer; these are the units
    that the grammar itself has, so a phrase of up to 9999 takes nine tokens at most.
    """
    tokens: list[str] = []
    for word in text.split():
        parts = _morpheme().findall(word)
        # A month or an article is no number: it stays whole.
        tokens += parts if "".join(parts) == word else [word]
    return tuple(tokens)


@cache
def _morpheme() -> re.Pattern[str]:
    """The words that German numbers are put together from, the longest first."""
    cardinals = [num2words(n, lang="de") for n in [*range(21), *range(30, 101, 10), 1000]]
    ordinals = [num2words(n, lang="de", to="ordinal") for n in (1, 3, 7, 8)]
    # "einhundert" and "eintausend" are two each, and the rest of the ordinals take these endings.
    atoms = {*cardinals, *ordinals, "ein", "und", "hundert", "tausend", "ste", "te"}
    atoms -= {"einhundert", "eintausend"}
    return re.compile("|".join(sorted(atoms, key=lambda atom: (-len(atom), atom))))


def phrases(kind: str, limit: int) -> list[Pair]:
    """All phrases of a kind; `limit` bounds cardinals and ordinals."""
    if kind == "cardinal":
        small = [_said(n, "cardinal") for n in range(min(limit, 1000))]
        return [_cardinal(n, small) for n in range(limit)]
    if kind == "ordinal":
        return [_said(n, "ordinal") for n in range(1, min(limit, MOST_ORDINALS))]
    if kind == "year":
        years = [_said(year, "year") for year in YEARS]
        return [(("in", *english), ("im", "Jahr", *german)) for english, german in years]
    if kind == "date":
        days = [_said(day, "ordinal") for day in range(1, 32)]
        return [
            (("the", *day, "of", month), ("der", *tag, monat))
            for day, tag in days
            for month, monat in _MONTHS.items()
        ]
    raise ValueError(f"no kind of phrase {kind!r}; there are {', '.join(KINDS)}")


def _said(number: int, form: str) -> Pair:
    english = num2words(number, to=form)
    return english_tokens(english), german_tokens(num2words(number, lang="de", to=form))


def _cardinal(number: int, small: list[Pair]) -> Pair:
    """A number below a million from those below a thousand: "two thousand and one"."""
    thousands, rest = divmod(number, 1000)
    if not thousands:
        return small[number]
    english, german = small[thousands]
    if thousands == 1:
        german = ("ein",)  # "eins" stands at the end of a number alone
    english, german = (*english, "thousand"), (*german, "tausend")
    if not rest:
        return english, german
    joined = ("and",) if rest < 100 else ()
    return (*english, *joined, *small[rest][0]), (*german, *small[rest][1])
