"""Sentences with entities of five types, generated from templates, with tags in IOB2.

Names of persons, places, organisations and products are made of the same syllables, so that a name
does not say which type it has: the words around it do. The splits share no word of a name, except
for the additions that many names have ("New", "Group"). Words that are no entity are capitalised at
the beginning of sentences, and also elsewhere ("Internet").

Strict F1 on the test split for 3000 training sentences: all capitalised words as persons 0.14;
known words by their most frequent tag 0.18, with other capitalised words as persons 0.33; an
encoder of four blocks of width 64 (Adam, learning rate 1e-3, batches of 32) 0.73 after 16 s on one
core, and 0.80 after 40 s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from collapipe_ns3.learning.data.examples import SPLITS, DataSet, Tagged, generated
from collapipe_ns3.random_streams import stream

#: The number of origins of sentences.
ORIGINS = 8

TYPES = ("date", "organisation", "person", "place", "product")

_SYLLABLES = (
    "ba",
    "del",
    "fi",
    "gor",
    "ha",
    "jo",
    "kel",
    "la",
    "mi",
    "nor",
    "pa",
    "ri",
    "sa",
    "tu",
    "vel",
    "wen",
    "zo",
    "bri",
    "cal",
    "dro",
    "es",
    "fen",
    "gra",
    "lin",
    "mor",
    "ter",
    "ul",
    "van",
)
#: Distinct words of names in each split.
_NAMES = {"train": 1500, "validation": 200, "test": 400}

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

#: How a name of a type is composed of new words (_), with equal probability.
_FORMS: Mapping[str, tuple[str, ...]] = {
    "person": ("_", "_ _", "_ _", "_ van _"),
    "place": ("_", "_", "_ _", "New _", "_ on Sea"),
    "organisation": ("_", "_", "_ _", "_ Group", "_ and _"),
    "product": ("_", "_", "_ _", "_ 2", "_ Mini"),
}

#: Sentences; the words in braces are types of entities.
TEMPLATES = (
    "{person} was born in {place} on {date}",
    "{person} works for {organisation} in {place}",
    "{person} bought the new {product} from {organisation}",
    "{person} met {person} near {place}",
    "{person} , who leads {organisation} , lives in {place}",
    "{person} said that {product} is too slow",
    "{person} wrote to {organisation} about {product}",
    "{person} and {person} married on {date}",
    "{organisation} was founded in {place} on {date}",
    "{organisation} will sell {product} from {date}",
    "{organisation} hired {person} on {date}",
    "{organisation} closed its office in {place}",
    "{organisation} bought {organisation} for two million",
    "{organisation} pays its workers in {place} more than {organisation}",
    "{place} lies north of {place}",
    "{place} has a new mayor , {person}",
    "{place} was flooded on {date}",
    "{place} is where {organisation} makes {product}",
    "{product} costs less since {date}",
    "{product} was tested by {person}",
    "{product} runs out of power within an hour",
    "{product} by {organisation} sells well in {place}",
    "On {date} the train from {place} to {place} was late",
    "On {date} {person} resigned",
    "On {date} {organisation} recalled {product}",
    "On {date} {product} was sold out",
    "Yesterday {person} flew to {place}",
    "Shares of {organisation} fell on {date}",
    "The mayor of {place} thanked {person}",
    "The battery of {product} lasts longer than that of {product}",
    "The lawyers of {organisation} wrote to {person}",
    "The bridge near {place} opens on {date}",
    "Her cousin {person} moved to {place}",
    "Customers of {organisation} complain about {product}",
    "Nobody in {place} has seen {person} since {date}",
    "Doctor {person} opened a clinic in {place}",
    "We installed {product} on {date} and it works",
    "They drove through {place} without stopping",
    "The Internet is slow in {place}",
    "The CEO of {organisation} , {person} , likes {product}",
    "It rained all day and the Internet was down",
    "The Parliament votes again in two weeks",
)


@dataclass(frozen=True, slots=True)
class _Words:
    """Draws sentences with names of a split's own words."""

    random: np.random.Generator
    names: Sequence[str]

    def sentence(self) -> Tagged:
        words: list[str] = []
        tags: list[str] = []
        template = self._one(TEMPLATES)
        for part in template.split():
            kind = part.strip("{}")
            if kind == part:
                words.append(part)
                tags.append("O")
                continue
            name = self._date() if kind == "date" else self._name(kind)
            words += name
            tags += [f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
        origin = f"source {TEMPLATES.index(template) % ORIGINS}"
        return Tagged((*words, "."), (*tags, "O"), origin)

    def _name(self, kind: str) -> list[str]:
        form = self._one(_FORMS[kind]).split()
        return [self._one(self.names) if word == "_" else word for word in form]

    def _date(self) -> list[str]:
        day, month = str(self.random.integers(1, 29)), self._one(_MONTHS)
        year = str(self.random.integers(1960, 2030))
        forms = ([day, month], [month, day], [day, month, year], [self._one(_WEEKDAYS)])
        return forms[int(self.random.integers(len(forms)))]

    def _one(self, choices: Sequence[str]) -> str:
        return choices[int(self.random.integers(len(choices)))]


def entities(
    seed: int, train: int = 3000, validation: int = 400, test: int = 800
) -> DataSet[Tagged]:
    """Distinct sentences for each split.

    Sentences have one of `ORIGINS` origins, of which each has templates of its own.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    names = _names(seed)
    splits: dict[str, Sequence[Tagged]] = {}
    found: set[tuple[str, ...]] = set()
    for split in SPLITS:
        words = _Words(stream(seed, "entities", split), names[split])
        splits[split] = [_new(words, found) for _ in range(sizes[split])]
    return generated("generated entities", splits, TYPES)


def _new(words: _Words, found: set[tuple[str, ...]]) -> Tagged:
    """A sentence that is not among those found, to which it is added."""
    while (sentence := words.sentence()).words in found:
        pass
    found.add(sentence.words)
    return sentence


def _names(seed: int) -> dict[str, list[str]]:
    """Each split's words of names, two or three syllables long."""
    random = stream(seed, "entities", "names")
    other = set(re.findall(r"\w+", " ".join((*TEMPLATES, *_MONTHS, *_WEEKDAYS)).lower()))
    words: dict[str, None] = {}
    while len(words) < sum(_NAMES.values()):
        syllables = random.integers(len(_SYLLABLES), size=random.integers(2, 4))
        word = "".join(_SYLLABLES[i] for i in syllables)
        if word not in other:
            words[word.capitalize()] = None
    each = iter(words)
    return {split: [next(each) for _ in range(count)] for split, count in _NAMES.items()}
