"""What a disk may hold after a crash: records what is done to files, and plays part of it again.

A process that is killed leaves all that it did. After a loss of power only what was synced is sure:
of what came later, any part may be there (a folder's entries each for itself, a file's bytes too).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest


@dataclass(frozen=True)
class Step:
    """One thing that was done. `key` is what must be synced for it to last: a file or a folder."""

    what: str
    key: int | str
    path: str = ""
    file: int = 0
    at: int = 0
    data: bytes = b""


class Recorder:
    """Records the steps that `os` is asked for below a folder."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = str(root)
        self.steps: list[Step] = []
        self._open: dict[int, int | str] = {}  # descriptor → file or folder
        self._at: dict[int, int] = {}
        self._names: dict[str, int] = {}
        for name in ("open", "write", "lseek", "ftruncate", "fsync", "close"):
            patch.setattr(os, name, getattr(self, f"_{name}_")(getattr(os, name)))
        for name in ("mkdir", "unlink", "replace"):
            patch.setattr(os, name, self._entry(name, getattr(os, name)))

    def _inside(self, path: Any) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(self.root)

    def _entry(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *rest: Any, **how: Any) -> Any:
            result = real(path, *rest, **how)
            if self._inside(path):
                text, folder = str(path), str(Path(path).parent)
                if name == "replace":
                    self._names[str(rest[0])] = self._names.pop(text)
                    file = self._names[str(rest[0])]
                    self.steps.append(Step("rename", folder, f"{text}\n{rest[0]}", file))
                else:
                    self.steps.append(Step(name, folder, text))
            return result

        return wrapped

    def _open_(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(path: Any, flags: int, *rest: Any, **how: Any) -> int:
            descriptor = real(path, flags, *rest, **how)
            if self._inside(path):
                text = str(path)
                if Path(path).is_dir():
                    self._open[descriptor] = text
                    return descriptor
                if text not in self._names:
                    self._names[text] = len(self.steps) + 1
                    folder = str(Path(path).parent)
                    self.steps.append(Step("create", folder, text, self._names[text]))
                self._open[descriptor], self._at[descriptor] = self._names[text], 0
                if flags & os.O_TRUNC:
                    self.steps.append(Step("truncate", self._names[text]))
            return descriptor

        return wrapped

    def _write_(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(descriptor: int, data: Any) -> int:
            count = real(descriptor, data)
            if isinstance(key := self._open.get(descriptor), int):
                at, kept = self._at[descriptor], bytes(data[:count])
                self.steps.append(Step("write", key, at=at, data=kept))
                self._at[descriptor] += count
            return count

        return wrapped

    def _lseek_(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(descriptor: int, at: int, how: int) -> int:
            if descriptor in self._at:
                assert how == os.SEEK_SET
                self._at[descriptor] = at
            return real(descriptor, at, how)

        return wrapped

    def _ftruncate_(self, real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(descriptor: int, size: int) -> None:
            real(descriptor, size)
            if descriptor in self._open:
                self.steps.append(Step("truncate", self._open[descriptor], at=size))

        return wrapped

    def _fsync_(self, real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(descriptor: int) -> None:
            if descriptor in self._open:
                self.steps.append(Step("sync", self._open[descriptor]))
            else:
                real(descriptor)

        return wrapped

    def _close_(self, real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(descriptor: int) -> None:
            self._open.pop(descriptor, None)
            self._at.pop(descriptor, None)
            real(descriptor)

        return wrapped


def after_a_crash(steps: Sequence[Step], root: Path, target: Path, lost: Random | None) -> None:
    """Makes `target` what `root` may be after these steps and a kill, or a loss of power."""
    synced = {step.key: number for number, step in enumerate(steps) if step.what == "sync"}
    names: dict[str, int] = {}
    contents: dict[int, bytearray] = {}
    folders = {str(root)}
    for number, step in enumerate(steps):
        unsure = lost is not None and number > synced.get(step.key, -1)
        data = step.data
        if unsure and lost is not None and lost.random() < 0.5:
            if step.what != "write":
                continue
            data = data[: lost.randrange(len(data) + 1)]
        if step.what == "create":
            names[step.path] = step.file
        elif step.what == "mkdir":
            folders.add(step.path)
        elif step.what == "unlink":
            names.pop(step.path, None)
        elif step.what == "rename":
            source, goal = step.path.split("\n")
            names.pop(source, None)
            names[goal] = step.file
        elif isinstance(step.key, int):
            content = contents.setdefault(step.key, bytearray())
            if step.what == "truncate":
                del content[step.at :]
                content.extend(bytes(step.at - len(content)))
            elif step.what == "write":
                content.extend(bytes(max(0, step.at - len(content))))
                content[step.at : step.at + len(data)] = data
    for folder in sorted(folders):
        (target / Path(folder).relative_to(root)).mkdir(parents=True, exist_ok=True)
    for name, file in names.items():
        if str(Path(name).parent) in folders:
            place = target / Path(name).relative_to(root)
            place.write_bytes(bytes(contents.get(file, b"")))
