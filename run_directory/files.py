"""Writes files so that a killed process, a full disk or a loss of power leaves no partial file.

A file is written and synced under a temporary name, then renamed, so that it exists whole or not at
all. The folder whose entry changed is synced too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def part_of(path: Path) -> Path:
    """The temporary name of a file."""
    return path.with_name(f".{path.name}.part")


def write_parts(contents: Mapping[Path, bytes]) -> None:
    """Writes and syncs each file under its temporary name."""
    for path, content in contents.items():
        _write(part_of(path), content, os.O_TRUNC)


def place_parts(paths: Iterable[Path]) -> None:
    """Renames these files from their temporary names to their own, and syncs their folders."""
    placed = list(paths)
    for path in placed:
        part_of(path).replace(path)
    for folder in dict.fromkeys(path.parent for path in placed):
        sync_folder(folder)


def replace(path: Path, content: bytes) -> None:
    """Replaces the content of a file, whole or not at all."""
    write_parts({path: content})
    place_parts([path])


def append(path: Path, size: int, content: bytes) -> None:
    """Truncates the file to `size` bytes, appends `content`, and syncs the file."""
    _write(path, content, size=size)


def make_folder(path: Path) -> None:
    """Creates a folder and its missing parents, and syncs the parents' entries."""
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync_folder(each.parent)


def sync(folder: Path) -> None:
    """Syncs a folder and everything in it."""
    for path in (folder, *folder.rglob("*")):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def sync_folder(path: Path) -> None:
    """Syncs the entries of a folder: the names of its files."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: Path, content: bytes, flags: int = 0, *, size: int = 0) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o666)
    try:
        os.ftruncate(file, size)
        os.lseek(file, size, os.SEEK_SET)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)
