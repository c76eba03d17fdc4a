"""Schemes and tasks as another package has them: a module and its entry points in a folder."""

from __future__ import annotations

from pathlib import Path

#: A scheme that changes nothing of PipeLine; tests replace its calls one by one.
PLAIN = """
import sys
from dataclasses import replace
from collapipe_ns3.schemes.pipeline import PipeLine

class Mine(PipeLine):
    pass
"""


#: A task that changes nothing of Numbers; tests replace its calls one by one.
PLAIN_TASK = """
from typing import Any
from collapipe_ns3.learning.numbers import Numbers
"""


def install(folder: Path, code: str, name: str = "mine") -> Path:
    """Writes the distribution into the folder, which is to be put on the path; its module.

    `code` are methods of a subclass of PipeLine called `Mine`, indented by four spaces.
    """
    whole = PLAIN.replace("    pass\n", code or "    pass\n")
    return install_module(folder, whole, "schemes", name, "Mine")


def install_task(folder: Path, code: str, head: str = "", name: str = "mine") -> Path:
    """As `install`, with a task: a subclass of Numbers called `Mine`.

    `head` is put before the class.
    """
    whole = f"{PLAIN_TASK}{head}\n\nclass Mine(Numbers):\n{code or '    pass'}\n"
    return install_module(folder, whole, "learning", name, "Mine")


def install_module(folder: Path, code: str, group: str, name: str, made: str) -> Path:
    """Writes a distribution with one module, and one entry point for the class `made` in it."""
    module = f"plugged_{name}_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(code)
    described = folder / f"{module}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = f"[collapipe_ns3.{group}]\n{name} = {module}:{made}\n"
    (described / "entry_points.txt").write_text(points)
    return folder / f"{module}.py"
