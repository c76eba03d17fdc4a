"""Number and date phrases in English and German, made with num2words and split into tokens.

num2words takes seconds for ten thousand numbers in two languages, and every command that plans
needs them. It is therefore only called for the numbers below 100; larger ones are composed from
those, with the same tokens as num2words gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from collapipe_ns3.learning.sizes import MOST_ORDINALS, YEARS

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

#: Powers of ten that numbers are composed with, largest first: value, English and German name.
_SIZES = ((1000, "thousand", "tausend"), (100, "hundred", "hundert"))


def english_tokens(text: str) -> Tokens:
    """Words, without commas and hyphens."""
    return tuple(re.findall(r"\w+", text))


def german_tokens(text: str) -> Tokens:
    """German words, with number words split into morphemes.

    German writes a number as one word. A trained sub-word vocabulary would work too, with longer
    sequences; morphemes are the units of the grammar, so that numbers up to 9999 take at most nine
    tokens.
    """
    tokens: list[str] = []
    for word in text.split():
        parts = _morpheme().findall(word)
        # A month or an article is not a number: it is not split.
        tokens += parts if "".join(parts) == word else [word]
    return tuple(tokens)


@cache
def _morpheme() -> re.Pattern[str]:
    """Matches the words that German numbers are composed of, the longest first."""
    cardinals = [_words(n, "de", "cardinal") for n in [*range(21), *range(30, 101, 10), 1000]]
    ordinals = [_words(n, "de", "ordinal") for n in (1, 3, 7, 8)]
    # "einhundert" and "eintausend" are two morphemes each; other ordinals end with "ste" or "te".
    atoms = {*cardinals, *ordinals, "ein", "und", "hundert", "tausend", "ste", "te"}
    atoms -= {"einhundert", "eintausend"}
    return re.compile("|".join(sorted(atoms, key=lambda atom: (-len(atom), atom))))


def phrases(kind: str, limit: int) -> list[Pair]:
    """All phrases of a kind; `limit` bounds cardinals and ordinals."""
    if kind == "cardinal":
        cardinals = _small("cardinal")
        return [_composed(n, cardinals, cardinals) for n in range(limit)]
    if kind == "ordinal":
        cardinals, ordinals = _small("cardinal"), _small("ordinal")
        return [
            # The ordinal of a round number does not end with the ordinal of a smaller number.
            _composed(n, cardinals, ordinals) if n % 100 else _phrase(n, "ordinal")
            for n in range(1, min(limit, MOST_ORDINALS))
        ]
    if kind == "year":
        years = [_phrase(year, "year") for year in YEARS]
        return [(("in", *english), ("im", "Jahr", *german)) for english, german in years]
    if kind == "date":
        days = [_phrase(day, "ordinal") for day in range(1, 32)]
        return [
            (("the", *day, "of", month), ("der", *tag, monat))
            for day, tag in days
            for month, monat in _MONTHS.items()
        ]
    raise ValueError(f"no kind of phrase {kind!r}; there are {', '.join(KINDS)}")


def _phrase(number: int, form: str) -> Pair:
    english, german = _words(number, "en", form), _words(number, "de", form)
    return english_tokens(english), german_tokens(german)


def _words(number: int, language: str, form: str) -> str:
    from num2words import num2words  # slow to import, and commands that list tasks do not need it

    words: str = num2words(number, lang=language, to=form)
    return words


def _small(form: str) -> list[Pair]:
    """The numbers below 100."""
    return [_phrase(number, form) for number in range(100)]


def _composed(number: int, cardinals: Sequence[Pair], last: Sequence[Pair]) -> Pair:
    """A number below a million, composed of `cardinals` below 100 and ending with one of `last`."""
    for size, english_name, german_name in _SIZES:
        many, rest = divmod(number, size)
        if not many:
            continue
        english, german = _composed(many, cardinals, cardinals)
        if many == 1:
            german = ("ein",)  # "eins" is used only at the end of a number
        english, german = (*english, english_name), (*german, german_name)
        if not rest:
            return english, german
        joined = ("and",) if rest < 100 else ()
        english_rest, german_rest = _composed(rest, cardinals, last)
        return (*english, *joined, *english_rest), (*german, *german_rest)
    return last[number]
