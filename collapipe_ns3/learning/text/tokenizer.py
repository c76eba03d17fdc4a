"""Sub-word tokenizers of the library `tokenizers`: trained on texts, or loaded from a file.

The library is imported only inside the functions that need it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, PAD

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

#: The fewest tokens of a trained vocabulary: three special tokens, and one for each byte.
SMALLEST_VOCABULARY = 3 + 256

#: The special tokens of a trained tokenizer, by their numbers.
_TRAINED = {PAD: "<pad>", BOS: "<s>", EOS: "</s>"}

#: Names of special tokens in the tokenizers of common models; the first that is there counts.
_PAD_NAMES = ("<pad>", "[PAD]", "<|pad|>")
_BOS_NAMES = ("<s>", "[CLS]", "<cls>", "[BOS]", "<bos>", "<|startoftext|>", "<|endoftext|>")
_EOS_NAMES = ("</s>", "[SEP]", "<sep>", "[EOS]", "<eos>", "<|endoftext|>")
_UNK_NAMES = ("<unk>", "[UNK]", "<|unk|>")

_ENVIRONMENT = threading.Lock()


@dataclass(frozen=True, slots=True)
class SubwordTokenizer:
    """Converts texts to token numbers and back.

    `pad`, `bos`, `eos` and `unk` are the numbers of the special tokens for padding, the beginning
    and end of a sequence, and unknown characters, None where the tokenizer has no such token. They
    are `PAD`, `BOS` and `EOS` of `learning.spec` in a trained tokenizer, and differ in loaded ones.

    A tokenizer adds its own *marks* to a sequence, such as [CLS] before and [SEP] after it. The
    names of special tokens within a text count as plain text.
    """

    _tokenizer: Tokenizer = field(repr=False)
    pad: int
    bos: int | None
    eos: int | None
    unk: int | None
    _gap: str = ""  # what stands before all words but the first where words are given

    @property
    def start(self) -> int:
        """The number that a target begins with: `bos`, else `pad`, as in T5 and Marian."""
        return self.pad if self.bos is None else self.bos

    @property
    def vocabulary(self) -> int:
        """The number of embeddings that a model needs: the largest token number plus 1."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    @property
    def marks(self) -> int:
        """The number of marks that are added to a sequence."""
        return self._tokenizer.num_special_tokens_to_add(False)

    def encode(self, text: str, limit: int | None = None, *, marks: bool = True) -> list[int]:
        """The token numbers of a text; the text is cut so that all of them are at most `limit`."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return self._finished(encoding, limit, marks).ids

    def encode_words(
        self, words: Sequence[str], limit: int | None = None, *, marks: bool = True
    ) -> tuple[list[int], list[int | None]]:
        """The token numbers of a text in words, and of each token its word's index.

        The tokens are those of the words joined by spaces. The index is None for marks. A word can
        have several tokens, or none at all where the tokenizer removes its characters.
        """
        spaced = [*words[:1], *(self._gap + word for word in words[1:])]
        encoding = self._tokenizer.encode(spaced, is_pretokenized=True, add_special_tokens=False)
        finished = self._finished(encoding, limit, marks)
        return finished.ids, finished.word_ids

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of token numbers; special and unknown numbers are left out."""
        known = [number for number in numbers if number >= 0]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def to_json(self) -> bytes:
        """The content of a `tokenizer.json`; the same bytes for the same tokenizer."""
        return self._tokenizer.to_str().encode()

    def _finished(self, encoding: Encoding, limit: int | None, marks: bool) -> Encoding:
        added = self.marks if marks else 0
        if limit is not None and len(encoding.ids) + added > limit:
            if limit <= added:
                raise ValueError(f"{limit} tokens leave no room for text, as {added} are marks")
            encoding.truncate(limit - added)
        return self._tokenizer.post_process(encoding, None, add_special_tokens=marks)


def train(
    texts: Iterable[str], vocabulary: int, *, lower_case: bool = False, marks: bool = False
) -> SubwordTokenizer:
    """A tokenizer by byte-level byte-pair encoding (Sennrich et al., ACL 2016; GPT-2's variant).

    The most frequent pairs of tokens are merged until there are `vocabulary` tokens, or no pair is
    left, so that `SubwordTokenizer.vocabulary` can be smaller. Numbers 0, 1 and 2 are PAD, BOS and
    EOS, and all 256 bytes have a token, so that any text can be encoded and no token for unknown
    characters is needed. Texts are normalised to NFC, and to lower case if `lower_case`. With
    `marks`, BOS and EOS are added to every encoded sequence.

    The same texts in the same order give the same tokenizer in any process. Raises `BadTask` if
    `vocabulary` is below `SMALLEST_VOCABULARY`.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        message = f"a vocabulary needs at least {SMALLEST_VOCABULARY} tokens, not {vocabulary}"
        raise BadTask("vocabulary", message)
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as BytesToText
    from tokenizers.decoders import Sequence as DecoderSequence
    from tokenizers.decoders import Strip
    from tokenizers.models import BPE
    from tokenizers.normalizers import NFC, Lowercase
    from tokenizers.normalizers import Sequence as NormalizerSequence
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NormalizerSequence([NFC(), *([Lowercase()] if lower_case else [])])
    # Every word begins with a space, so that it has the same tokens everywhere in a text.
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    tokenizer.decoder = DecoderSequence([BytesToText(), Strip(" ", 1, 0)])
    special = list(_TRAINED.values())
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    with _without_threads():
        tokenizer.train_from_iterator(texts, trainer)
    if marks:
        begin, end = _TRAINED[BOS], _TRAINED[EOS]
        tokenizer.post_processor = TemplateProcessing(
            single=f"{begin} $A {end}", special_tokens=[(begin, BOS), (end, EOS)]
        )
    return _checked(tokenizer, "the trained tokenizer", "tokenizer")


def load(path: Path, embeddings: int | None = None, *, key: str = "tokenizer") -> SubwordTokenizer:
    """The tokenizer of a file `tokenizer.json`, or of the folder that has one.

    Padding and truncation that the file asks for are turned off. `embeddings` is the number of
    tokens that the model has. Raises `BadTask` for the setting `key` if the file is missing or is
    not a tokenizer, has no padding token, or has more token numbers than the model.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise BadTask(key, f"there is no {file}{other_formats(path)}") from None
    except OSError as error:
        raise BadTask(key, f"{file} can't be read: {error.strerror}") from error
    return from_json(content, str(file), embeddings, key=key)


def from_json(
    content: bytes, name: str, embeddings: int | None = None, *, key: str = "tokenizer"
) -> SubwordTokenizer:
    """The tokenizer with this content of a `tokenizer.json`; as `load`, `name` is for messages."""
    from tokenizers import Tokenizer

    if content.startswith((b"\x80", b"PK\x03\x04")):
        raise BadTask(key, f"{name} is a pickle or an archive, not a tokenizer.json")
    try:
        text = content.decode("utf-8-sig")
        kind = type(json.loads(text)).__name__
    except ValueError as error:
        raise BadTask(key, f"{name} is not JSON: {error}") from error
    if kind != "dict":
        raise BadTask(key, f"{name} is not a tokenizer.json: it holds a {kind}, not an object")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare exceptions
        raise BadTask(key, f"{name} is not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    made = _checked(tokenizer, name, key)
    if embeddings is not None and made.vocabulary > embeddings:
        message = f"{name} has {made.vocabulary} token numbers, the model only {embeddings}"
        raise BadTask(key, f"{message} embeddings")
    return made


def _checked(tokenizer: Tokenizer, name: str, key: str) -> SubwordTokenizer:
    def number(names: Sequence[str]) -> int | None:
        found = (tokenizer.token_to_id(special) for special in names)
        return next((number for number in found if number is not None), None)

    tokenizer.encode_special_tokens = True  # "</s>" within a text is plain text
    pad = number(_PAD_NAMES)
    if pad is None:
        raise BadTask(key, f"{name} has no padding token such as {' or '.join(_PAD_NAMES)}")
    return SubwordTokenizer(
        tokenizer,
        pad,
        number(_BOS_NAMES),
        number(_EOS_NAMES),
        number(_UNK_NAMES),
        _gap(tokenizer),
    )


def _gap(tokenizer: Tokenizer) -> str:
    """What must stand before a word for it to have the tokens that it has after a space in a text.

    It is a space for tokenizers such as RoBERTa's, which put the space into the token, and nothing
    for those that add the space to each word, or have no token for it.
    """
    wanted = tokenizer.encode("a a", add_special_tokens=False).ids
    for gap in ("", " "):
        words = tokenizer.encode(["a", f"{gap}a"], is_pretokenized=True, add_special_tokens=False)
        if words.ids == wanted:
            return gap
    return ""


def other_formats(path: Path) -> str:
    """A hint for folders that have a tokenizer in an older format."""
    if not path.is_dir():
        return ""
    patterns = ("vocab.txt", "vocab.json", "*.spm", "*.model")
    found = sorted(file.name for pattern in patterns for file in path.glob(pattern))
    if not found:
        return ""
    return (
        f", only {', '.join(found)}; convert it by `AutoTokenizer.from_pretrained({str(path)!r})"
        f".save_pretrained({str(path)!r})` of transformers"
    )


@contextmanager
def _without_threads() -> Iterator[None]:
    """Keeps the library from starting threads, which would make later forks of the process hang.

    The library reads an environment variable each time, which has its old value afterwards.
    """
    variable = "TOKENIZERS_PARALLELISM"
    with _ENVIRONMENT:
        before = os.environ.get(variable)
        os.environ[variable] = "false"
        try:
            yield
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
