"""From examples in text to examples in token numbers, one function for each kind of task.

All of them cut sequences that are longer than `max_tokens` and count what was cut. An example
whose text has no tokens at all is encoded as one token for the end of a sequence, so that no row of
a batch consists only of padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.text.metrics import Entity, lenient_entities
from collapipe_ns3.learning.text.tokenizer import SubwordTokenizer

#: The label of tokens that are not predicted; torch's cross-entropy ignores it by default.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example in numbers.

    `tokens` are the input. `labels` are a class; or a tag for each input token, `IGNORED` where
    none is predicted; or the tokens of the target, BOS and EOS included. `words` are the indices of
    the words whose tags are predicted, in order; empty for other tasks. `aligned` says that the
    labels are tags.
    """

    tokens: tuple[int, ...]
    labels: int | tuple[int, ...]
    words: tuple[int, ...] = ()
    aligned: bool = False


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """Encoded examples in the order they were given, and counts of what was cut.

    `truncated` are examples of which a sequence was cut, `without_tokens` are examples whose text
    has no tokens, and `entities_cut` are entities of which a word has no label any more.
    """

    examples: list[Encoded]
    truncated: int = 0
    without_tokens: int = 0
    entities_cut: int = 0

    def report(self) -> dict[str, int]:
        """The number of examples, and all counts, by name."""
        return {
            "examples": len(self.examples),
            "truncated": self.truncated,
            "without_tokens": self.without_tokens,
            "entities_cut": self.entities_cut,
        }


def encode_classes(
    examples: Iterable[tuple[str, int]], tokenizer: SubwordTokenizer, max_tokens: int
) -> EncodedSet:
    """Texts with their classes: `tokens` is the text with the tokenizer's marks."""
    made, truncated, without_tokens = [], 0, 0
    for text, label in examples:
        tokens, cut = _sequence(text, tokenizer, max_tokens)
        truncated += cut
        without_tokens += not tokens
        made.append(Encoded(_never_empty(tokens, tokenizer), label))
    return EncodedSet(made, truncated, without_tokens)


def encode_tags(
    examples: Iterable[tuple[Sequence[str], Sequence[str]]],
    tags: Mapping[str, int],
    tokenizer: SubwordTokenizer,
    max_tokens: int,
) -> EncodedSet:
    """Sentences in words with a tag for each word: its first token has the tag, others `IGNORED`.

    `tags` numbers the tags. A word that is cut, or has no tokens, has no label and is not in
    `Encoded.words`. Raises `ValueError` for a tag that has no number.
    """
    made, truncated, without_tokens, entities_cut = [], 0, 0, 0
    for words, names in examples:
        if unknown := set(names) - set(tags):
            raise ValueError(f"unknown tags {', '.join(sorted(unknown))}")
        tokens, owners = tokenizer.encode_words(words)
        if len(tokens) > max_tokens:
            _check_room(tokenizer.marks, max_tokens)
            truncated += 1
            tokens, owners = tokenizer.encode_words(words, max_tokens)
        first: dict[int, int] = {}  # the place of each word's first token
        for place, word in enumerate(owners):
            if word is not None:
                first.setdefault(word, place)
        labels = [IGNORED] * max(1, len(tokens))
        for word, place in first.items():
            labels[place] = tags[names[word]]
        entities_cut += sum(not _is_kept(entity, first) for entity in lenient_entities(names))
        without_tokens += not tokens
        sequence = _never_empty(tokens, tokenizer)
        made.append(Encoded(sequence, tuple(labels), tuple(sorted(first)), aligned=True))
    return EncodedSet(made, truncated, without_tokens, entities_cut)


def encode_pairs(
    examples: Iterable[tuple[str, str]], tokenizer: SubwordTokenizer, max_tokens: int
) -> EncodedSet:
    """Sentences with translations: source with the tokenizer's marks, and BOS target EOS.

    BOS is `tokenizer.start`. Both sequences have at most `max_tokens`, marks included; a target
    that is cut ends with EOS too. Raises `BadTask` if the tokenizer has no token for the end of a
    sequence.
    """
    eos = tokenizer.eos
    if eos is None:
        raise BadTask("tokenizer", "it has no token for the end of a sequence")
    _check_room(2, max_tokens)
    made, truncated, without_tokens = [], 0, 0
    for source, target in examples:
        tokens, source_cut = _sequence(source, tokenizer, max_tokens)
        labels = tokenizer.encode(target, marks=False)
        truncated += source_cut or len(labels) > max_tokens - 2
        without_tokens += not tokens
        translation = (tokenizer.start, *labels[: max_tokens - 2], eos)
        made.append(Encoded(_never_empty(tokens, tokenizer), translation))
    return EncodedSet(made, truncated, without_tokens)


def _sequence(text: str, tokenizer: SubwordTokenizer, max_tokens: int) -> tuple[list[int], bool]:
    """The tokens of a text with marks, and whether it was cut."""
    tokens = tokenizer.encode(text)
    if len(tokens) <= max_tokens:
        return tokens, False
    _check_room(tokenizer.marks, max_tokens)
    return tokenizer.encode(text, max_tokens), True


def _check_room(marks: int, max_tokens: int) -> None:
    if max_tokens <= marks:
        message = f"{max_tokens} tokens leave no room for text, as {marks} are marks"
        raise BadTask("max_tokens", message)


def _never_empty(tokens: Sequence[int], tokenizer: SubwordTokenizer) -> tuple[int, ...]:
    end = tokenizer.eos if tokenizer.eos is not None else tokenizer.pad
    return tuple(tokens) or (end,)


def _is_kept(entity: Entity, first: Mapping[int, int]) -> bool:
    return all(word in first for word in range(entity.start, entity.end))
