"""Baselines without a neural network, on the whole test split of a row's task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from collapipe_ns3.learning.data.examples import DataSet, Labelled, Pair, Tagged
from collapipe_ns3.learning.text.metrics import accuracy, bleu, entity_f1, strict_entities

#: Training sentences that are tried as a translation of everything.
CONSTANTS = 30


def baselines(data: DataSet[Any]) -> dict[str, float]:
    """The task's main metric for each baseline by its name."""
    match data.test[0]:
        case Labelled():
            return of_classes(data)
        case Pair():
            return of_pairs(data)
        case _:
            return of_tags(data)


def of_classes(data: DataSet[Labelled]) -> dict[str, float]:
    """Accuracy of the most frequent class, and of logistic regression on TF-IDF of words.

    The regression has scikit-learn's defaults, but C = 10 and pairs of words.
    """
    expected = [example.label for example in data.test]
    [(label, _)] = Counter(example.label for example in data.train).most_common(1)
    return {
        "most frequent class": accuracy(expected, [label] * len(expected)),
        "TF-IDF + logistic regression": accuracy(expected, _regression(data)),
    }


def _regression(data: DataSet[Labelled]) -> Sequence[str]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = words.fit_transform([example.text for example in data.train])
    fitted = LogisticRegression(C=10, max_iter=200)
    fitted.fit(known, [example.label for example in data.train])
    found: list[str] = fitted.predict(
        words.transform([example.text for example in data.test])
    ).tolist()
    return found


def of_pairs(data: DataSet[Pair]) -> dict[str, float]:
    """BLEU of copies, of one sentence for all, and of the most similar training sentence's target.

    The one sentence is the training target, of the first `CONSTANTS`, with the best BLEU on the
    first 200 validation pairs. Similarity is the cosine of the sources' TF-IDF of words.
    """
    expected = [pair.target for pair in data.test]
    held = [pair.target for pair in data.validation[:200]]
    candidates = [pair.target for pair in data.train[:CONSTANTS]]
    constant = max(candidates, key=lambda text: bleu([text] * len(held), held).value)
    return {
        "copy of the source": bleu([pair.source for pair in data.test], expected).value,
        "one sentence for all": bleu([constant] * len(expected), expected).value,
        "most similar training sentence": bleu(_nearest(data), expected).value,
    }


def _nearest(data: DataSet[Pair]) -> list[str]:
    """The target of the training pair whose source is most similar, for each test pair."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer()
    known = words.fit_transform([pair.source for pair in data.train])
    asked = words.transform([pair.source for pair in data.test])
    best = (asked @ known.T).argmax(axis=1).A1
    return [data.train[index].target for index in best]


def of_tags(data: DataSet[Tagged]) -> dict[str, float]:
    """Strict F1 of the rule that each row of capitalised words is a person."""
    expected = [example.tags for example in data.test]
    predicted = [capitalised(example.words) for example in data.test]
    return {"capitalised words as persons": entity_f1(expected, predicted, strict_entities)}


def capitalised(words: Sequence[str]) -> list[str]:
    """Tags in IOB2: rows of words that begin with a capital are persons."""
    tags: list[str] = []
    for word in words:
        follows = bool(tags) and tags[-1] != "O"
        tags.append(("I-person" if follows else "B-person") if word[:1].isupper() else "O")
    return tags
