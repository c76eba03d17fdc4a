"""Metrics of predicted classes, tags and texts.

All are between 0 and 1 except those of sacrebleu, and 0 where they would divide by zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """An entity: its type, and its words from `start` to before `end`."""

    kind: str
    start: int
    end: int


class TextScore(NamedTuple):
    """A score of texts from 0 to 100, and sacrebleu's signature of how it was computed."""

    value: float
    signature: str


#: Finds the entities of a sentence's tags.
FindEntities = Callable[[Sequence[str]], set[Entity]]


def accuracy(expected: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The fraction of predictions that are as expected."""
    if not expected:
        return 0.0
    return sum(a == b for a, b in zip(expected, predicted, strict=True)) / len(expected)


def macro_f1(expected: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The mean over classes of F1 = 2·hits / (expected + predicted), each class with equal weight.

    Classes that are neither expected nor predicted are left out, as in scikit-learn's
    `f1_score(average="macro")`.
    """
    hits = Counter(a for a, b in zip(expected, predicted, strict=True) if a == b)
    counts = Counter(expected) + Counter(predicted)
    if not counts:
        return 0.0
    return sum(2 * hits[label] / count for label, count in counts.items()) / len(counts)


def entity_f1(
    expected: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], find: FindEntities
) -> float:
    """F1 of entities, of which type and words must be right, over all sentences together.

    `expected` and `predicted` are tags such as "B-person", "I-person" and "O" of each sentence's
    words. `find` is `strict_entities` or `lenient_entities`. F1 = 2·hits / (expected + predicted).
    """
    hits = total = 0
    for tags, guessed in zip(expected, predicted, strict=True):
        if len(tags) != len(guessed):
            raise ValueError(f"{len(guessed)} tags are predicted for {len(tags)} words")
        wanted, found = find(tags), find(guessed)
        hits += len(wanted & found)
        total += len(wanted) + len(found)
    return 2 * hits / total if total else 0.0


def strict_entities(tags: Sequence[str]) -> set[Entity]:
    """Entities by IOB2: B- begins one, and I- of the same type continues it.

    I- without an entity of its type before it is no entity. This is seqeval's `mode="strict"` with
    the scheme IOB2.
    """
    return _entities(tags, lenient=False)


def lenient_entities(tags: Sequence[str]) -> set[Entity]:
    """Entities as conlleval finds them: I- without an entity of its type before it begins one.

    This is what seqeval does by default.
    """
    return _entities(tags, lenient=True)


def _entities(tags: Sequence[str], *, lenient: bool) -> set[Entity]:
    found: set[Entity] = set()
    kind: str | None = None  # the type of the entity that is open
    start = 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if prefix == "I" and name == kind:
            continue
        if kind is not None:
            found.add(Entity(kind, start, place))
        opens = prefix == "B" or (prefix == "I" and lenient)
        kind, start = (name, place) if opens else (None, place)
    return found


def bleu(predicted: Sequence[str], expected: Sequence[str]) -> TextScore:
    """BLEU of texts (Papineni et al., ACL 2002) with one reference each, as sacrebleu's default.

    The texts are plain ones: sacrebleu splits them into words itself (tokenizer 13a).
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(force=True)  # without warnings about texts that look split into words
    value = metric.corpus_score(list(predicted), [list(expected)]).score
    return TextScore(value, str(metric.get_signature()))


def chrf(predicted: Sequence[str], expected: Sequence[str]) -> TextScore:
    """chrF2 of texts (Popović, WMT 2015), the F-score of characters, as sacrebleu's default."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    value = metric.corpus_score(list(predicted), [list(expected)]).score
    return TextScore(value, str(metric.get_signature()))
