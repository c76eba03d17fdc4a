"""Text files as lines, with every fault of the encoding reported by file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: At most this many problems of a file are listed.
MOST_PROBLEMS = 10

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class BadData(ValueError):
    """Files of data can't be used; `problems` are lines of text, most as `file:line: message`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a line of a file; `line` is 0 for the file as a whole."""

    line: int
    message: str


def bad_file(path: Path, problems: Iterable[Problem]) -> BadData:
    """The error of a file with these problems, of which the first `MOST_PROBLEMS` are listed."""
    listed = list(problems)
    texts = [
        f"{path.name}:{problem.line}: {problem.message}"
        if problem.line
        else f"{path.name}: {problem.message}"
        for problem in listed[:MOST_PROBLEMS]
    ]
    if more := len(listed) - MOST_PROBLEMS:
        texts += [f"{path.name}: and {more} more problems"] if more > 0 else []
    return BadData(texts)


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed if its name ends with `.gz`.

    A file that can't be read or decompressed raises `BadData`.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise bad_file(path, [Problem(0, f"can't be read: {error.strerror}")]) from error
    if path.suffix != ".gz":
        if raw.startswith(_GZIP):
            raise bad_file(path, [Problem(0, "is a gzip file, but its name lacks .gz")])
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        message = f"is not a complete gzip file, although its name ends with .gz ({error})"
        raise bad_file(path, [Problem(0, message)]) from error


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without their line ends.

    Lines end with LF or CR LF, the last one possibly with neither. A byte-order mark is removed.
    Other encodings, NUL bytes and files without any character raise `BadData`.
    """
    raw = content(path)
    if raw.startswith(_UTF_16):
        raise bad_file(path, [Problem(1, "is UTF-16; convert it with iconv -f UTF-16 -t UTF-8")])
    raw = raw.removeprefix(_BYTE_ORDER_MARK)
    if not raw.strip():
        raise bad_file(path, [Problem(0, "is empty")])
    if b"\n" not in raw and b"\r" in raw.rstrip():
        raise bad_file(path, [Problem(1, "has lines that end with CR only; convert them to LF")])
    rows = raw.removesuffix(b"\n").split(b"\n")
    lines, problems = [], []
    for number, row in enumerate(rows, start=1):
        if b"\0" in row:
            problems.append(Problem(number, f"has a NUL byte at position {row.index(0) + 1}"))
            continue
        try:
            lines.append(row.removesuffix(b"\r").decode())
        except UnicodeDecodeError as error:
            problems.append(Problem(number, _not_utf8(row, error.start)))
    if problems:
        raise bad_file(path, problems)
    return lines


def _not_utf8(row: bytes, position: int) -> str:
    """The message for a line that is not UTF-8 from a position on."""
    near = row[max(0, position - 10) : position + 11].decode("latin-1").strip()
    return (
        f"is not UTF-8 at byte {position + 1} (0x{row[position]:02x}); if the file is Latin-1, "
        f"which reads {near!r} here, convert it with iconv -f LATIN1 -t UTF-8"
    )
